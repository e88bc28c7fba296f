//! From bytes to values. Strict: each step accepts only what the encoder writes, and nothing is allocated for elements
//! whose bytes are not there.

use super::encode::{ARRAY, BYTES, FALSE, FLOAT64, MAP, NEGATIVE, NULL, TEXT, TRUE, UNSIGNED};
use super::{MAX_VALUES, Value, ValueError, mismatch, spend};
use crate::{
    Param, WitType,
    path::{Path, excerpt},
};

pub(super) fn params(
    params: &[Param],
    bytes: &[u8],
    limit: usize,
    most: usize,
) -> Result<Vec<Value>, ValueError> {
    let root = Path::root("arguments");
    let mut reader = Reader::new(bytes, limit)?;
    reader.left = reader.left.min(most);
    let found = match reader.head(&root)? {
        (ARRAY, n) => n,
        (major, n) => {
            return Err(ValueError::Mismatch {
                path: root.to_string(),
                expected: format!("an array of {}", params.len()),
                found: words(major, n),
            });
        }
    };
    if found != params.len() as u64 {
        return Err(ValueError::Count {
            expected: params.len(),
            found: usize::try_from(found).unwrap_or(usize::MAX),
        });
    }
    let values = params.iter().map(|p| reader.take(&p.ty, &Path::root(&p.name))).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(values)
}

pub(super) fn result(ty: Option<&WitType>, bytes: &[u8], limit: usize) -> Result<Option<Value>, ValueError> {
    let root = Path::root("result");
    let mut reader = Reader::new(bytes, limit)?;
    let value = match ty {
        Some(ty) => Some(reader.take(ty, &root)?),
        None if reader.null() => None,
        None => {
            return Err(ValueError::Mismatch {
                path: root.to_string(),
                expected: "null, as there is no result".to_owned(),
                found: reader.found(&root),
            });
        }
    };
    reader.end()?;
    Ok(value)
}

/// The head of a CBOR item in words.
fn words(major: u8, n: u64) -> String {
    match major {
        UNSIGNED => format!("integer {n}"),
        NEGATIVE => format!("integer {}", -1 - i128::from(n)),
        BYTES => format!("a byte string of {n}"),
        TEXT => format!("a text of {n} bytes"),
        ARRAY => format!("an array of {n}"),
        MAP => format!("a map of {n}"),
        6 => format!("tag {n}"),
        _ => match n {
            20 => "false".to_owned(),
            21 => "true".to_owned(),
            22 => "null".to_owned(),
            _ => "a float or simple value".to_owned(),
        },
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], limit: usize) -> Result<Self, ValueError> {
        if bytes.len() > limit {
            return Err(ValueError::TooLarge { actual: bytes.len(), limit });
        }
        Ok(Self { rest: bytes, left: MAX_VALUES })
    }

    fn end(&self) -> Result<(), ValueError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(ValueError::Trailing { bytes }),
        }
    }

    /// The next `n` bytes.
    fn bytes(&mut self, n: u64, path: &Path<'_>) -> Result<&'a [u8], ValueError> {
        let split = usize::try_from(n).ok().and_then(|n| self.rest.split_at_checked(n));
        let (taken, rest) = split.ok_or_else(|| ValueError::CutShort { path: path.to_string() })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Steps over null, if it is next.
    fn null(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&NULL, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// A major type and its argument, which must be in its shortest form.
    fn head(&mut self, path: &Path<'_>) -> Result<(u8, u64), ValueError> {
        let first = self.bytes(1, path)?.first().copied().unwrap_or_default();
        let (major, info) = (first >> 5, first & 0x1f);
        let not_canonical = |what| ValueError::NotCanonical { path: path.to_string(), what };
        let size = match info {
            0..=23 => return Ok((major, u64::from(info))),
            // Of the simple values and floats only those that fit above are heads; a float is read by its own rule.
            24..=27 if major == 7 => return Ok((major, u64::MAX)),
            24..=27 => 1_u64 << (info - 24),
            31 => return Err(not_canonical("an indefinite length")),
            _ => return Err(not_canonical("a reserved head")),
        };
        let n = self.bytes(size, path)?.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        let least = match size {
            1 => 24,
            2 => 0x100,
            4 => 0x1_0000,
            _ => 0x1_0000_0000,
        };
        if n < least {
            return Err(not_canonical("a number or length in more bytes than it needs"));
        }
        Ok((major, n))
    }

    /// What is next, in words, for an error.
    fn found(&self, path: &Path<'_>) -> String {
        let mut ahead = Reader { rest: self.rest, left: 0 };
        match ahead.head(path) {
            Ok((TEXT, n)) => match ahead.bytes(n, path).map(str::from_utf8) {
                Ok(Ok(text)) => format!("text {:?}", excerpt(text, 40)),
                _ => words(TEXT, n),
            },
            Ok((major, n)) => words(major, n),
            Err(_) if self.rest.is_empty() => "the end of the bytes".to_owned(),
            Err(_) => "bytes that are not DAG-CBOR".to_owned(),
        }
    }

    /// The argument of the next item, which must be of this major type; otherwise nothing is consumed.
    fn expect(&mut self, wanted: u8, ty: &WitType, path: &Path<'_>) -> Result<u64, ValueError> {
        let before = self.rest;
        let (major, n) = self.head(path)?;
        if major == wanted {
            return Ok(n);
        }
        self.rest = before;
        Err(mismatch(path, ty, self.found(path)))
    }

    fn text(&mut self, ty: &WitType, path: &Path<'_>) -> Result<&'a str, ValueError> {
        let n = self.expect(TEXT, ty, path)?;
        str::from_utf8(self.bytes(n, path)?).map_err(|_| mismatch(path, ty, "text that is not UTF-8"))
    }

    /// An array's length, each element of which has at least one byte still to come.
    fn array(&mut self, ty: &WitType, path: &Path<'_>) -> Result<usize, ValueError> {
        let n = self.expect(ARRAY, ty, path)?;
        let n = usize::try_from(n).ok().filter(|n| *n <= self.rest.len());
        n.ok_or_else(|| ValueError::CutShort { path: path.to_string() })
    }

    /// An array that must be of this length.
    fn array_of(&mut self, len: usize, ty: &WitType, path: &Path<'_>) -> Result<(), ValueError> {
        let n = self.expect(ARRAY, ty, path)?;
        if n == len as u64 { Ok(()) } else { Err(mismatch(path, ty, words(ARRAY, n))) }
    }

    /// The head of a map of one entry.
    fn single_entry(&mut self, ty: &WitType, path: &Path<'_>) -> Result<(), ValueError> {
        match self.expect(MAP, ty, path)? {
            1 => Ok(()),
            n => Err(mismatch(path, ty, words(MAP, n))),
        }
    }

    fn is_next(&self, major: u8) -> bool {
        self.rest.first().is_some_and(|b| b >> 5 == major)
    }

    fn unsigned<T: TryFrom<u64>>(&mut self, ty: &WitType, path: &Path<'_>) -> Result<T, ValueError> {
        let n = self.expect(UNSIGNED, ty, path)?;
        T::try_from(n).map_err(|_| mismatch(path, ty, words(UNSIGNED, n)))
    }

    fn signed<T: TryFrom<i64>>(&mut self, ty: &WitType, path: &Path<'_>) -> Result<T, ValueError> {
        let (major, n) = if self.is_next(NEGATIVE) {
            (NEGATIVE, self.expect(NEGATIVE, ty, path)?)
        } else {
            (UNSIGNED, self.expect(UNSIGNED, ty, path)?)
        };
        let value = i64::try_from(n).ok().map(|n| if major == NEGATIVE { !n } else { n });
        value.and_then(|v| T::try_from(v).ok()).ok_or_else(|| mismatch(path, ty, words(major, n)))
    }

    fn float(&mut self, ty: &WitType, path: &Path<'_>) -> Result<f64, ValueError> {
        if self.is_next(TEXT) {
            return match self.text(ty, path)? {
                "nan" => Ok(f64::NAN),
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                "-0" => Ok(-0.0),
                other => Err(mismatch(path, ty, format!("text {:?}", excerpt(other, 40)))),
            };
        }
        if self.rest.first() != Some(&FLOAT64) {
            return Err(mismatch(path, ty, self.found(path)));
        }
        let bits = self.bytes(9, path)?.iter().skip(1).fold(0, |n, b| n << 8 | u64::from(*b));
        let v = f64::from_bits(bits);
        if !v.is_finite() || (v == 0.0 && v.is_sign_negative()) {
            return Err(ValueError::NotCanonical {
                path: path.to_string(),
                what: "a float that DAG-CBOR does not have, in place of its word",
            });
        }
        Ok(v)
    }

    /// Reads one value of a type.
    fn take(&mut self, ty: &WitType, path: &Path<'_>) -> Result<Value, ValueError> {
        spend(&mut self.left, path)?;
        Ok(match ty {
            WitType::Bool => match self.rest.split_first() {
                Some((&byte @ (TRUE | FALSE), rest)) => {
                    self.rest = rest;
                    Value::Bool(byte == TRUE)
                }
                _ => return Err(mismatch(path, ty, self.found(path))),
            },
            WitType::S8 => Value::S8(self.signed(ty, path)?),
            WitType::S16 => Value::S16(self.signed(ty, path)?),
            WitType::S32 => Value::S32(self.signed(ty, path)?),
            WitType::S64 => Value::S64(self.signed(ty, path)?),
            WitType::U8 => Value::U8(self.unsigned(ty, path)?),
            WitType::U16 => Value::U16(self.unsigned(ty, path)?),
            WitType::U32 => Value::U32(self.unsigned(ty, path)?),
            WitType::U64 => Value::U64(self.unsigned(ty, path)?),
            WitType::F64 => Value::F64(self.float(ty, path)?),
            WitType::F32 => {
                let wide = self.float(ty, path)?;
                let v = wide as f32;
                if !wide.is_nan() && f64::from(v) != wide {
                    return Err(mismatch(path, ty, format!("{wide}, which no f32 is")));
                }
                Value::F32(v)
            }
            WitType::Char => {
                let text = self.text(ty, path)?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => Value::Char(c),
                    _ => return Err(mismatch(path, ty, format!("text {:?}", excerpt(text, 40)))),
                }
            }
            WitType::String => Value::String(self.text(ty, path)?.to_owned()),
            WitType::List(_) if ty.is_bytes() => {
                let n = self.expect(BYTES, ty, path)?;
                Value::Bytes(self.bytes(n, path)?.to_vec())
            }
            WitType::List(element) => {
                let n = self.array(ty, path)?;
                // Grows as elements are read: what is announced costs nothing before it is there.
                let mut items = Vec::new();
                for i in 0..n {
                    items.push(self.take(element, &path.index(i))?);
                }
                Value::List(items)
            }
            WitType::Record(fields) => {
                self.array_of(fields.len(), ty, path)?;
                let take = |f: &crate::types::Field| self.take(&f.ty, &path.field(&f.name));
                Value::Record(fields.iter().map(take).collect::<Result<_, _>>()?)
            }
            WitType::Tuple(types) => {
                self.array_of(types.len(), ty, path)?;
                let take = |(i, t)| self.take(t, &path.index(i));
                Value::Tuple(types.iter().enumerate().map(take).collect::<Result<_, _>>()?)
            }
            WitType::Variant(cases) => {
                let with_payload = self.is_next(MAP);
                if with_payload {
                    self.single_entry(ty, path)?;
                }
                let name = self.text(ty, path)?;
                let case =
                    (0..).zip(cases).find(|(_, case)| case.name == name && case.ty.is_some() == with_payload);
                match case {
                    Some((index, case)) => {
                        let payload = match &case.ty {
                            Some(ty) => Some(Box::new(self.take(ty, &path.field(&case.name))?)),
                            None => None,
                        };
                        Value::Variant(index, payload)
                    }
                    None => {
                        let with = if with_payload { "with" } else { "without" };
                        let name = excerpt(name, 40);
                        return Err(mismatch(path, ty, format!("case {name:?} {with} a payload")));
                    }
                }
            }
            WitType::Enum(cases) => {
                let name = self.text(ty, path)?;
                match (0..).zip(cases).find(|(_, case)| *case == name) {
                    Some((index, _)) => Value::Enum(index),
                    None => return Err(mismatch(path, ty, format!("text {:?}", excerpt(name, 40)))),
                }
            }
            WitType::Option(_) if self.null() => Value::Option(None),
            WitType::Option(payload) => {
                if matches!(**payload, WitType::Option(_)) {
                    self.array_of(1, ty, path)?;
                }
                Value::Option(Some(Box::new(self.take(payload, &path.inside())?)))
            }
            WitType::Result(sides) => {
                self.single_entry(ty, path)?;
                let name = self.text(ty, path)?;
                let side = match name {
                    "ok" => &sides.ok,
                    "err" => &sides.err,
                    other => return Err(mismatch(path, ty, format!("case {:?}", excerpt(other, 40)))),
                };
                let payload = match side {
                    Some(ty) => Some(Box::new(self.take(ty, &path.field(name))?)),
                    None if self.null() => None,
                    None => {
                        return Err(mismatch(path, ty, format!("{name} with {}", self.found(path))));
                    }
                };
                Value::Result(if name == "ok" { Ok(payload) } else { Err(payload) })
            }
            WitType::Flags(names) => {
                let n = self.expect(UNSIGNED, ty, path)?;
                let bits = u32::try_from(n).ok().filter(|_| super::flags_fit(names.len(), n));
                Value::Flags(bits.ok_or_else(|| mismatch(path, ty, words(UNSIGNED, n)))?)
            }
        })
    }
}
