//! The journal as a person reads it: each entry in one line of words. For eyes only: nothing reads it back.
//!
//! | encoded | in words |
//! |---|---|
//! | text | `"text"` |
//! | bytes that are text | `b"text"` |
//! | other bytes | `h"00ff"`, in hexadecimal |
//! | a body beside the journal | its bytes as above; its id where it is not at hand |
//! | everything else | as JSON |
//!
//! What is cut off ends in `…`, with how much there is of it.

use crate::{Bodies, Journal, JournalEntry, Permission, Withdrawal};
use cid::{Cid, serde::BytesToCidVisitor};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt::{self, Write as _};

/// The cases of an error by which a host says that no permission covers what was asked.
const DENIALS: [&str; 3] = ["http-request-denied", "access-denied", "denied"];

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// Bytes of one text, or of one run of bytes.
    pub value_bytes: usize,
    /// Bytes of a question or an answer in words, about.
    pub side_bytes: usize,
}

impl Width {
    /// For an entry that is looked at by itself.
    pub const FULL: Self = Self { value_bytes: 240, side_bytes: 1_200 };
    /// For an entry in a list.
    pub const SHORT: Self = Self { value_bytes: 40, side_bytes: 120 };
}

/// One entry of a journal, in words. What strangers said stands in it: no terminal should obey it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The imported function.
    pub function: String,
    /// What the guest asked.
    pub asked: String,
    /// What it was told.
    pub told: String,
    /// Whether that was a denial: no permission covers what was asked.
    pub denied: bool,
    /// How the authority to run had ended, where it had: it was told nothing, and ended.
    pub withdrawn: Option<Withdrawal>,
}

impl Explained {
    /// An entry in words, with the bodies that are at hand.
    pub fn of(entry: &JournalEntry, bodies: &Bodies, width: Width) -> Self {
        let mut function = entry.function.clone();
        if function.len() > width.side_bytes {
            function.truncate(function.floor_char_boundary(width.side_bytes));
            function.push('…');
        }
        Self {
            function,
            // A block is asked for by the id of its bytes: what is shown is the question, not the answer.
            asked: match entry.permission() {
                Some(Permission::Files) => text(&entry.asked, &Bodies::new(), width),
                _ => text(&entry.asked, bodies, width),
            },
            told: match entry.withdrawn() {
                Some(why) => withdrawn(why),
                None => text(&entry.told, bodies, width),
            },
            denied: is_denial(&entry.told),
            withdrawn: entry.withdrawn(),
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, asked, told, denied, withdrawn } = self;
        let told_word = if withdrawn.is_some() { "" } else { "told " };
        write!(f, "{function}  asked {asked}  {told_word}{told}{}", if *denied { "  denied" } else { "" })
    }
}

fn withdrawn(why: Withdrawal) -> String {
    let how = match why {
        Withdrawal::Revoked => "was revoked",
        Withdrawal::Expired => "expired",
    };
    format!("withdrawn: the authority to run {how} before this; nothing was done")
}

/// Something a guest asked for and was refused, because no permission covered it or the authority to run had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which entry of the journal, counted from 1.
    pub entry: usize,
    /// The imported function.
    pub function: String,
    /// What the guest asked.
    pub asked: String,
    /// What it was told, or how the authority ended.
    pub why: String,
}

/// What was refused in a journal, in its order, in words.
pub fn refused<'a>(
    journal: &'a Journal,
    bodies: &'a Bodies,
    width: Width,
) -> impl Iterator<Item = Refused> + 'a {
    let entries = journal.entries.iter().enumerate();
    let entries = entries.filter(|(_, entry)| entry.withdrawn().is_some() || is_denial(&entry.told));
    entries.map(move |(n, entry)| {
        let Explained { function, asked, told: why, .. } = Explained::of(entry, bodies, width);
        Refused { entry: n + 1, function, asked, why }
    })
}

/// A question or an answer in words, with the bodies that are at hand.
pub fn text(encoded: &[u8], bodies: &Bodies, width: Width) -> String {
    let mut writer = Writer { out: String::new(), bodies, width };
    let mut input = serde_ipld_dagcbor::de::Deserializer::from_slice(encoded);
    let read = (&mut writer).deserialize(&mut input).and_then(|_| input.end());
    if read.is_err() {
        writer.out.clear();
        writer.out.push_str("not DAG-CBOR: ");
        writer.bytes(encoded);
    }
    writer.out
}

/// Whether an answer says that no permission covers what was asked.
pub fn is_denial(told: &[u8]) -> bool {
    let mut input = serde_ipld_dagcbor::de::Deserializer::from_slice(told);
    matches!(Result::<IgnoredAny, Case>::deserialize(&mut input), Ok(Err(Case(true))))
}

/// Whether the case of a variant is one of [`DENIALS`].
struct Case(bool);

impl<'de> Deserialize<'de> for Case {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Case;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the case of a variant")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Case, E> {
                Ok(Case(DENIALS.contains(&name)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Case, A::Error> {
                let mut denial = false;
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    denial |= DENIALS.contains(&name.as_str());
                }
                Ok(Case(denial))
            }
        }
        input.deserialize_any(Name)
    }
}

/// Writes words while it reads, so that a hostile journal takes no more memory than its words.
struct Writer<'a> {
    out: String,
    bodies: &'a Bodies,
    width: Width,
}

/// What was written, as far as it matters to what stands around it.
#[derive(PartialEq, Eq)]
enum Kind {
    Bytes,
    Other,
}

impl Writer<'_> {
    fn full(&self) -> bool {
        self.out.len() >= self.width.side_bytes
    }

    fn push(&mut self, text: impl fmt::Display) {
        // Writing to a string does not fail.
        let _ = write!(self.out, "{text}");
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c.is_control() => self.push(c.escape_unicode()),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn cut(&mut self, shown: usize, all: usize) {
        if shown < all {
            self.push(format_args!("… ({all} bytes)"));
        }
    }

    fn string(&mut self, text: &str) {
        let shown = text.get(..text.floor_char_boundary(self.width.value_bytes)).unwrap_or(text);
        self.quoted(shown);
        self.cut(shown.len(), text.len());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let shown = bytes.get(..self.width.value_bytes).unwrap_or(bytes);
        let text = match str::from_utf8(shown) {
            Ok(text) => Some(text),
            // A character in which it was cut.
            Err(e) if e.error_len().is_none() && shown.len() < bytes.len() => {
                shown.get(..e.valid_up_to()).and_then(|whole| str::from_utf8(whole).ok())
            }
            Err(_) => None,
        };
        let plain =
            |text: &&str| !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        match text.filter(plain) {
            Some(text) => {
                self.out.push('b');
                self.quoted(text);
                self.cut(text.len(), bytes.len());
            }
            None => {
                let shown = shown.get(..self.width.value_bytes / 2).unwrap_or(shown);
                self.push(format_args!("h\"{}\"", data_encoding::HEXLOWER.encode(shown)));
                self.cut(shown.len(), bytes.len());
            }
        }
    }

    fn link(&mut self, cid: &Cid) {
        match crate::BlobId::try_from(*cid).ok().and_then(|id| self.bodies.get(&id)) {
            Some(body) => self.bytes(body),
            None => self.push(cid),
        }
    }

    fn rest(&mut self, before: bool, more: usize) {
        if more > 0 {
            self.push(format_args!("{}… ({more} more)", if before { ", " } else { "" }));
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Writer<'_> {
    type Value = Kind;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Kind, D::Error> {
        input.deserialize_any(self)
    }
}

macro_rules! visit_scalars {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E: de::Error>(self, value: $type) -> Result<Kind, E> {
            self.push(value);
            Ok(Kind::Other)
        }
    )*};
}

impl<'de> Visitor<'de> for &mut Writer<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of DAG-CBOR")
    }

    visit_scalars!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_i128: i128, visit_f64: f64);

    fn visit_none<E: de::Error>(self) -> Result<Kind, E> {
        self.push("null");
        Ok(Kind::Other)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Kind, E> {
        self.string(text);
        Ok(Kind::Other)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Kind, E> {
        self.bytes(bytes);
        Ok(Kind::Bytes)
    }

    /// A link: the one thing that comes so.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, input: D) -> Result<Kind, D::Error> {
        let cid = input.deserialize_bytes(BytesToCidVisitor)?;
        self.link(&cid);
        Ok(Kind::Bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        self.out.push('[');
        let mut written = false;
        while !self.full() {
            let before = self.out.len();
            if written {
                self.out.push_str(", ");
            }
            if seq.next_element_seed(&mut *self)?.is_none() {
                self.out.truncate(before);
                break;
            }
            written = true;
        }
        let mut more = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            more += 1;
        }
        self.rest(written, more);
        self.out.push(']');
        Ok(Kind::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let alone = map.size_hint() == Some(1);
        let start = self.out.len();
        self.out.push('{');
        let mut written = false;
        while !self.full() {
            let Some(key) = map.next_key::<String>()? else { break };
            if written {
                self.out.push_str(", ");
            }
            self.string(&key);
            self.out.push_str(": ");
            let value = self.out.len();
            let kind = map.next_value_seed(&mut *self)?;
            // Bytes or their id, as entries write large and small ones: the bytes say it all.
            if alone && kind == Kind::Bytes && ["bytes", "id"].contains(&key.as_str()) {
                self.out.replace_range(start..value, "");
                return Ok(Kind::Bytes);
            }
            written = true;
        }
        let mut more = 0;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            more += 1;
        }
        self.rest(written, more);
        self.out.push('}');
        Ok(Kind::Other)
    }
}
