//! What runs of several seeds come to: their mean, and within what it is sure.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// How sure an interval is, as a share of 1: were everything done again and again, so many of the intervals would hold the
/// true mean.
pub const CONFIDENCE: f64 = 0.95;

/// Several values of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// How many values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, over `n - 1`; 0 of a single value.
    pub sd: f64,
    /// Within what the true mean lies, by Student's t; `None` of a single value, which says nothing of it.
    pub interval: Option<(f64, f64)>,
}

impl Sample {
    /// What these values come to; `None` where none of them is a number.
    pub fn of(values: &[f64]) -> Option<Self> {
        let values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let n = values.len();
        if n == 0 {
            return None;
        }
        let count = n as f64;
        let mean = values.iter().sum::<f64>() / count;
        if n == 1 {
            return Some(Self { n, mean, sd: 0.0, interval: None });
        }
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let sd = (squares / (count - 1.0)).sqrt();
        let half = student(n - 1) * sd / count.sqrt();
        Some(Self { n, mean, sd, interval: Some((mean - half, mean + half)) })
    }

    /// The interval's lower end; the mean where there is no interval.
    pub fn low(&self) -> f64 {
        self.interval.map_or(self.mean, |(low, _)| low)
    }

    /// The interval's upper end; the mean where there is no interval.
    pub fn high(&self) -> f64 {
        self.interval.map_or(self.mean, |(_, high)| high)
    }

    /// The same of the values' negatives.
    pub(crate) fn negated(&self) -> Self {
        Self { mean: -self.mean, interval: self.interval.map(|(low, high)| (-high, -low)), ..*self }
    }
}

/// How many standard errors an interval of [`CONFIDENCE`] goes to each side, by degrees of freedom.
fn student(freedom: usize) -> f64 {
    // Of these arguments there always is a distribution.
    let t = StudentsT::new(0.0, 1.0, freedom.max(1) as f64);
    t.map_or(f64::INFINITY, |t| t.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)))
}

/// A straight line through points, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// How much it rises for each 1 of x.
    pub slope: f64,
    /// Where it is at x = 0.
    pub at_zero: f64,
    /// What part of the variance it accounts for: R², 0 to 1.
    pub r2: f64,
}

impl Line {
    /// The line through these; `None` where they are fewer than three, or do not differ in x or in y.
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let n = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (px, py) in points {
            xx += (px - x).powi(2);
            xy += (px - x) * (py - y);
            yy += (py - y).powi(2);
        }
        if !(xx > 0.0 && yy > 0.0 && xx.is_finite() && yy.is_finite()) {
            return None;
        }
        let slope = xy / xx;
        Some(Self { slope, at_zero: y - slope * x, r2: xy * xy / (xx * yy) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;
    use proptest::prelude::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6 * b.abs().max(1.0)
    }

    #[test]
    fn student_is_as_printed_in_tables() {
        for (freedom, t) in [(1, 12.706_204_7), (2, 4.302_652_7), (9, 2.262_157_2), (19, 2.093_024_1)] {
            assert!((student(freedom) - t).abs() < 1e-5, "{freedom}: {} is not {t}", student(freedom));
        }
        assert!((student(100_000) - 1.959_987_7).abs() < 1e-4);
    }

    #[test]
    fn a_sample_is_what_a_calculator_says() {
        let sample = Sample::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((sample.n, sample.mean), (8, 5.0));
        assert!(near(sample.sd, 2.138_089_935));
        // t of 7 degrees of freedom is 2.3646243.
        assert!(near(sample.low(), 5.0 - 2.364_624_25 * 2.138_089_935 / 8.0_f64.sqrt()));
        assert!(near(sample.high() - 5.0, 5.0 - sample.low()));
    }

    #[test]
    fn a_single_value_has_no_interval_and_none_is_none() {
        let sample = Sample::of(&[3.0]).unwrap();
        assert_eq!(sample, Sample { n: 1, mean: 3.0, sd: 0.0, interval: None });
        assert_eq!((sample.low(), sample.high()), (3.0, 3.0));
        assert_eq!(Sample::of(&[]), None);
        assert_eq!(Sample::of(&[f64::NAN]), None);
        assert_eq!(Sample::of(&[f64::NAN, 3.0]), Some(sample));
    }

    #[test]
    fn a_line_is_found_and_what_is_no_line_is_not() {
        let line = Line::through(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]).unwrap();
        assert!(near(line.slope, 2.0) && near(line.at_zero, 3.0) && near(line.r2, 1.0));
        assert_eq!(Line::through(&[(1.0, 5.0), (2.0, 7.0)]), None);
        assert_eq!(Line::through(&[(1.0, 5.0), (1.0, 7.0), (1.0, 8.0)]), None);
        assert_eq!(Line::through(&[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]), None);
        assert!(Line::through(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]).unwrap().r2 < 1e-9);
    }

    proptest! {
        #[test]
        fn the_mean_lies_in_its_interval_and_the_order_does_not_matter_much(
            mut values in prop::collection::vec(-1e6..1e6_f64, 2..40),
        ) {
            let sample = Sample::of(&values).unwrap();
            prop_assert!(sample.low() <= sample.mean && sample.mean <= sample.high());
            values.reverse();
            prop_assert!(near(Sample::of(&values).unwrap().mean, sample.mean));
            let negated: Vec<f64> = values.iter().map(|v| -v).collect();
            let (negated, sample) = (Sample::of(&negated).unwrap(), sample.negated());
            prop_assert!(near(negated.low(), sample.low()) && near(negated.high(), sample.high()));
        }
    }
}
