//! Random choices from one number: the same seed gives the same case for ever.

use actum_model::types::Field;
use actum_model::{Limits, Value, WitType};

/// SplitMix64: every seed is a good one.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.u64() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number whose magnitude is as likely to be small as large: up to `bits` bits.
    pub fn scaled(&mut self, bits: u32) -> u64 {
        let bits = u32::try_from(self.below(usize::try_from(bits).unwrap() + 1)).unwrap();
        self.u64().checked_shr(64 - bits).unwrap_or(0)
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.u64().to_le_bytes()[0]).collect()
    }

    pub fn seed(&mut self) -> [u8; 32] {
        self.bytes(32).try_into().unwrap()
    }

    /// Limits around what small guests need: each of them is reached now and then.
    pub fn limits(&mut self) -> Limits {
        Limits {
            fuel: if self.one_in(3) { self.scaled(21) } else { 2_000_000 },
            memory_bytes: if self.one_in(5) { self.scaled(23) } else { 32 << 20 },
            table_elements: if self.one_in(6) { self.scaled(11) } else { 10_000 },
            instances: if self.one_in(12) { self.scaled(4) } else { 64 },
            output_bytes: if self.one_in(4) { self.scaled(12) } else { 1 << 20 },
            stdio_bytes: if self.one_in(3) { self.scaled(10) } else { 1 << 16 },
            journal_bytes: self.scaled(20),
        }
    }

    fn text(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a",
            "b",
            " ",
            "\n",
            "0",
            "42",
            "-1",
            "1.5",
            ",",
            ";",
            "\"",
            "'",
            "{",
            "}",
            "[",
            "]",
            ":",
            "\\",
            "*",
            "#",
            "|",
            "(",
            ")",
            "é",
            "ß",
            "日本",
            "🦀",
            "\u{0}",
            "\u{feff}",
            "e\u{301}",
            "word",
            "null",
            "true",
            "$.",
            ".*",
            "\\d+",
            "<p>",
            "**",
            "\t",
            "\r\n",
            "name,age\n",
            "https://example.org",
        ];
        let pieces = usize::try_from(self.scaled(6)).unwrap();
        (0..pieces).map(|_| *self.pick(PIECES)).collect()
    }

    /// A number that is often one of the odd ones.
    fn odd(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => self.scaled(8),
            _ => self.u64(),
        }
    }

    fn f64(&mut self) -> f64 {
        const ODD: &[f64] = &[
            0.0,
            -0.0,
            1.0,
            -1.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            f64::EPSILON,
            f64::MAX,
            4_294_967_296.0,
            0.1,
        ];
        if self.one_in(2) { *self.pick(ODD) } else { f64::from_bits(self.u64()) }
    }

    /// A value of a type.
    pub fn value(&mut self, ty: &WitType) -> Value {
        #![allow(clippy::cast_possible_truncation, reason = "any bits are good")]
        let some = |draw: &mut Self, ty: &Option<Box<WitType>>| ty.as_ref().map(|t| Box::new(draw.value(t)));
        match ty {
            WitType::Bool => Value::Bool(self.one_in(2)),
            WitType::S8 => Value::S8(self.odd() as i8),
            WitType::U8 => Value::U8(self.odd() as u8),
            WitType::S16 => Value::S16(self.odd() as i16),
            WitType::U16 => Value::U16(self.odd() as u16),
            WitType::S32 => Value::S32(self.odd() as i32),
            WitType::U32 => Value::U32(self.odd() as u32),
            WitType::S64 => Value::S64(self.odd() as i64),
            WitType::U64 => Value::U64(self.odd()),
            WitType::F32 => Value::F32(self.f64() as f32),
            WitType::F64 => Value::F64(self.f64()),
            WitType::Char => Value::Char(self.text().chars().next().unwrap_or('x')),
            WitType::String => Value::String(self.text()),
            WitType::List(t) if **t == WitType::U8 => {
                let len = usize::try_from(self.scaled(10)).unwrap();
                Value::Bytes(self.bytes(len))
            }
            WitType::List(t) => {
                let len = usize::try_from(self.scaled(4)).unwrap();
                Value::List((0..len).map(|_| self.value(t)).collect())
            }
            WitType::Record(fields) => {
                Value::Record(fields.iter().map(|Field { ty, .. }| self.value(ty)).collect())
            }
            WitType::Tuple(types) => Value::Tuple(types.iter().map(|t| self.value(t)).collect()),
            WitType::Variant(cases) => {
                let case = self.below(cases.len());
                let payload = cases[case].ty.as_ref().map(|t| Box::new(self.value(t)));
                Value::Variant(case.try_into().unwrap(), payload)
            }
            WitType::Enum(cases) => Value::Enum(self.below(cases.len()).try_into().unwrap()),
            WitType::Option(t) => {
                Value::Option(if self.one_in(3) { None } else { Some(Box::new(self.value(t))) })
            }
            WitType::Result(t) => {
                Value::Result(if self.one_in(2) { Ok(some(self, &t.ok)) } else { Err(some(self, &t.err)) })
            }
            WitType::Flags(names) => {
                let all = (1_u64 << names.len()) - 1;
                Value::Flags((self.u64() & all) as u32)
            }
        }
    }

    /// A value like this one: most of it kept, some of it drawn anew.
    pub fn near(&mut self, ty: &WitType, value: &Value) -> Value {
        if self.one_in(6) {
            return self.value(ty);
        }
        match (ty, value) {
            (WitType::String, Value::String(text)) => {
                let cut = text.floor_char_boundary(self.below(text.len() + 1));
                Value::String(match self.below(4) {
                    0 => text[..cut].to_owned() + &self.text() + &text[cut..],
                    1 => text[cut..].to_owned(),
                    2 => text.repeat(1 + self.below(20)),
                    _ => text.clone(),
                })
            }
            (WitType::List(_), Value::Bytes(bytes)) if !bytes.is_empty() => {
                let mut bytes = bytes.clone();
                for _ in 0..self.below(4) {
                    let at = self.below(bytes.len());
                    bytes[at] = self.bytes(1)[0];
                }
                Value::Bytes(bytes)
            }
            (WitType::List(t), Value::List(items)) => {
                Value::List(items.iter().map(|v| self.near(t, v)).collect())
            }
            (WitType::Record(fields), Value::Record(values)) => {
                Value::Record(fields.iter().zip(values).map(|(f, v)| self.near(&f.ty, v)).collect())
            }
            (WitType::Tuple(types), Value::Tuple(values)) => {
                Value::Tuple(types.iter().zip(values).map(|(t, v)| self.near(t, v)).collect())
            }
            (WitType::Option(t), Value::Option(Some(v))) => Value::Option(Some(Box::new(self.near(t, v)))),
            (WitType::Variant(cases), Value::Variant(case, Some(v))) => {
                match cases.get(usize::try_from(*case).unwrap()).and_then(|c| c.ty.as_ref()) {
                    Some(t) => Value::Variant(*case, Some(Box::new(self.near(t, v)))),
                    None => value.clone(),
                }
            }
            _ => value.clone(),
        }
    }
}
