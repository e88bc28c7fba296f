//! Finding what means the same, with a tiny model made here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "../../discovery/tests/common/mod.rs"]
mod common;

use actum_discovery::Why;
use actum_model::*;
use actum_registry::*;
use common::*;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;
use std::{collections::HashMap, fs, path::Path, sync::Arc};
use tempfile::TempDir;

/// Words and where they point. `feline` and `kitten` share no letter with `moggy` but a direction.
const WORDS: [(&str, [f32; 4]); 9] = [
    ("[UNK]", [9.0, 9.0, 9.0, 9.0]),
    ("draw", [0.1, 1.0, 0.0, 0.0]),
    ("moggy", [1.0, 0.0, 0.0, 0.1]),
    ("cafe", [0.0, 0.0, -1.0, 0.0]),
    ("kitt", [0.7, 0.0, 0.1, 0.0]),
    ("##en", [0.7, 0.0, 0.0, 0.1]),
    ("count", [0.0, 0.0, 1.0, 0.0]),
    ("bill", [0.0, 0.0, 0.2, 1.0]),
    ("invoice", [0.0, 0.1, 0.2, 1.0]),
];

fn tokenizer(kind: &str) -> serde_json::Value {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(n, (word, _))| ((*word).to_owned(), json!(n))).collect();
    json!({
        "normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": kind, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

/// A half of a number that has few bits.
fn half(number: f32) -> [u8; 2] {
    let bits = number.to_bits();
    if number == 0.0 {
        return [0, 0];
    }
    let exponent = (bits >> 23 & 0xff) as i32 - 112;
    ((bits >> 16 & 0x8000) as u16 | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16).to_le_bytes()
}

fn write_model(dir: &Path, dtype: Dtype) {
    let parts = WORDS.iter().flat_map(|(_, vector)| vector);
    let bytes: Vec<u8> = match dtype {
        Dtype::F16 => parts.flat_map(|part| half(*part)).collect(),
        _ => parts.flat_map(|part| part.to_le_bytes()).collect(),
    };
    let view = TensorView::new(dtype, vec![WORDS.len(), 4], &bytes).unwrap();
    let tensors = HashMap::from([("embeddings".to_owned(), view)]);
    fs::write(dir.join("model.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    fs::write(dir.join("tokenizer.json"), tokenizer("WordPiece").to_string()).unwrap();
    fs::write(dir.join("config.json"), json!({"normalize": true}).to_string()).unwrap();
}

fn model(dir: &Path) -> Arc<dyn Embedder> {
    write_model(dir, Dtype::F32);
    Arc::new(StaticModel::load(dir).unwrap())
}

#[test]
fn a_word_is_the_mean_of_its_pieces_whatever_its_case_and_accents() {
    for dtype in [Dtype::F32, Dtype::F16] {
        let dir = TempDir::new().unwrap();
        write_model(dir.path(), dtype);
        let model = StaticModel::load(dir.path()).unwrap();
        assert_eq!(model.dimensions(), 4);
        let cosine =
            |a: &str, b: &str| model.embed(a).iter().zip(model.embed(b)).map(|(a, b)| a * b).sum::<f32>();
        assert!(cosine("Kitten", "MOGGY!") > 0.95, "{}", cosine("Kitten", "MOGGY!"));
        assert!(cosine("moggy", "count").abs() < 0.1);
        assert!(cosine("Café", "cafe") > 0.999);
        assert!(cosine("kitten unspellable", "kitten") > 0.999);
        assert_eq!(model.embed("unspellable"), [0.0; 4]);
        assert_eq!(model.embed(""), [0.0; 4]);
    }
}

#[test]
fn what_shares_no_word_but_a_meaning_is_found_and_orders_what_does() {
    let (dir, models) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let embedder = model(models.path());
    let open = |embedder| Registry::open_with(dir.path(), RegistryLimits::default(), embedder, NOW).unwrap();
    let describe = |provider, name: &str, intent: &str| {
        offer(provider, Descriptor { intent: intent.to_owned(), ..plain(provider, name) })
    };
    let search = |registry: &Registry, text: &str| {
        let found = registry.search(&query(text), NOW).unwrap();
        found
            .iter()
            .map(|f| {
                let words = match &f.why {
                    Why::Words(words) => words.len(),
                    Why::Meaning => 0,
                    other => panic!("{other:?}"),
                };
                (f.offer.descriptor().payload().name.to_string(), words)
            })
            .collect::<Vec<_>>()
    };
    let named = |name: &str, words| (name.to_owned(), words);
    let without = open(None);
    without.observe_offer(&describe(1, "cats", "Draw a moggy"), NOW).unwrap();
    without.observe_offer(&describe(2, "tally", "Count a bill"), NOW).unwrap();
    without.observe_offer(&describe(3, "sums", "Draw a bill or an invoice"), NOW).unwrap();
    without.commit().unwrap();
    assert_eq!(search(&without, "kitten"), []);
    drop(without);
    // Opened with a model, what is there gets its vectors; opened again, they are read back.
    for _ in 0..2 {
        let with = open(Some(Arc::clone(&embedder)));
        assert_eq!(search(&with, "kitten"), [named("cats", 0)]);
        let both = search(&with, "draw a kitten");
        assert_eq!(both[0], named("cats", 1));
        assert!(both.contains(&named("sums", 1)));
        // Neighbours are held to the constraints too, and to their life.
        let filters = Filters { provider: Some(key(2).did()), ..Filters::default() };
        assert!(with.search(&Query { filters, ..query("kitten") }, NOW).unwrap().is_empty());
        assert!(with.search(&query("kitten"), NOW + 600).unwrap().is_empty());
    }
    let with = open(Some(Arc::clone(&embedder)));
    with.observe_offer(&describe(4, "pets", "Wash a moggy"), NOW).unwrap();
    with.commit().unwrap();
    let mut found = search(&with, "kitten");
    found.sort();
    assert_eq!(found, [named("cats", 0), named("pets", 0)]);
    drop(with);
    assert_eq!(search(&open(None), "kitten"), []);
}

#[test]
fn a_model_of_another_kind_or_malformed() {
    let dir = TempDir::new().unwrap();
    let load = || StaticModel::load(dir.path()).unwrap_err().to_string();
    assert!(load().contains("config.json"));
    let with = |name: &str, bytes: &[u8]| {
        write_model(dir.path(), Dtype::F32);
        fs::write(dir.path().join(name), bytes).unwrap();
        load()
    };
    assert!(with("tokenizer.json", tokenizer("Unigram").to_string().as_bytes()).contains("\"Unigram\""));
    assert!(with("tokenizer.json", b"{").contains("tokenizer.json"));
    let mut more = tokenizer("WordPiece");
    more["model"]["vocab"]["beyond"] = json!(99);
    assert!(with("tokenizer.json", more.to_string().as_bytes()).contains("row 99"));
    more["pre_tokenizer"]["type"] = json!("ByteLevel");
    assert!(with("tokenizer.json", more.to_string().as_bytes()).contains("ByteLevel"));
    assert!(with("model.safetensors", b"no tensors").contains("model.safetensors"));
    let tensor = |dtype, shape: Vec<usize>, bytes: &[u8]| {
        let view = TensorView::new(dtype, shape, bytes).unwrap();
        safetensors::serialize([("embeddings", view)], None).unwrap()
    };
    assert!(with("model.safetensors", &tensor(Dtype::F32, vec![16], &[0; 64])).contains("[16]"));
    assert!(with("model.safetensors", &tensor(Dtype::I32, vec![9, 1], &[0; 36])).contains("I32"));
    assert!(with("model.safetensors", &tensor(Dtype::F32, vec![9, 1], &[0xff; 36])).contains("no number"));
}
