//! What one lookup comes to, as it was measured here: so that a market can have lookups without a network of registrars.

use super::Looked;
use crate::{
    Span,
    profile::{Link, Weighs},
};

/// What one lookup does, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk {
    /// Peers asked. All of them answer.
    pub asked: f64,
    /// Peers that the answers name.
    pub named: f64,
    /// Ads in the answers, those known already among them.
    pub ads: f64,
    /// Different providers found.
    pub providers: f64,
    /// How long it takes, in round trips of the link's median.
    pub round_trips: f64,
}

/// A network of so many peers: what a lookup does there of what all of them offer, and of what nobody does.
type Row = (u32, Walk, Walk);

const fn walk(asked: f64, named: f64, ads: f64, providers: f64, round_trips: f64) -> Walk {
    Walk { asked, named, ads, providers, round_trips }
}

/// As [`popular`](super::popular) had it over links of 25 ms one way, sigma 0.4, at 100 Mbit/s, the mean of 60 lookups in each of ten
/// networks or more; in three or four of 1,000 peers, and in one of 10,000. `tests/advertise.rs` holds them to others.
const MEASURED: [Row; 6] = [
    (10, walk(8.7, 33.3, 63.0, 10.0, 2.5), walk(8.7, 31.3, 0.0, 0.0, 2.4)),
    (30, walk(16.7, 92.0, 141.7, 29.6, 4.2), walk(16.8, 87.1, 0.0, 0.0, 4.2)),
    (100, walk(22.0, 150.0, 195.2, 83.8, 5.4), walk(25.7, 163.3, 0.0, 0.0, 6.1)),
    (300, walk(25.8, 186.2, 234.0, 156.7, 6.2), walk(33.6, 248.0, 0.0, 0.0, 7.9)),
    (1_000, walk(30.9, 254.5, 284.6, 235.5, 7.3), walk(42.1, 360.0, 0.0, 0.0, 9.7)),
    (10_000, walk(39.4, 379.9, 370.0, 352.8, 9.4), walk(58.8, 616.4, 0.0, 0.0, 13.4)),
];
/// Where few offer something, the ads in an answer on average, as long as there are as many who do.
const ADS_OF_FEW: f64 = 4.0;

impl Walk {
    /// A lookup among so many peers of what so many of them offer.
    pub fn of_what_many_offer(peers: u32, providers: u32) -> Self {
        let (way, few) = (Self::at(peers, |row| row.1), f64::from(providers));
        // How far it goes, the network decides; how much it is given, those who offer.
        let given = Self::at(providers, |row| row.1);
        let ads = given.ads.max(ADS_OF_FEW.min(few) * Self::of_nothing(peers).asked);
        Self { ads: if providers == 0 { 0.0 } else { ads }, providers: given.providers.min(few), ..way }
    }

    /// A lookup among so many peers of what nobody offers.
    pub fn of_nothing(peers: u32) -> Self {
        Self::at(peers, |row| row.2)
    }

    /// What it weighs in all, in bytes, where an ad's statements weigh so much.
    pub fn bytes(&self, weighs: &Weighs, statements: f64) -> f64 {
        let of = |n: u64| n as f64;
        self.asked * (of(weighs.get_ads) + of(weighs.ads))
            + self.named * of(weighs.peer)
            + self.ads * (of(weighs.offer) + statements)
    }

    /// How long it takes over such links, where no message is lost.
    pub fn takes(&self, link: Link, weighs: &Weighs, statements: f64) -> Span {
        let answer = self.bytes(weighs, statements) / self.asked.max(1.0);
        let on_the_wire = answer * 1_000_000.0 / link.bytes_per_second.max(1) as f64;
        let round_trip = 2.0 * link.one_way.micros() as f64 + on_the_wire;
        Span::from_micros((self.round_trips * round_trip) as u64)
    }

    /// What was measured in networks of about that size, in between by the logarithm of peers. Among fewer than there were it is
    /// as many times less; beyond the largest it grows on.
    fn at(peers: u32, of: impl Fn(&Row) -> Self) -> Self {
        let mut rows = MEASURED.iter().zip(MEASURED.iter().skip(1)).peekable();
        let mut between = rows.peek().copied();
        for (low, high) in rows {
            if peers >= low.0 {
                between = Some((low, high));
            }
        }
        let Some((low, high)) = between else { return walk(0.0, 0.0, 0.0, 0.0, 0.0) };
        let (a, b) = (of(low), of(high));
        if peers < low.0 {
            let share = f64::from(peers) / f64::from(low.0);
            return a.each(&a, |a, _| a * share);
        }
        let log = |n: u32| f64::from(n).ln();
        let share = (log(peers) - log(low.0)) / (log(high.0) - log(low.0));
        a.each(&b, |a, b| a + (b - a) * share)
    }

    fn each(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        walk(
            of(self.asked, other.asked),
            of(self.named, other.named),
            of(self.ads, other.ads),
            of(self.providers, other.providers),
            of(self.round_trips, other.round_trips),
        )
    }
}

/// What lookups were measured to come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walked {
    /// What they did.
    pub walk: Walk,
    /// How long one took, in milliseconds.
    pub ms: f64,
    /// What all sent for one, in bytes.
    pub bytes: f64,
    /// What an ad's statements weighed, in bytes.
    pub statements: f64,
}

impl Walked {
    /// The mean of some lookups that are over, for which so many bytes were sent over such links.
    pub(super) fn of(looked: &[Looked], bytes: u64, link: Link) -> Self {
        let each = |sum: f64| sum / looked.len().max(1) as f64;
        let mean = |of: fn(&Looked) -> f64| each(looked.iter().map(of).sum());
        let ms = mean(|l| l.took.map_or(0.0, Span::millis));
        let walk = Walk {
            asked: mean(|l| l.asked as f64),
            named: mean(|l| l.named as f64),
            ads: mean(|l| l.ads as f64),
            providers: mean(|l| l.found.len() as f64),
            round_trips: ms / (2.0 * link.one_way.millis()).max(0.001),
        };
        let ads: usize = looked.iter().map(|l| l.ads).sum();
        let weighed: usize = looked.iter().map(|l| l.ad_bytes).sum();
        Self { walk, ms, bytes: each(bytes as f64), statements: weighed as f64 / ads.max(1) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::number;

    #[test]
    fn the_documented_table_is_this_one() {
        let documented = include_str!("../../../../docs/simulator.md");
        for (peers, all, nothing) in &MEASURED {
            let both = |of: fn(&Walk) -> f64| format!("{} / {}", number(of(all)), number(of(nothing)));
            let cells = [
                number(f64::from(*peers)),
                both(|walk| walk.asked),
                both(|walk| walk.named),
                number(all.ads),
                number(all.providers),
                both(|walk| walk.round_trips),
            ];
            let row = format!("| {} |", cells.join(" | "));
            assert!(documented.contains(&row), "{row}");
            assert_eq!((nothing.ads, nothing.providers), (0.0, 0.0));
        }
    }
}
