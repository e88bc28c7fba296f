//! Whether a shape came out.

use super::{Against, At, Curve, Expect, Toward, Verdict};
use crate::{
    report::number,
    stats::{Line, Sample},
};

/// What an expectation came to: one verdict for each series it is about. `series` are all there are, `curve` gives a figure
/// of one of them, and `x` is what goes along the axis.
pub fn judge(expect: &Expect, series: &[&str], x: &str, curve: impl Fn(&str, &str) -> Curve) -> Vec<Verdict> {
    let figure = expect.figure();
    if let Expect::Above { series, than, by, from, to, .. } = expect {
        let curves = (curve(series, figure), curve(than, figure));
        let about = format!("{figure} of {series} is above that of {than}");
        return vec![above(&about, x, &curves, *by, &range(*from, *to))];
    }
    let named = expect.series();
    let series = if named.is_empty() { series } else { &named };
    let one = |series: &str| {
        let curve = curve(series, figure);
        let seen = Seen { about: format!("{figure} of {series}"), x, curve: &curve };
        match expect {
            Expect::Falls { .. } => seen.falls("falls", |sample| *sample),
            Expect::Rises { .. } => seen.falls("rises", Sample::negated),
            Expect::Flat { within, .. } => seen.flat(*within),
            Expect::Linear { against, r2, .. } => seen.linear(*against, *r2),
            Expect::Knee { by, drop, toward, .. } => seen.knee(*by, *drop, *toward),
            Expect::AtMost { bound, from, to, .. } => {
                let far = |s: &Sample| s.high() - bound;
                seen.bounded(&format!("at most {}", number(*bound)), &range(*from, *to), far)
            }
            Expect::AtLeast { bound, from, to, .. } => {
                let far = |s: &Sample| bound - s.low();
                seen.bounded(&format!("at least {}", number(*bound)), &range(*from, *to), far)
            }
            Expect::Above { .. } => seen.none(),
        }
    };
    series.iter().map(|series| one(series)).collect()
}

/// A curve that is judged, and what it is called.
struct Seen<'a> {
    about: String,
    x: &'a str,
    curve: &'a Curve,
}

/// A range of x.
fn range(from: Option<f64>, to: Option<f64>) -> impl Fn(&&At) -> bool {
    move |at| from.is_none_or(|from| at.x >= from) && to.is_none_or(|to| at.x <= to)
}

impl Seen<'_> {
    fn none(&self) -> Verdict {
        Verdict::Missed { text: format!("{}: there is nothing to judge", self.about) }
    }

    /// `of` turns what should rise into what should fall.
    fn falls(&self, how: &str, of: impl Fn(&Sample) -> Sample) -> Verdict {
        let points = &self.curve.0;
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return self.none() };
        let apart = of(&last.sample).high() < of(&first.sample).low();
        let against = points.windows(2).find_map(|pair| match pair {
            [a, b] if of(&b.sample).low() > of(&a.sample).high() => Some((a, b)),
            _ => None,
        });
        let ends = format!("from {} to {}", self.at(first), self.at(last));
        match against {
            Some((a, b)) => {
                let between = format!("between {} and {}", self.at(a), self.at(b));
                Verdict::Missed { text: format!("{} goes the other way {between}; {ends}", self.about) }
            }
            None if apart => Verdict::Held { text: format!("{} {how} {ends}", self.about) },
            None => Verdict::Missed {
                text: format!("{} cannot be said to change in that direction: {ends}", self.about),
            },
        }
    }

    fn flat(&self, within: f64) -> Verdict {
        let points = &self.curve.0;
        let by_mean = |a: &&At, b: &&At| a.sample.mean.total_cmp(&b.sample.mean);
        let (Some(least), Some(most)) = (points.iter().min_by(by_mean), points.iter().max_by(by_mean)) else {
            return self.none();
        };
        let (low, high) = (least.sample.mean, most.sample.mean);
        let between = format!("between {} and {}", self.at(least), self.at(most));
        if low <= 0.0 {
            let held = low == high;
            return Verdict::of(held, format!("{} is {between}", self.about));
        }
        let times = high / low;
        let allowed = number(within);
        Verdict::of(
            times <= within,
            format!(
                "{} changes by a factor of {} where {allowed} is allowed, {between}",
                self.about,
                number(times)
            ),
        )
    }

    fn linear(&self, against: Against, r2: f64) -> Verdict {
        let (of, what): (fn(f64) -> f64, String) = match against {
            Against::X => (|x| x, self.x.to_owned()),
            Against::Inverse => (|x| 1.0 / x, format!("1/{}", self.x)),
        };
        let points: Vec<_> = self.curve.0.iter().map(|at| (of(at.x), at.sample.mean)).collect();
        let Some(line) = Line::through(&points) else {
            let text =
                format!("{} against {what} is no line: it is too few points, or all alike", self.about);
            return Verdict::Missed { text };
        };
        let text = format!(
            "a straight line of {} against {what} accounts for {} of the variance, where {} is wanted; {} for each 1, and {} \
             at 0",
            self.about,
            number(line.r2),
            number(r2),
            number(line.slope),
            number(line.at_zero)
        );
        Verdict::of(line.r2 >= r2, text)
    }

    fn knee(&self, by: f64, drop: f64, toward: Toward) -> Verdict {
        let of = |at: &At| match toward {
            Toward::Down => at.sample,
            Toward::Up => at.sample.negated(),
        };
        let points = &self.curve.0;
        let best = points.iter().max_by(|a, b| of(a).mean.total_cmp(&of(b).mean));
        let (Some(best), Some(last)) = (best, points.last()) else { return self.none() };
        let near = |at: &At| of(at).mean >= of(best).mean - by;
        let until = points.iter().take_while(|at| near(at)).count();
        let Some(knee) = until.checked_sub(1).and_then(|n| points.get(n)) else {
            let first = points.first().map(|at| self.at(at)).unwrap_or_default();
            let text = format!("{} is not near its best, {}, at first: {first}", self.about, self.at(best));
            return Verdict::Missed { text };
        };
        if let Some(back) = points.iter().skip(until).find(|at| near(at)) {
            let text =
                format!("{} comes back to its best: {} after {}", self.about, self.at(back), self.at(knee));
            return Verdict::Missed { text };
        }
        let fell = of(best).mean - of(last).mean;
        let apart = of(last).high() < of(best).low();
        let seen = format!("the best is {}, the last {}", self.at(best), self.at(last));
        if until == points.len() || fell < drop || !apart {
            let text = format!("{} has no knee: it leaves its best by {}; {seen}", self.about, number(fell));
            return Verdict::Missed { text };
        }
        let text =
            format!("{} has its knee at {} = {}: {}; {seen}", self.about, self.x, knee.label, self.at(knee));
        Verdict::Held { text }
    }

    /// `far` is how far beyond the bound a sample goes.
    fn bounded(&self, bound: &str, within: &impl Fn(&&At) -> bool, far: impl Fn(&Sample) -> f64) -> Verdict {
        let points = self.curve.0.iter().filter(within);
        let Some(worst) = points.max_by(|a, b| far(&a.sample).total_cmp(&far(&b.sample))) else {
            return self.none();
        };
        let held = far(&worst.sample) <= 0.0;
        let is = if held { "is" } else { "is not everywhere" };
        Verdict::of(
            held,
            format!("{} {is} {bound}: nearest to it or beyond is {}", self.about, self.at(worst)),
        )
    }

    fn at(&self, at: &At) -> String {
        said(at, self.x)
    }
}

fn above(about: &str, x: &str, curves: &(Curve, Curve), by: f64, within: &impl Fn(&&At) -> bool) -> Verdict {
    let pairs = curves.0.0.iter().filter(within);
    let pairs = pairs.filter_map(|a| curves.1.0.iter().find(|b| b.label == a.label).map(|b| (a, b)));
    let margin = |(a, b): &(&At, &At)| a.sample.mean - b.sample.mean;
    let apart = |(a, b): &(&At, &At)| a.sample.low() > b.sample.high();
    let pairs: Vec<_> = pairs.collect();
    let worst = pairs.iter().min_by(|a, b| apart(a).cmp(&apart(b)).then(margin(a).total_cmp(&margin(b))));
    let Some(worst) = worst else {
        return Verdict::Missed { text: format!("{about}: there is nothing to judge") };
    };
    let held = pairs.iter().all(|pair| apart(pair) && margin(pair) >= by);
    let (said_a, said_b) = (said(worst.0, x), said(worst.1, x));
    let text = match held {
        true => format!("{about} by {} or more: at the closest {said_a} and {said_b}", number(margin(worst))),
        false => format!(
            "{about} by at least {}, intervals apart, does not hold: {said_a} and {said_b}",
            number(by)
        ),
    };
    Verdict::of(held, text)
}

/// A figure at an x, in words.
fn said(at: &At, x: &str) -> String {
    let mean = number(at.sample.mean);
    let interval = match at.sample.interval {
        Some((low, high)) => format!("{mean} ({} to {})", number(low), number(high)),
        None => mean,
    };
    format!("{interval} at {x} = {}", at.label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    /// A curve of means that are sure to within `half`.
    fn curve(points: &[(f64, f64)], half: f64) -> Curve {
        let at = |(x, mean): &(f64, f64)| At {
            x: *x,
            label: x.to_string(),
            sample: Sample { n: 5, mean: *mean, sd: half, interval: Some((mean - half, mean + half)) },
        };
        Curve(points.iter().map(at).collect())
    }

    fn expect(text: &str) -> Expect {
        toml::from_str(text).unwrap()
    }

    fn one(text: &str, points: &[(f64, f64)], half: f64) -> Verdict {
        let verdicts = judge(&expect(text), &["s"], "alpha", |_, _| curve(points, half));
        assert_eq!(verdicts.len(), 1);
        verdicts.into_iter().next().unwrap()
    }

    #[test]
    fn what_falls_falls_and_says_from_what_to_what() {
        let text = "shape = \"falls\"\nfigure = \"success\"";
        let falling = [(0.0, 1.0), (0.2, 0.8), (0.4, 0.5)];
        let held = one(text, &falling, 0.05);
        assert_eq!(
            held.to_string(),
            "held: success of s falls from 1 (0.95 to 1.05) at alpha = 0 to 0.5 (0.45 to 0.55) at alpha = 0.4"
        );
        // Intervals that overlap say nothing.
        assert!(!one(text, &falling, 0.3).held());
        // A rise between neighbours that is within the intervals is none; one beyond them is.
        assert!(one(text, &[(0.0, 1.0), (0.2, 0.52), (0.4, 0.55)], 0.05).held());
        let missed = one(text, &[(0.0, 1.0), (0.2, 0.3), (0.4, 0.5)], 0.05);
        assert!(!missed.held() && missed.text().contains("the other way"), "{missed}");
        assert!(one(&text.replace("falls", "rises"), &[(0.0, 0.1), (0.4, 0.5)], 0.05).held());
        assert!(!one(&text.replace("falls", "rises"), &falling, 0.05).held());
        assert!(!one(text, &[], 0.05).held());
    }

    #[test]
    fn one_is_above_another_only_where_it_is_everywhere_and_surely() {
        let text =
            "shape = \"above\"\nfigure = \"success\"\nseries = \"a\"\nthan = \"b\"\nby = 0.1\nfrom = 0.2";
        let above = |a: &[(f64, f64)], half: f64| {
            let b = [(0.0, 1.0), (0.2, 0.5), (0.4, 0.4)];
            let verdicts = judge(&expect(text), &["a", "b"], "alpha", |series, _| {
                curve(if series == "a" { a } else { &b }, half)
            });
            verdicts.into_iter().next().unwrap()
        };
        // Below `from` nothing is asked of it.
        let good = [(0.0, 0.9), (0.2, 0.8), (0.4, 0.8)];
        assert!(above(&good, 0.05).held());
        assert!(above(&good, 0.05).text().contains("by 0.3 or more"), "{}", above(&good, 0.05));
        assert!(!above(&good, 0.2).held(), "intervals overlap");
        assert!(!above(&[(0.0, 0.9), (0.2, 0.8), (0.4, 0.45)], 0.01).held(), "too little above");
        assert!(!above(&[(0.0, 0.9)], 0.01).held(), "nothing to judge");
    }

    #[test]
    fn flat_is_a_factor() {
        let text = "shape = \"flat\"\nfigure = \"ms\"\nwithin = 1.2";
        assert!(one(text, &[(20.0, 100.0), (200.0, 118.0)], 1.0).held());
        assert!(!one(text, &[(20.0, 100.0), (200.0, 130.0)], 1.0).held());
        assert!(one(text, &[(20.0, 0.0), (200.0, 0.0)], 0.0).held());
        assert!(!one(text, &[(20.0, 0.0), (200.0, 1.0)], 0.0).held());
    }

    #[test]
    fn a_line_against_the_rate() {
        let text = "shape = \"linear\"\nfigure = \"bytes\"\nagainst = \"1/x\"\nr2 = 0.99";
        let of = |x: f64| (x, 5.0 + 300.0 / x);
        let points = [of(30.0), of(60.0), of(120.0), of(600.0)];
        let held = one(text, &points, 0.1);
        assert!(held.held() && held.text().contains("300 for each 1, and 5 at 0"), "{held}");
        assert!(!one(&text.replace("1/x", "x"), &points, 0.1).held());
        assert!(!one(text, &[of(30.0), of(60.0)], 0.1).held());
    }

    #[test]
    fn a_knee_is_where_it_leaves_its_best_for_good() {
        let text = "shape = \"knee\"\nfigure = \"success\"\nby = 0.05\ndrop = 0.2";
        let held = one(text, &[(30.0, 0.97), (60.0, 0.99), (300.0, 0.96), (900.0, 0.7), (3600.0, 0.5)], 0.02);
        assert!(held.held() && held.text().contains("knee at alpha = 300"), "{held}");
        let flat = [(30.0, 0.97), (60.0, 0.99), (300.0, 0.96)];
        assert!(!one(text, &flat, 0.02).held());
        let back = [(30.0, 0.97), (60.0, 0.5), (300.0, 0.96), (900.0, 0.5)];
        assert!(one(text, &back, 0.02).text().contains("comes back"));
        let late = [(30.0, 0.5), (60.0, 0.97), (300.0, 0.5)];
        assert!(one(text, &late, 0.02).text().contains("at first"));
        let up = format!("{text}\ntoward = \"up\"");
        assert!(one(&up, &[(30.0, 0.01), (60.0, 0.02), (900.0, 0.4)], 0.02).held());
        assert!(!one(&up, &[(30.0, 0.4), (60.0, 0.02), (900.0, 0.4)], 0.02).held());
    }

    #[test]
    fn bounds_are_of_the_whole_interval() {
        let text = "shape = \"at-most\"\nfigure = \"wrong\"\nbound = 0.1\nto = 0.3";
        let points = [(0.0, 0.0), (0.2, 0.08), (0.4, 0.5)];
        assert!(one(text, &points, 0.01).held());
        let missed = one(text, &points, 0.05);
        assert!(!missed.held() && missed.text().contains("0.08 (0.03 to 0.13) at alpha = 0.2"), "{missed}");
        let least = "shape = \"at-least\"\nfigure = \"success\"\nbound = 0.4\nfrom = 0.4";
        assert!(one(least, &points, 0.05).held());
        assert!(!one(least, &points, 0.2).held());
    }

    #[test]
    fn what_names_no_series_is_said_of_each() {
        let both = judge(&expect("shape = \"falls\"\nfigure = \"f\""), &["a", "b"], "x", |series, _| {
            curve(if series == "a" { &[(0.0, 1.0), (1.0, 0.0)] } else { &[(0.0, 0.0), (1.0, 1.0)] }, 0.1)
        });
        assert_eq!(both.iter().map(Verdict::held).collect::<Vec<_>>(), [true, false]);
        assert!(toml::from_str::<Expect>("shape = \"falls\"\nfigure = \"f\"\nby = 1").is_err());
        assert!(toml::from_str::<Expect>("shape = \"wiggles\"\nfigure = \"f\"").is_err());
    }
}
