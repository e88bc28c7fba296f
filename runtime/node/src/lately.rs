//! How this node did lately, as its leases say: what was observed of the last actions, bounded in number and in time.

use actum_model::descriptor::Lately;
use std::collections::VecDeque;

/// Seconds looked back over.
const WINDOW: u64 = 3_600;
/// The most actions looked at: the last ones. More than this in an hour say no more than this many.
const ACTIONS: usize = 512;

/// The last actions that ended.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Ended>);

#[derive(Clone, Copy, Debug)]
struct Ended {
    at: u64,
    ok: bool,
    ms: u32,
}

impl Recent {
    /// An action ended at `now`, in seconds since the Unix epoch, so many milliseconds after it was admitted.
    pub(crate) fn note(&mut self, now: u64, ok: bool, ms: u32) {
        if self.0.len() >= ACTIONS {
            self.0.pop_front();
        }
        self.0.push_back(Ended { at: now, ok, ms });
    }

    /// What a lease says of them at `now`. Nothing where none ended in the window.
    pub(crate) fn report(&self, now: u64) -> Option<Lately> {
        let since = now.saturating_sub(WINDOW);
        let ended: Vec<_> = self.0.iter().filter(|e| e.at >= since).collect();
        let oldest = ended.iter().map(|e| e.at).min()?;
        let mut times: Vec<_> = ended.iter().map(|e| e.ms).collect();
        times.sort_unstable();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(Lately {
            // Where older ones were let go, the window is as long as what is left.
            window: match ended.len() == ACTIONS {
                true => u32::try_from(now.saturating_sub(oldest)).unwrap_or(u32::MAX).max(1),
                false => WINDOW as u32,
            },
            actions: number(ended.len()),
            ok: number(ended.iter().filter(|e| e.ok).count()),
            p50_ms: times.get(times.len() / 2).copied().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_not_reported_and_what_is_many_shortens_the_window() {
        let mut recent = Recent::default();
        assert_eq!(recent.report(10_000), None);
        for (at, ok, ms) in [(10_000, true, 5), (10_001, false, 1), (10_002, true, 9)] {
            recent.note(at, ok, ms);
        }
        let said = recent.report(10_002).unwrap();
        assert_eq!((said.window, said.actions, said.ok, said.p50_ms), (3_600, 3, 2, 5));
        assert_eq!(recent.report(10_001 + WINDOW).map(|l| l.actions), Some(2));
        assert_eq!(recent.report(10_003 + WINDOW), None);
        for n in 0..ACTIONS as u64 {
            recent.note(20_000 + n / 100, true, 1);
        }
        let said = recent.report(20_010).unwrap();
        assert_eq!((said.window, said.actions), (10, ACTIONS as u32));
    }
}
