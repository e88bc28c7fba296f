//! A value under its type, with some of what it is made of changed.

use super::{Strength, digits};
use actum_model::{Value, WitType, value::MAX_DEPTH};
use std::collections::BTreeMap;

/// Of how many words of a text one changes places at most: enough to be another text, little enough to look like one.
const WORDS_PER_SWAP: usize = 8;

/// The most bits changed in bytes that are no text.
const BITS: u64 = 8;

/// A random number below `n`; 0 for none. For `n` far below 2^64 no number is noticeably likelier.
pub(super) fn below(n: u64, random: &mut dyn FnMut() -> u64) -> u64 {
    random().checked_rem(n).unwrap_or(0)
}

/// A random place in something of so many.
fn place(len: usize, random: &mut dyn FnMut() -> u64) -> usize {
    let n = below(u64::try_from(len).unwrap_or(u64::MAX), random);
    usize::try_from(n).unwrap_or(0)
}

/// How far to go, and by what chance.
pub(super) struct Walk<'a> {
    /// How far.
    pub(super) strength: Strength,
    /// Random numbers.
    pub(super) random: &'a mut dyn FnMut() -> u64,
}

impl Walk<'_> {
    /// Another value of the type. One that is not of it stays as it is.
    pub(super) fn value(&mut self, ty: &WitType, value: &Value) -> Value {
        self.at(ty, value, 0)
    }

    fn at(&mut self, ty: &WitType, value: &Value, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return value.clone();
        }
        let strong = self.strength == Strength::Strong;
        match (ty, value) {
            (_, Value::S8(n)) => Value::S8(self.integer(*n)),
            (_, Value::U8(n)) => Value::U8(self.integer(*n)),
            (_, Value::S16(n)) => Value::S16(self.integer(*n)),
            (_, Value::U16(n)) => Value::U16(self.integer(*n)),
            (_, Value::S32(n)) => Value::S32(self.integer(*n)),
            (_, Value::U32(n)) => Value::U32(self.integer(*n)),
            (_, Value::S64(n)) => Value::S64(self.integer(*n)),
            (_, Value::U64(n)) => Value::U64(self.integer(*n)),
            // Written out in decimal, other digits are other numbers of about the same size.
            (_, Value::F32(n)) => Value::F32(self.decimal(*n, f32::is_finite)),
            (_, Value::F64(n)) => Value::F64(self.decimal(*n, f64::is_finite)),
            (_, Value::Bool(is)) => Value::Bool(if strong { self.random_bit() } else { *is }),
            (_, Value::Char(c)) => Value::Char(self.char(*c)),
            (_, Value::String(text)) => Value::String(self.text(text)),
            (_, Value::Bytes(bytes)) => Value::Bytes(self.bytes(bytes)),
            (WitType::List(ty), Value::List(items)) => {
                let mut items: Vec<_> = items.iter().map(|v| self.at(ty, v, depth + 1)).collect();
                if self.strength >= Strength::Words {
                    for n in (1..items.len()).rev() {
                        items.swap(n, place(n + 1, self.random));
                    }
                }
                Value::List(items)
            }
            (WitType::Record(fields), Value::Record(items)) => {
                let types = fields.iter().map(|f| &f.ty);
                Value::Record(self.all(types, items, depth))
            }
            (WitType::Tuple(types), Value::Tuple(items)) => Value::Tuple(self.all(types, items, depth)),
            (WitType::Variant(cases), Value::Variant(case, payload)) => {
                let index = usize::try_from(*case).unwrap_or(usize::MAX);
                let ty = cases.get(index).and_then(|c| c.ty.as_ref());
                Value::Variant(*case, self.boxed(ty, payload.as_deref(), depth))
            }
            (WitType::Enum(names), Value::Enum(case)) if strong => Value::Enum(self.case(names, *case)),
            (WitType::Option(ty), Value::Option(some)) => {
                Value::Option(self.boxed(Some(ty), some.as_deref(), depth))
            }
            (WitType::Result(r), Value::Result(Ok(ok))) => {
                Value::Result(Ok(self.boxed(r.ok.as_deref(), ok.as_deref(), depth)))
            }
            (WitType::Result(r), Value::Result(Err(err))) => {
                Value::Result(Err(self.boxed(r.err.as_deref(), err.as_deref(), depth)))
            }
            (WitType::Flags(names), Value::Flags(bits)) if strong => {
                Value::Flags(self.flags(names.len(), *bits))
            }
            (_, other) => other.clone(),
        }
    }

    fn all<'t>(
        &mut self,
        types: impl IntoIterator<Item = &'t WitType>,
        items: &[Value],
        depth: usize,
    ) -> Vec<Value> {
        let mut types = types.into_iter();
        // An item without a type stays: there are as many as there were.
        items.iter().map(|v| types.next().map_or_else(|| v.clone(), |ty| self.at(ty, v, depth + 1))).collect()
    }

    fn boxed(&mut self, ty: Option<&WitType>, value: Option<&Value>, depth: usize) -> Option<Box<Value>> {
        let value = value?;
        Some(Box::new(ty.map_or_else(|| value.clone(), |ty| self.at(ty, value, depth + 1))))
    }

    fn random_bit(&mut self) -> bool {
        (self.random)() & 1 == 1
    }

    fn integer<N>(&mut self, n: N) -> N
    where
        N: Copy + Into<i128> + TryFrom<i128> + Bounds,
    {
        let wide: i128 = n.into();
        let most = if wide < 0 { N::LEAST } else { N::MOST };
        N::try_from(digits::integer(wide, most.unsigned_abs(), self.random)).unwrap_or(n)
    }

    fn decimal<N>(&mut self, n: N, finite: fn(N) -> bool) -> N
    where
        N: Copy + std::fmt::Display + std::str::FromStr,
    {
        if !finite(n) {
            return n;
        }
        let other = digits::in_text(&n.to_string(), self.random).parse().ok();
        other.filter(|other| finite(*other)).unwrap_or(n)
    }

    fn char(&mut self, c: char) -> char {
        let words = self.strength >= Strength::Words;
        let letter = |first: u8, random: &mut dyn FnMut() -> u64| {
            u8::try_from(below(26, random)).map_or(c, |n| char::from(first + n))
        };
        match c {
            '1'..='9' => digits::digit(1, self.random),
            'a'..='z' if words => letter(b'a', self.random),
            'A'..='Z' if words => letter(b'A', self.random),
            _ => c,
        }
    }

    fn text(&mut self, text: &str) -> String {
        let text = digits::in_text(text, self.random);
        if self.strength >= Strength::Words { self.swap_words(&text) } else { text }
    }

    /// Some words change places with others of as many bytes.
    fn swap_words(&mut self, text: &str) -> String {
        let mut parts = parts(text);
        let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, (word, part)) in parts.iter().enumerate() {
            if *word {
                by_length.entry(part.len()).or_default().push(n);
            }
        }
        by_length.retain(|_, places| places.len() > 1);
        let swappable: usize = by_length.values().map(Vec::len).sum();
        let groups: Vec<_> = by_length.into_values().collect();
        for _ in 0..swappable.div_ceil(WORDS_PER_SWAP) {
            let Some(places) = groups.get(place(groups.len(), self.random)) else { break };
            let (a, b) = (place(places.len(), self.random), place(places.len(), self.random));
            if let (Some(a), Some(b)) = (places.get(a), places.get(b)) {
                parts.swap(*a, *b);
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(bytes).ok();
        let text = text.filter(|t| t.chars().all(|c| !c.is_control() || c.is_ascii_whitespace()));
        match (self.strength, text) {
            (Strength::Digits, _) | (Strength::Words, None) => bytes.to_vec(),
            (_, Some(text)) => self.text(text).into_bytes(),
            (Strength::Strong, None) => {
                let mut other = bytes.to_vec();
                for _ in 0..1 + below(BITS, self.random) {
                    let (at, bit) = (place(other.len(), self.random), below(8, self.random));
                    if let Some(byte) = other.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
                other
            }
        }
    }

    /// Any case whose name is as long: names are what is encoded.
    fn case(&mut self, names: &[String], case: u32) -> u32 {
        let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let Some(name) = names.get(index(case)) else { return case };
        let alike: Vec<_> =
            (0..).zip(names).filter(|(_, other)| other.len() == name.len()).map(|(n, _)| n).collect();
        alike.get(place(alike.len(), self.random)).copied().unwrap_or(case)
    }

    /// Other flags, where their encoding is as long.
    fn flags(&mut self, flags: usize, bits: u32) -> u32 {
        let all = u32::try_from(flags).ok().and_then(|n| 1_u64.checked_shl(n)).unwrap_or(1) - 1;
        let other = u32::try_from((self.random)() & all).unwrap_or(bits);
        let width = |bits: u32| match bits {
            0..=23 => 0,
            24..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        if width(other) == width(bits) { other } else { bits }
    }
}

/// A text as its words (`true`) and what is between them.
fn parts(text: &str) -> Vec<(bool, &str)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = first.is_alphabetic();
        let end = rest.find(|c: char| c.is_alphabetic() != word).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push((word, part));
        rest = after;
    }
    parts
}

/// How far from zero an integer type reaches.
trait Bounds {
    /// The least of it.
    const LEAST: i128;
    /// The most of it.
    const MOST: i128;
}

macro_rules! bounds {
    ($($ty:ty),*) => {$(
        impl Bounds for $ty {
            const LEAST: i128 = <$ty>::MIN as i128;
            const MOST: i128 = <$ty>::MAX as i128;
        }
    )*};
}

bounds!(i8, u8, i16, u16, i32, u32, i64, u64);
