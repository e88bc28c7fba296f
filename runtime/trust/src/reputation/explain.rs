//! A record in words, for people.

use super::{OPINION_CAP, Record, Standing};

impl Record {
    /// Why the provider stands as it does, a line each. For `--explain` and whoever asks about a peer.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(fraud) = self.fraud {
            let receipt = fraud.receipt.map_or_else(|| "a receipt".to_owned(), |id| format!("receipt {id}"));
            lines.push(format!(
                "caught in a lie: {receipt} is not what re-execution gives; never asked again"
            ));
        }
        let replayed = self.confirmed.saturating_add(self.not_replayable);
        if replayed == 0 {
            lines.push("no receipt replayed here yet: unknown, which is not bad".to_owned());
        } else {
            let (confirmed, here) = (self.confirmed, self.confirmed_here);
            lines.push(format!(
                "confirmed {confirmed} of {replayed} replayed, {here} of them of this capability"
            ));
        }
        if self.opaque {
            let n = self.not_replayable;
            lines.push(format!("{n} could not be replayed here: what was confirmed says little of the rest"));
        }
        if self.inconsistent > 0 {
            let n = self.inconsistent;
            lines.push(format!("{n} {} without re-execution", failed(n)));
        }
        let asked = self.served.saturating_add(self.missed);
        if asked > 0 {
            let typical = self.millis.map_or_else(String::new, |ms| format!(", typically in {ms} ms"));
            lines.push(format!("answered {} of {asked}{typical}", self.served));
        }
        if self.opinions > 0 {
            let n = self.opinions;
            let noun = if n == 1 { "opinion" } else { "opinions" };
            lines.push(format!(
                "{n} {noun} of providers that were verified here, counted as at most {OPINION_CAP} confirmations"
            ));
        }
        lines.push(format!(
            "honest: {} of 1000 expected, at least {} nearly for sure",
            self.honesty.mean_permille(),
            self.honesty.low_permille()
        ));
        if self.standing() == Standing::Suspect {
            lines.push("suspect: asked after all others".to_owned());
        }
        if let Some(at) = self.last_seen {
            lines.push(format!("last seen {}", ago(self.as_of.saturating_sub(at))));
        }
        lines
    }
}

fn failed(n: u64) -> &'static str {
    if n == 1 { "receipt failed the checks" } else { "receipts failed the checks" }
}

/// A time ago, in its largest unit.
fn ago(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 3_600, "day"), (3_600, "hour"), (60, "minute")];
    let unit = UNITS.into_iter().find(|(length, _)| seconds >= *length);
    let (n, name) = unit.map_or((seconds, "second"), |(length, name)| (seconds / length, name));
    format!("{n} {name}{} ago", if n == 1 { "" } else { "s" })
}
