//! What a run came to: counts, and how samples lie.

use std::collections::BTreeMap;

/// Counts and samples of one run, by name.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    counts: BTreeMap<&'static str, f64>,
    samples: BTreeMap<&'static str, Vec<f64>>,
}

impl Figures {
    /// Adds to a count.
    pub fn add(&mut self, name: &'static str, much: f64) {
        *self.counts.entry(name).or_default() += much;
    }

    /// Adds one to a count.
    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1.0);
    }

    /// Takes in one more sample.
    pub fn sample(&mut self, name: &'static str, value: f64) {
        self.samples.entry(name).or_default().push(value);
    }

    /// A count; 0 where nothing was counted.
    pub fn get(&self, name: &str) -> f64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// One count over another; 0 where that is 0.
    pub fn share(&self, part: &str, whole: &str) -> f64 {
        let whole = self.get(whole);
        if whole == 0.0 { 0.0 } else { self.get(part) / whole }
    }

    /// The sample that so many thousandths of all are below; no number where there is none.
    pub fn quantile(&self, name: &str, permille: usize) -> f64 {
        let Some(samples) = self.samples.get(name).filter(|s| !s.is_empty()) else { return f64::NAN };
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() - 1).saturating_mul(permille) / 1_000;
        sorted.get(place).copied().unwrap_or_default()
    }

    /// The mean of all samples; no number where there is none.
    pub fn mean(&self, name: &str) -> f64 {
        let Some(samples) = self.samples.get(name).filter(|s| !s.is_empty()) else { return f64::NAN };
        samples.iter().sum::<f64>() / samples.len() as f64
    }
}
