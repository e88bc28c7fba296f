//! Other numbers of as many digits, in numbers and in texts.

use super::walk::below;

/// Other digits in a text. A run of one digit becomes another digit, zero stays zero; of a longer run the first stays, so
/// that it has no other length and about the same size.
pub(super) fn in_text(text: &str, random: &mut dyn FnMut() -> u64) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut within = false;
    while let Some(c) = chars.next() {
        let more = chars.peek().is_some_and(char::is_ascii_digit);
        out.push(match c {
            '0'..='9' if within => digit(0, random),
            '1'..='9' if !more => digit(1, random),
            _ => c,
        });
        within = c.is_ascii_digit();
    }
    out
}

/// A digit from `least` to 9.
pub(super) fn digit(least: u64, random: &mut dyn FnMut() -> u64) -> char {
    let n = least + below(10 - least, random);
    u32::try_from(n).ok().and_then(|n| char::from_digit(n, 10)).unwrap_or('9')
}

/// Another integer of the same sign, with as many digits, the same first digit if it has several, and an encoding as long;
/// at most `most` away from zero. Zero stays zero.
pub(super) fn integer(n: i128, most: u128, random: &mut dyn FnMut() -> u64) -> i128 {
    let size = n.unsigned_abs();
    if size == 0 {
        return n;
    }
    let unit = 10_u128.pow(size.ilog10());
    let (mut low, mut high) = match unit {
        1 => (1, 9),
        unit => (size / unit * unit, size / unit * unit + unit - 1),
    };
    // CBOR holds 0 to 23 in the first byte, then has 1, 2, 4 or 8 more; a negative number is held as its size less 1.
    let shift = u128::from(n < 0);
    let ends = [24, 1 << 8, 1 << 16, 1 << 32, 1 << 64].map(|end: u128| end + shift);
    let class = ends.into_iter().find(|end| size < *end);
    let below_it = ends.into_iter().rev().find(|end| size >= *end);
    low = low.max(below_it.unwrap_or(0));
    high = high.min(class.map_or(u128::MAX, |end| end - 1)).min(most);
    let span = u64::try_from(high.saturating_sub(low)).unwrap_or(u64::MAX - 1);
    let other = low + u128::from(below(span.saturating_add(1), random));
    let other = i128::try_from(other).unwrap_or(n.saturating_abs());
    if n < 0 { -other } else { other }
}
