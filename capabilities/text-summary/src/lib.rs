//! `actum:text-summary`: extractive summary by word frequency.
//!
//! A word weighs as often as it occurs, common ones nothing; a sentence weighs the mean of its words, damped for
//! very short ones. All arithmetic is addition, multiplication, division and square root, so any machine gets the same.

actum_guest::capability! {
    wit: "../../wit/text-summary",
    implement: TextSummary,
}

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bindings::exports::actum::text_summary::text_summary::{Failure, Guest, Length, Sentence};
use unicode_segmentation::UnicodeSegmentation;

/// Words that say nothing about what a text is about. Sorted.
const COMMON: [&str; 116] = [
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because",
    "been", "before", "being", "between", "both", "but", "by", "can", "could", "did", "do", "does", "during",
    "each", "few", "for", "from", "further", "had", "has", "have", "having", "he", "her", "here", "his",
    "how", "i", "if", "in", "into", "is", "it", "its", "just", "may", "me", "more", "most", "much", "must",
    "my", "no", "nor", "not", "now", "of", "off", "on", "once", "one", "only", "or", "other", "our", "out",
    "over", "own", "same", "shall", "she", "should", "so", "some", "such", "than", "that", "the", "their",
    "them", "then", "there", "these", "they", "this", "those", "through", "to", "too", "under", "until",
    "up", "upon", "us", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who",
    "whom", "why", "will", "with", "would", "yet", "you", "your",
];

/// Shorter sentences than this many telling words are damped: a heading is no summary.
const FULL_WORDS: f64 = 6.0;

struct TextSummary;

impl Guest for TextSummary {
    fn summarize(text: String, length: Option<Length>) -> Result<Vec<Sentence>, Failure> {
        let sentences: Vec<&str> = text.unicode_sentences().map(str::trim).collect();
        if sentences.is_empty() {
            return Err(Failure::Empty);
        }
        let wanted = wanted(length, sentences.len())?;
        let weights = weights(&text);
        let scores: Vec<f64> = sentences.iter().map(|sentence| score(sentence, &weights)).collect();
        let best = scores.iter().copied().fold(0.0, f64::max);

        let mut chosen: Vec<(usize, (&str, f64))> = sentences.into_iter().zip(scores).enumerate().collect();
        // Stable: of equals, the earlier sentence wins.
        chosen.sort_by(|(_, (_, a)), (_, (_, b))| b.total_cmp(a));
        chosen.truncate(wanted);
        chosen.sort_by_key(|(position, _)| *position);
        Ok(chosen
            .into_iter()
            .map(|(position, (text, score))| Sentence {
                text: text.to_owned(),
                position: u32::try_from(position).unwrap_or(u32::MAX),
                score: if best > 0.0 { (score / best) as f32 } else { 0.0 },
            })
            .collect())
    }

    fn keywords(text: String, limit: u32) -> Vec<String> {
        let mut words: Vec<(String, u32)> = weights(&text).into_iter().collect();
        words.sort_by_key(|(_, count)| Reverse(*count));
        words.into_iter().take(limit as usize).map(|(word, _)| word).collect()
    }
}

fn wanted(length: Option<Length>, sentences: usize) -> Result<usize, Failure> {
    match length.unwrap_or(Length::Sentences(3)) {
        Length::Sentences(count) if count > 0 => Ok(count as usize),
        Length::Fraction(part) if part > 0.0 && part <= 1.0 => {
            Ok((f64::from(part) * sentences as f64).ceil() as usize)
        }
        _ => Err(Failure::BadLength),
    }
}

/// How often each telling word occurs.
fn weights(text: &str) -> BTreeMap<String, u32> {
    let mut weights = BTreeMap::new();
    for word in telling_words(text) {
        *weights.entry(word).or_default() += 1;
    }
    weights
}

fn telling_words(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().map(str::to_lowercase).filter(|word| {
        let letters = word.chars().filter(|character| character.is_alphabetic()).count();
        letters > 1 && COMMON.binary_search(&word.as_str()).is_err()
    })
}

fn score(sentence: &str, weights: &BTreeMap<String, u32>) -> f64 {
    let (mut count, mut sum) = (0.0, 0.0);
    for word in telling_words(sentence) {
        count += 1.0;
        sum += f64::from(weights.get(&word).copied().unwrap_or_default());
    }
    if count == 0.0 { 0.0 } else { sum / count * (count / FULL_WORDS).min(1.0).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEES: &str = "The weather was fine. Bees pollinate crops, and crops feed people. My aunt owns a red car. \
                        Without bees, many crops would fail to pollinate. She parks it outside.";

    fn positions(length: Option<Length>) -> Vec<u32> {
        TextSummary::summarize(BEES.into(), length)
            .unwrap()
            .iter()
            .map(|sentence| sentence.position)
            .collect()
    }

    #[test]
    fn the_table_of_common_words_is_sorted() {
        assert!(COMMON.is_sorted());
    }

    #[test]
    fn picks_the_sentences_on_the_subject_in_the_texts_order() {
        assert_eq!(positions(Some(Length::Sentences(2))), [1, 3]);
        assert_eq!(positions(Some(Length::Fraction(0.3))), [1, 3]);
        assert_eq!(positions(Some(Length::Sentences(99))).len(), 5);
    }

    #[test]
    fn scores_are_relative_to_the_best() {
        let found = TextSummary::summarize(BEES.into(), None).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found.iter().map(|sentence| sentence.score).fold(0.0, f32::max), 1.0);
        assert_eq!(found[0].text, "Bees pollinate crops, and crops feed people.");
    }

    #[test]
    fn keywords_leave_out_common_words() {
        assert_eq!(TextSummary::keywords(BEES.into(), 3), ["crops", "bees", "pollinate"]);
    }

    #[test]
    fn nothing_to_summarise_is_an_error() {
        assert!(matches!(TextSummary::summarize(" \n".into(), None), Err(Failure::Empty)));
        for length in
            [Length::Sentences(0), Length::Fraction(0.0), Length::Fraction(1.5), Length::Fraction(f32::NAN)]
        {
            assert!(matches!(TextSummary::summarize(BEES.into(), Some(length)), Err(Failure::BadLength)));
        }
    }
}
