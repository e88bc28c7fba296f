//! A static embedding model from its owner's disk: a table of one vector a token, as model2vec lays it out. No inference: a text
//! is the mean of its tokens' vectors.
//!
//! `model.safetensors` holds one matrix of tokens by dimensions, in f32 or f16 (called `embeddings` where there is more than
//! one tensor); `tokenizer.json` a WordPiece vocabulary as Hugging Face's tokenizers write it; `config.json` a JSON object, which has to
//! be there and whose `normalize: false` is heeded. Of tokenizers this reads WordPiece with BERT's splitting and
//! normalisation, which is what such models in English come with; another kind is refused by name. The crate `tokenizers` reads
//! them all, for 85 crates more.

use crate::{DIMENSIONS, Embedder};
use actum_model::id::sha256;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// The largest `model.safetensors`: 512 MiB.
const MODEL_BYTES: u64 = 512 << 20;
/// The largest of the JSON files: 64 MiB.
const JSON_BYTES: u64 = 64 << 20;
/// The most tokens of a text that count: the first 512.
const TOKENS: usize = 512;
/// The longest word looked up, in characters, where the tokenizer does not say: BERT's own.
const WORD_CHARS: usize = 100;

/// Why a model is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is larger than such a file may be.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// A file is not what its name says.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The tokenizer or the matrix is of a kind that is not read here.
    #[error("{} has {found}; {wanted} is read here", path.display())]
    Unsupported {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it may have.
        wanted: &'static str,
    },
}

/// A table of vectors and the vocabulary that names its rows.
pub struct StaticModel {
    name: String,
    vectors: Vec<f32>,
    dimensions: usize,
    pieces: WordPiece,
    normalise: bool,
}

impl std::fmt::Debug for StaticModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticModel")
            .field("name", &self.name)
            .field("dimensions", &self.dimensions)
            .finish_non_exhaustive()
    }
}

impl StaticModel {
    /// Loads the model in a directory: its three files, and nothing else is looked at.
    ///
    /// # Errors
    /// A file is missing, too large, malformed, or of a kind not read here.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let config = json(&dir.join("config.json"))?;
        let normalise = config.get("normalize").and_then(Value::as_bool).unwrap_or(true);
        let tokenizer = dir.join("tokenizer.json");
        let pieces = WordPiece::read(&json(&tokenizer)?, &tokenizer)?;
        let path = dir.join("model.safetensors");
        let bytes = read(&path, MODEL_BYTES)?;
        let (vectors, dimensions) = matrix(&bytes, &path)?;
        let rows = vectors.len() / dimensions;
        if let Some(id) = pieces.ids.values().max().filter(|id| **id >= rows) {
            let why = format!("the vocabulary names row {id} of {rows}");
            return Err(ModelError::Malformed { path, why });
        }
        let digest = sha256(&bytes);
        let name = format!("static:{}:{normalise}", data_encoding::HEXLOWER.encode(&digest));
        Ok(Self { name, vectors, dimensions, pieces, normalise })
    }

    /// How many dimensions a vector has.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }
}

impl Embedder for StaticModel {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn embed(&self, text: &str) -> Vec<f32> {
        let mut mean = vec![0.0; self.dimensions];
        let ids = self.pieces.ids_of(text);
        for id in &ids {
            let at = id * self.dimensions;
            let row = self.vectors.get(at..at + self.dimensions).unwrap_or_default();
            mean.iter_mut().zip(row).for_each(|(sum, part)| *sum += part);
        }
        let length = mean.iter().map(|part| part * part).sum::<f32>().sqrt();
        let by = if self.normalise { length } else { ids.len() as f32 };
        if by > 0.0 {
            mean.iter_mut().for_each(|part| *part /= by);
        }
        mean
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let io = |source| ModelError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(ModelError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

fn json(path: &Path) -> Result<Value, ModelError> {
    let malformed =
        |e: serde_json::Error| ModelError::Malformed { path: path.to_owned(), why: e.to_string() };
    serde_json::from_slice(&read(path, JSON_BYTES)?).map_err(malformed)
}

/// The matrix, row after row, and the length of a row.
fn matrix(bytes: &[u8], path: &Path) -> Result<(Vec<f32>, usize), ModelError> {
    let malformed = |why: String| ModelError::Malformed { path: path.to_owned(), why };
    let unsupported =
        |found: String, wanted| ModelError::Unsupported { path: path.to_owned(), found, wanted };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| malformed(e.to_string()))?;
    let tensor = match tensors.tensors().as_slice() {
        [(_, tensor)] => tensor.clone(),
        _ => tensors.tensor("embeddings").map_err(|e| malformed(e.to_string()))?,
    };
    let [rows, dimensions] = *tensor.shape() else {
        return Err(unsupported(format!("a tensor of shape {:?}", tensor.shape()), "a matrix"));
    };
    if rows == 0 || !(1..=DIMENSIONS).contains(&dimensions) {
        return Err(unsupported(format!("{rows} rows of {dimensions}"), "1 to 1,024 dimensions"));
    }
    let data = tensor.data();
    let vectors: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|two| half(u16::from_le_bytes(*two))).collect(),
        other => return Err(unsupported(format!("a matrix of {other:?}"), "f32 or f16")),
    };
    if vectors.iter().any(|part| !part.is_finite()) {
        return Err(malformed("the matrix holds what is no number".to_owned()));
    }
    Ok((vectors, dimensions))
}

/// An IEEE half as a float.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15), bits >> 10 & 0x1f, u32::from(bits & 0x3ff));
    match exponent {
        // Below the smallest normal number: the fraction counts 2^-24.
        0 => (if sign == 1 { -1.0 } else { 1.0 }) * fraction as f32 / (1 << 24) as f32,
        0x1f => f32::from_bits(sign << 31 | 0xff << 23 | fraction << 13),
        _ => f32::from_bits(sign << 31 | (u32::from(exponent) + 112) << 23 | fraction << 13),
    }
}

/// BERT's tokenizer: words, then the longest pieces of them that the vocabulary has.
struct WordPiece {
    /// Never iterated but for its largest value.
    ids: HashMap<String, usize>,
    unknown: String,
    prefix: String,
    longest: usize,
    lowercase: bool,
    strip_accents: bool,
}

impl WordPiece {
    fn read(tokenizer: &Value, path: &Path) -> Result<Self, ModelError> {
        let unsupported =
            |found: String, wanted| ModelError::Unsupported { path: path.to_owned(), found, wanted };
        let malformed = |why: &str| ModelError::Malformed { path: path.to_owned(), why: why.to_owned() };
        let kind = |of: &str| tokenizer.get(of).and_then(|v| v.get("type")).and_then(Value::as_str);
        let model = tokenizer.get("model").ok_or_else(|| malformed("it has no model"))?;
        let named = |name: &str, otherwise: &str| {
            model.get(name).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
        };
        // Old files do not name the kind; those are told by their fields.
        let of = kind("model").unwrap_or(if model.get("max_input_chars_per_word").is_some() {
            "WordPiece"
        } else {
            ""
        });
        if of != "WordPiece" {
            return Err(unsupported(format!("a {of:?} model"), "WordPiece"));
        }
        if !matches!(kind("pre_tokenizer"), Some("BertPreTokenizer")) {
            let found = format!("a {:?} pre-tokenizer", kind("pre_tokenizer").unwrap_or("missing"));
            return Err(unsupported(found, "BertPreTokenizer"));
        }
        let normaliser = match kind("normalizer") {
            Some("BertNormalizer") => tokenizer.get("normalizer"),
            None => None,
            Some(other) => return Err(unsupported(format!("a {other:?} normalizer"), "BertNormalizer")),
        };
        let says = |name: &str| normaliser.and_then(|n| n.get(name)).and_then(Value::as_bool);
        let lowercase = normaliser.is_some() && says("lowercase").unwrap_or(true);
        let vocabulary = model.get("vocab").and_then(Value::as_object);
        let vocabulary = vocabulary.ok_or_else(|| malformed("its model has no vocabulary"))?;
        let mut ids = HashMap::with_capacity(vocabulary.len());
        for (piece, id) in vocabulary {
            let id = id.as_u64().and_then(|id| usize::try_from(id).ok());
            ids.insert(piece.clone(), id.ok_or_else(|| malformed("a token's id is no number"))?);
        }
        let longest = model.get("max_input_chars_per_word").and_then(Value::as_u64);
        Ok(Self {
            ids,
            unknown: named("unk_token", "[UNK]"),
            prefix: named("continuing_subword_prefix", "##"),
            longest: longest.and_then(|n| usize::try_from(n).ok()).unwrap_or(WORD_CHARS).min(WORD_CHARS),
            lowercase,
            // As BERT has it: where nothing is said, accents go with capitals.
            strip_accents: normaliser.is_some() && says("strip_accents").unwrap_or(lowercase),
        })
    }

    /// The rows of a text's tokens, at most [`TOKENS`]. Words that the vocabulary cannot spell are left out.
    fn ids_of(&self, text: &str) -> Vec<usize> {
        let mut ids = Vec::new();
        for word in words(&self.normalised(text)) {
            self.spell(word, &mut ids);
            if ids.len() >= TOKENS {
                ids.truncate(TOKENS);
                break;
            }
        }
        ids
    }

    fn normalised(&self, text: &str) -> String {
        let text = if self.lowercase { text.to_lowercase() } else { text.to_owned() };
        match self.strip_accents {
            true => text.nfd().filter(|c| !is_combining_mark(*c)).collect(),
            false => text,
        }
    }

    fn spell(&self, word: &str, ids: &mut Vec<usize>) {
        if word.chars().count() > self.longest {
            return;
        }
        let (before, mut rest, mut piece) = (ids.len(), word, String::new());
        while !rest.is_empty() {
            let ends = rest.char_indices().rev().map(|(at, c)| at + c.len_utf8());
            let longest = ends.into_iter().find_map(|end| {
                piece.clear();
                if rest.len() < word.len() {
                    piece.push_str(&self.prefix);
                }
                let (head, tail) = rest.split_at_checked(end)?;
                piece.push_str(head);
                Some((*self.ids.get(&piece).filter(|_| piece != self.unknown)?, tail))
            });
            let Some((id, tail)) = longest else {
                // A word that cannot be spelt whole is unknown whole.
                return ids.truncate(before);
            };
            ids.push(id);
            rest = tail;
        }
    }
}

/// A text's words: split at spaces, with punctuation and ideographs each a word of its own.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let alone = |c: char| {
        c.is_ascii_punctuation()
            || !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control()
            || matches!(u32::from(c), 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x2_fa1f)
    };
    let spaced = text.split(|c: char| c.is_whitespace() || c.is_control());
    spaced.flat_map(move |word| {
        word.split_inclusive(alone).flat_map(move |part| {
            let last = part.char_indices().next_back().filter(|(_, c)| alone(*c)).map(|(at, _)| at);
            let (word, alone) = part.split_at_checked(last.unwrap_or(part.len())).unwrap_or((part, ""));
            [word, alone].into_iter().filter(|w| !w.is_empty())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_ieee_says() {
        let known = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
        ];
        for (bits, number) in known {
            assert_eq!(half(bits), number);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn words_split_as_berts_do() {
        let split: Vec<_> = words("Don't  stop, 漢字x now!").collect();
        assert_eq!(split, ["Don", "'", "t", "stop", ",", "漢", "字", "x", "now", "!"]);
    }
}
