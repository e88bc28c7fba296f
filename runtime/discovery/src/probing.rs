//! When a registry probes an offer: before it gives it out, now and then afterwards, and less and less often where nobody
//! answers.

/// The seconds for which a provider that answered a probe is not asked again: 3,600. It may change its ways meanwhile, and an
/// hour is what that hides.
pub const PROBED_FOR: u64 = 3_600;

/// The seconds after which an offer is probed again that did not answer for the first time: 60. Twice as many after each
/// further time.
pub const SILENT_FOR: u64 = 60;

/// The most seconds after which an offer is probed again that did not answer: 3,600.
pub const SILENT_AT_MOST: u64 = 3_600;

/// How many times one after the other a provider that answered may say that it has no room now: 6, which take an hour. Then
/// it counts as never probed.
pub const BUSY_AT_MOST: u8 = 6;

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The provider did what it offers. It is asked again after [`PROBED_FOR`] seconds.
    Answered,
    /// It did not. It is asked again after [`SILENT_FOR`] seconds, twice as many after each further time, up to
    /// [`SILENT_AT_MOST`].
    Silent,
    /// It has no room now. What was known of it stands for another [`BUSY_AT_MOST`] such answers, and it is asked again as
    /// one that was silent.
    Busy,
}

/// Whether the provider answered when it was last asked for this release.
///
/// In the order in which they are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probed {
    /// It was not asked yet.
    Never = 0,
    /// It answered.
    Answers = 1,
    /// It did not.
    Silent = 2,
}

/// Where an offer stands with its probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// What became of the last one.
    pub probed: Probed,
    /// When the next is due, in seconds since the Unix epoch.
    pub at: u64,
    /// Probes since the last that was answered.
    pub tries: u8,
}

impl Probing {
    /// An offer that was never probed, and is to be now.
    pub fn new(now: u64) -> Self {
        Self { probed: Probed::Never, at: now, tries: 0 }
    }

    /// Takes in how a probe ended.
    pub fn ended(&mut self, ended: Probe, now: u64) {
        self.tries = match ended {
            Probe::Answered => 0,
            Probe::Silent | Probe::Busy => self.tries.saturating_add(1),
        };
        self.probed = match (ended, self.probed) {
            (Probe::Answered, _) => Probed::Answers,
            (Probe::Silent, _) => Probed::Silent,
            (Probe::Busy, Probed::Answers) if self.tries > BUSY_AT_MOST => Probed::Never,
            (Probe::Busy, known) => known,
        };
        let wait = match ended {
            Probe::Answered => PROBED_FOR,
            Probe::Silent | Probe::Busy => backoff(self.tries),
        };
        self.at = now.saturating_add(wait);
    }
}

/// The seconds before the next probe after so many that were not answered.
fn backoff(tries: u8) -> u64 {
    let doubled = u32::from(tries.saturating_sub(1)).min(16);
    (SILENT_FOR << doubled).min(SILENT_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_silent_is_asked_half_as_often_each_time_up_to_once_an_hour() {
        let waits = (1..=9).map(backoff);
        assert_eq!(waits.collect::<Vec<_>>(), [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
        assert_eq!(backoff(u8::MAX), SILENT_AT_MOST);
    }

    #[test]
    fn who_answered_may_be_busy_for_an_hour() {
        let mut offer = Probing::new(0);
        offer.ended(Probe::Answered, 0);
        assert_eq!(offer, Probing { probed: Probed::Answers, at: PROBED_FOR, tries: 0 });
        for _ in 0..BUSY_AT_MOST {
            offer.ended(Probe::Busy, 0);
            assert_eq!(offer.probed, Probed::Answers);
        }
        offer.ended(Probe::Busy, 0);
        assert_eq!(offer.probed, Probed::Never);
        offer.ended(Probe::Silent, 0);
        assert_eq!((offer.probed, offer.tries), (Probed::Silent, BUSY_AT_MOST + 2));
    }
}
