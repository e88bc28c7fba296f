//! `actum:text-diff`: differences between two texts, as a list, as a patch, as a number.

actum_guest::capability! {
    wit: "../../wit/text-diff",
    implement: TextDiff,
}

use bindings::exports::actum::text_diff::text_diff::{Change, Fate, Guest, UnifiedOptions, Unit};
use similar::ChangeTag;

struct TextDiff;

impl Guest for TextDiff {
    fn compare(old: String, new: String, unit: Option<Unit>) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for change in diff(&old, &new, unit).iter_all_changes() {
            let fate = match change.tag() {
                ChangeTag::Equal => Fate::Kept,
                ChangeTag::Delete => Fate::Deleted,
                ChangeTag::Insert => Fate::Inserted,
            };
            match changes.last_mut() {
                Some(last) if last.fate == fate => last.text.push_str(change.value()),
                _ => changes.push(Change {
                    fate,
                    text: change.value().to_owned(),
                    old_position: change.old_index().map(position),
                    new_position: change.new_index().map(position),
                }),
            }
        }
        changes
    }

    fn unified(old: String, new: String, options: Option<UnifiedOptions>) -> String {
        let options = options.unwrap_or(UnifiedOptions { context: 3, names: None });
        let diff = diff(&old, &new, Some(Unit::Lines));
        let mut unified = diff.unified_diff();
        unified.context_radius(options.context as usize);
        if let Some((before, after)) = &options.names {
            unified.header(before, after);
        }
        unified.to_string()
    }

    fn similarity(old: String, new: String, unit: Option<Unit>) -> f32 {
        diff(&old, &new, unit).ratio()
    }
}

fn diff<'a>(old: &'a str, new: &'a str, unit: Option<Unit>) -> similar::TextDiff<'a, 'a, str> {
    match unit.unwrap_or(Unit::Lines) {
        Unit::Lines => similar::TextDiff::from_lines(old, new),
        Unit::Words => similar::TextDiff::from_words(old, new),
        Unit::Characters => similar::TextDiff::from_chars(old, new),
    }
}

/// A component's memory has 32-bit addresses, so every position fits.
fn position(units: usize) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "one\ntwo\nthree\nfour\n";
    const NEW: &str = "one\n2\nthree\nfour\nfive\n";

    fn compare(unit: Unit) -> Vec<(Fate, String)> {
        let (old, new) = match unit {
            Unit::Lines => (OLD, NEW),
            _ => ("a red fox", "a red box"),
        };
        let changes = TextDiff::compare(old.into(), new.into(), Some(unit));
        let text =
            |but: Fate| changes.iter().filter(|c| c.fate != but).map(|c| c.text.as_str()).collect::<String>();
        assert_eq!((text(Fate::Inserted).as_str(), text(Fate::Deleted).as_str()), (old, new));
        changes.into_iter().map(|change| (change.fate, change.text)).collect()
    }

    #[test]
    fn runs_of_units_and_both_texts_can_be_had_back() {
        let expected = [
            (Fate::Kept, "one\n"),
            (Fate::Deleted, "two\n"),
            (Fate::Inserted, "2\n"),
            (Fate::Kept, "three\nfour\n"),
            (Fate::Inserted, "five\n"),
        ];
        assert_eq!(compare(Unit::Lines), expected.map(|(fate, text)| (fate, text.to_owned())));
        assert_eq!(
            compare(Unit::Words)[1..],
            [(Fate::Deleted, "fox".into()), (Fate::Inserted, "box".into())]
        );
        assert_eq!(compare(Unit::Characters).len(), 4);
    }

    #[test]
    fn positions_count_units() {
        let changes = TextDiff::compare(OLD.into(), NEW.into(), None);
        assert_eq!((changes[3].old_position, changes[3].new_position), (Some(2), Some(2)));
        assert_eq!((changes[4].old_position, changes[4].new_position), (None, Some(4)));
    }

    #[test]
    fn unified_is_a_patch() {
        let options = UnifiedOptions { context: 1, names: Some(("a.txt".into(), "b.txt".into())) };
        assert_eq!(
            TextDiff::unified(OLD.into(), NEW.into(), Some(options)),
            "--- a.txt\n+++ b.txt\n@@ -1,4 +1,5 @@\n one\n-two\n+2\n three\n four\n+five\n"
        );
        assert_eq!(TextDiff::unified(OLD.into(), OLD.into(), None), "");
    }

    #[test]
    fn similarity_is_a_ratio() {
        assert_eq!(TextDiff::similarity(OLD.into(), OLD.into(), None), 1.0);
        assert_eq!(TextDiff::similarity("a\n".into(), "b\n".into(), None), 0.0);
        assert_eq!(TextDiff::similarity("ab".into(), "ac".into(), Some(Unit::Characters)), 0.5);
    }
}
