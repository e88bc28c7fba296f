//! Axes: where a value stands, which values are marked, and what the marks say.

use super::{Axis, text::grouped};

/// Values farther from 0 than this have no place on an axis: 10^18.
const FARTHEST: f64 = 1e18;
/// Values above 0 and below this are as good as 0 on a logarithmic axis: 10^-18.
const NEAREST: f64 = 1e-18;
/// The most marks with a label that an axis has: 12.
const MOST_TICKS: i64 = 12;
/// About so many steps are between an axis's ends: 5.
const STEPS: f64 = 5.0;
/// Room between the ends of an axis and what is on it, in pixels.
const INSET: f64 = 10.0;
/// Room below that, on a logarithmic axis, for what is not above 0, in pixels.
const FOOT: f64 = 24.0;

/// A mark of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Where it stands, in pixels.
    pub(super) at: f64,
    /// What it says; nothing for a small one.
    pub(super) label: Option<String>,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// At so many pixels.
    On(f64),
    /// It has no logarithm, and stands at the axis's foot, at so many pixels.
    Foot(f64),
}

impl Place {
    /// In pixels.
    pub(super) fn at(self) -> f64 {
        match self {
            Place::On(at) | Place::Foot(at) => at,
        }
    }

    /// Whether it is the axis's foot.
    pub(super) fn foot(self) -> bool {
        matches!(self, Place::Foot(_))
    }
}

/// An axis as it is drawn.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    log: bool,
    low: f64,
    high: f64,
    /// Where `low` and `high` are, in pixels.
    from: f64,
    to: f64,
    /// Where what is not above 0 is, in pixels, and what its mark says.
    foot: Option<(f64, &'static str)>,
}

/// What an axis has to show.
#[derive(Clone, Debug, Default)]
pub(super) struct Extent {
    /// The least and the greatest value of points, of those that the axis can show.
    points: Option<(f64, f64)>,
    /// The same with their intervals.
    all: Option<(f64, f64)>,
    zero: bool,
    negative: bool,
}

/// Whether a value can be shown at all.
pub(super) fn shown(value: f64) -> bool {
    value.abs() <= FARTHEST
}

impl Extent {
    /// Takes in a point's value.
    pub(super) fn point(&mut self, value: f64, log: bool) {
        if !shown(value) {
            return;
        }
        if log && value < NEAREST {
            self.zero = true;
            self.negative |= value < 0.0;
            return;
        }
        self.points = widened(self.points, value);
        self.all = widened(self.all, value);
    }

    /// Takes in an end of an interval.
    pub(super) fn end(&mut self, value: f64, log: bool) {
        if shown(value) && (!log || value >= NEAREST) {
            self.all = widened(self.all, value);
        }
    }
}

fn widened(range: Option<(f64, f64)>, value: f64) -> Option<(f64, f64)> {
    Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
}

impl Scale {
    /// The axis that shows so much between two pixels. An upright one begins at 0 and ends at a mark, unless it is told to do
    /// otherwise; a level one begins and ends with its data.
    pub(super) fn new(axis: &Axis, extent: &Extent, upright: bool, from: f64, to: f64) -> Scale {
        let usable = |end: &f64| shown(*end) && (!axis.log || *end >= NEAREST);
        let (told_low, told_high) = (axis.from.filter(usable), axis.to.filter(usable));
        let (low, high) = extent.all.unwrap_or(if axis.log { (1.0, 10.0) } else { (0.0, 1.0) });
        let (point_low, point_high) = extent.points.unwrap_or((low, high));
        let mut low = told_low.map_or(low, |told| told.min(point_low));
        let mut high = told_high.map_or(high, |told| told.max(point_high));
        // Ends that were told the wrong way round, or nothing between them.
        if low > high {
            (low, high) = (high, low);
        }
        if axis.log {
            if high / low < 1.5 {
                low /= 2.0;
                high *= 2.0;
            }
            if upright {
                low = if told_low.is_some() { low } else { round_down(low) };
                high = if told_high.is_some() { high } else { 1.0 / round_down(1.0 / high) };
            }
        } else {
            if upright && told_low.is_none() && low > 0.0 {
                low = 0.0;
            }
            if high - low <= 1e-9 * high.abs().max(low.abs()) || high == low {
                let much = if high == 0.0 { 1.0 } else { high.abs() / 2.0 };
                low -= if upright && low == 0.0 { 0.0 } else { much };
                high += much;
            }
            if upright {
                let step = step(low, high);
                low = if told_low.is_some() { low } else { (low / step).floor() * step };
                high = if told_high.is_some() { high } else { (high / step).ceil() * step };
            }
        }
        let towards = (to - from).signum();
        let foot = (axis.log && extent.zero)
            .then_some((from + towards * INSET, if extent.negative { "≤ 0" } else { "0" }));
        let inset = INSET + if foot.is_some() { FOOT } else { 0.0 };
        Scale { log: axis.log, low, high, from: from + towards * inset, to: to - towards * INSET, foot }
    }

    /// Where a value stands, within the axis; none for what has no place on any.
    pub(super) fn place(&self, value: f64) -> Option<Place> {
        if !shown(value) {
            return None;
        }
        if self.log && value < NEAREST {
            return Some(Place::Foot(self.foot.map_or(self.from, |(at, _)| at)));
        }
        let part = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        Some(Place::On(self.from + part.clamp(0.0, 1.0) * (self.to - self.from)))
    }

    /// Where the axis is broken, between its foot and its beginning, in pixels.
    pub(super) fn broken(&self) -> Option<f64> {
        self.foot.map(|(at, _)| (at + self.from) / 2.0)
    }

    /// The marks of the axis, from its beginning on.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let values = if self.log { self.log_ticks() } else { self.linear_ticks() };
        let foot = self.foot.map(|(at, label)| Tick { at, label: Some(label.to_owned()) });
        let on_axis =
            values.into_iter().filter_map(|(value, label)| Some(Tick { at: self.place(value)?.at(), label }));
        foot.into_iter().chain(on_axis).collect()
    }

    fn linear_ticks(&self) -> Vec<(f64, Option<String>)> {
        let step = step(self.low, self.high);
        let largest = self.low.abs().max(self.high.abs());
        let first = (self.low / step - 1e-6).ceil();
        let last = (self.high / step + 1e-6).floor();
        let count = ((last - first) as i64).clamp(0, MOST_TICKS);
        let values = (0..=count).map(|i| (first + i as f64) * step).filter(|v| v.is_finite());
        values.map(|value| (value, Some(linear_label(value, step, largest)))).collect()
    }

    fn log_ticks(&self) -> Vec<(f64, Option<String>)> {
        let within = |value: f64| value >= self.low * (1.0 - 1e-9) && value <= self.high * (1.0 + 1e-9);
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let every = (last - first).saturating_add(7) / 8;
        let wide = (self.high / self.low).log10();
        let mut ticks = Vec::new();
        for decade in first..=last {
            for digit in 1..10 {
                let value = power(decade) * f64::from(digit);
                if !within(value) {
                    continue;
                }
                let labelled = match digit {
                    1 => every <= 1 || (decade - first) % every == 0,
                    2 | 5 => wide < 2.0,
                    3 => wide < 0.7,
                    _ => false,
                };
                // Small marks would only be grey where there are many decades.
                if labelled || wide < 5.0 || digit == 1 {
                    ticks.push((value, labelled.then(|| log_label(decade, digit, self.high))));
                }
            }
        }
        ticks
    }
}

/// A power of ten, to the last digit: of a number below 1 by dividing.
fn power(decade: i32) -> f64 {
    if decade < 0 { 1.0 / 10f64.powi(-decade) } else { 10f64.powi(decade) }
}

/// The greatest one, two or five of a power of ten that is no more.
fn round_down(value: f64) -> f64 {
    let decade = power(value.log10().floor() as i32);
    let digit = match value / decade * (1.0 + 1e-9) {
        d if d >= 5.0 => 5.0,
        d if d >= 2.0 => 2.0,
        _ => 1.0,
    };
    digit * decade
}

/// One, two or five of a power of ten, so that about [`STEPS`] are between two values.
fn step(low: f64, high: f64) -> f64 {
    let rough = ((high - low) / STEPS).max(f64::MIN_POSITIVE);
    let decade = power(rough.log10().floor() as i32);
    let digit = match rough / decade {
        d if d < 1.5 => 1.0,
        d if d < 3.5 => 2.0,
        d if d < 7.5 => 5.0,
        _ => 10.0,
    };
    digit * decade
}

fn linear_label(value: f64, step: f64, largest: f64) -> String {
    let (unit, letter) = match largest {
        l if l >= 1e12 => (1e12, "T"),
        l if l >= 1e9 => (1e9, "G"),
        l if l >= 1e6 => (1e6, "M"),
        _ => (1.0, ""),
    };
    let zero = value.abs() < step / 2.0;
    if zero && largest >= 1e6 {
        return "0".to_owned();
    }
    let (value, step) = (if zero { 0.0 } else { value / unit }, step / unit);
    if step < 1e-4 && letter.is_empty() {
        return if zero { "0".to_owned() } else { format!("{value:.1e}") };
    }
    let places = (-(step.log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize;
    let digits = grouped(&format!("{value:.places$}"));
    format!("{}{letter}", digits.replace('-', "−"))
}

fn log_label(decade: i32, digit: i32, largest: f64) -> String {
    match decade {
        ..-3 => {
            let raised: String = decade.to_string().chars().map(raised).collect();
            let times = if digit == 1 { String::new() } else { format!("{digit}×") };
            format!("{times}10{raised}")
        }
        -3..0 => format!("{:.*}", decade.unsigned_abs() as usize, power(decade) * f64::from(digit)),
        _ => {
            let (of, letter) = match decade {
                _ if largest < 1e6 => (0, ""),
                ..3 => (0, ""),
                3..6 => (3, "k"),
                6..9 => (6, "M"),
                9..12 => (9, "G"),
                _ => (12, "T"),
            };
            format!("{}{letter}", grouped(&format!("{:.0}", power(decade - of) * f64::from(digit))))
        }
    }
}

/// A sign or a digit, as it stands above the line.
fn raised(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(log: bool, from: Option<f64>, to: Option<f64>, values: &[f64], upright: bool) -> Scale {
        let mut extent = Extent::default();
        values.iter().for_each(|value| extent.point(*value, log));
        Scale::new(&Axis { label: String::new(), log, from, to }, &extent, upright, 0.0, 300.0)
    }

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().filter_map(|tick| tick.label).collect()
    }

    #[test]
    fn marks_are_numbers_that_people_count_in() {
        let of = |values: &[f64]| labels(&scale(false, None, None, values, true));
        assert_eq!(of(&[0.1, 0.97]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(of(&[12_000.0, 42_000.0]), ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]);
        assert_eq!(of(&[2.4e6]), ["0", "0.5M", "1.0M", "1.5M", "2.0M", "2.5M"]);
        assert_eq!(of(&[-20.0, 20.0]), ["−20", "−10", "0", "10", "20"]);
        let of = |values: &[f64]| labels(&scale(true, None, None, values, true));
        assert_eq!(of(&[100.0, 100_000.0]), ["100", "1,000", "10,000", "100,000"]);
        assert_eq!(of(&[10.0, 1e7]), ["10", "100", "1k", "10k", "100k", "1M", "10M"]);
        assert_eq!(of(&[1e-5, 1e-2]), ["10⁻⁵", "10⁻⁴", "0.001", "0.01"]);
        assert_eq!(of(&[0.0, 1.0, 100.0]), ["0", "1", "10", "100"]);
        assert_eq!(of(&[-1.0, 40.0, 600.0]), ["≤ 0", "20", "50", "100", "200", "500", "1,000"]);
    }

    #[test]
    fn an_end_is_where_it_is_told_unless_a_point_lies_beyond() {
        assert_eq!(
            labels(&scale(false, Some(0.9), Some(1.0), &[0.95], true)).first().map(String::as_str),
            Some("0.90")
        );
        let moved = scale(false, Some(0.9), Some(1.0), &[0.5], true);
        assert_eq!((moved.low, moved.high), (0.5, 1.0));
        let mut extent = Extent::default();
        extent.point(0.9, false);
        extent.end(1.4, false);
        let axis = Axis { to: Some(1.0), ..Axis::default() };
        let cut = Scale::new(&axis, &extent, true, 300.0, 0.0);
        assert_eq!(cut.place(1.4), cut.place(1.0));
    }

    proptest! {
        #[test]
        fn every_axis_is_sound(
            log: bool,
            upright: bool,
            values in proptest::collection::vec(proptest::num::f64::ANY, 0..6),
            from in proptest::option::of(proptest::num::f64::ANY),
            to in proptest::option::of(proptest::num::f64::ANY),
        ) {
            let scale = scale(log, from, to, &values, upright);
            let ticks = scale.ticks();
            prop_assert!(ticks.len() < 200, "{} marks", ticks.len());
            prop_assert!(ticks.iter().all(|tick| (0.0..=300.0).contains(&tick.at)), "{ticks:?}");
            for value in values {
                if let Some(place) = scale.place(value) {
                    prop_assert!((0.0..=300.0).contains(&place.at()), "{value} at {place:?}");
                } else {
                    prop_assert!(value.is_nan() || value.abs() > FARTHEST);
                }
            }
        }

        #[test]
        fn order_is_kept(log: bool, values in proptest::collection::vec(1e-6..1e9f64, 2..6)) {
            let scale = scale(log, None, None, &values, false);
            for pair in values.windows(2) {
                if let [a, b] = pair {
                    let (at, bt) = (scale.place(*a), scale.place(*b));
                    let (at, bt) = (at.map_or(-1.0, Place::at), bt.map_or(-1.0, Place::at));
                    prop_assert!((a < b) == (at < bt) || (at - bt).abs() < 1e-3, "{a} {b} {at} {bt}");
                }
            }
        }
    }
}
