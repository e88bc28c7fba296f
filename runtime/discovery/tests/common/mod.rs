//! Providers and what they offer.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test binary uses its own share of these"
)]

use actum_discovery::{Conditions, Validity};
use actum_model::{descriptor::Offered, *};
use serde_bytes::{ByteArray, ByteBuf};

/// Seconds since the Unix epoch in these tests.
pub const NOW: u64 = 1_000_000;

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// A descriptor of provider 1, to be changed and signed.
pub fn plain(provider: u8, name: &str) -> Descriptor {
    Descriptor {
        iss: key(provider).did(),
        release: ReleaseId::of(name.as_bytes()),
        author: key(100).did(),
        name: name.parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        component: ComponentId::of(name.as_bytes()),
        component_bytes: name.len() as u64,
        manifest: BlobId::of(&release::manifest(&release::chunk_digests(name.as_bytes()))),
        intent: "Does something useful".to_owned(),
        tags: vec![],
        functions: vec![],
        permissions: Default::default(),
        profile: ProfileId::of(b"profile"),
        limits: Limits::default(),
        price: 0,
        region: None,
        public: true,
        tiers: Tier::ALL.into(),
        verdicts: vec![],
        seq: 1,
        nbf: NOW,
        exp: NOW + 3_600,
    }
}

pub fn plain_lease(provider: u8) -> Lease {
    Lease {
        iss: key(provider).did(),
        addrs: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        load: 0,
        queued: 0,
        capacity: 4,
        lately: None,
        descriptors_seq: 1,
        seq: 1,
        nbf: NOW,
        exp: NOW + 600,
    }
}

pub fn sign<T: Statement>(provider: u8, statement: T) -> Signed<T> {
    Signed::sign(statement, &key(provider))
}

/// Signs a descriptor as somebody's.
pub fn sign_as(secret: &SecretKey, descriptor: Descriptor) -> Signed<Descriptor> {
    Signed::sign(Descriptor { iss: secret.did(), ..descriptor }, secret)
}

pub fn offer(provider: u8, descriptor: Descriptor) -> Offer {
    Offer {
        descriptor: sign(provider, descriptor).bytes().to_vec().into(),
        lease: sign(provider, plain_lease(provider)).bytes().to_vec().into(),
    }
}

pub fn conditions() -> Conditions {
    Conditions {
        profile: ProfileId::of(b"profile"),
        limits: Limits::default(),
        price: 0,
        region: None,
        public: true,
        tiers: Tier::ALL.into(),
        verdicts: vec![],
    }
}

pub fn validity(seq: u64, life: u64) -> Validity {
    Validity { seq, nbf: NOW, exp: NOW + life }
}

pub fn query(text: &str) -> Query {
    Query {
        iss: key(50).did(),
        aud: key(60).did(),
        text: text.to_owned(),
        filters: Filters::default(),
        limit: 10,
        nonce: ByteArray::new([7; 12]),
    }
}

/// Ten capabilities as their authors describe them: name, intent, tags, a function with its docs.
pub const TEN: [(&str, &str, &[&str], &str, &str); 10] = [
    (
        "csv-aggregate",
        "Group the rows of a CSV table and sum, average or count them",
        &["csv", "table", "aggregate", "statistics"],
        "aggregate-by",
        "Groups rows and computes measures of each group.",
    ),
    (
        "digest",
        "Compute and check SHA-256 and other digests and checksums of bytes",
        &["digest", "hash", "checksum", "sha256"],
        "checksums",
        "Computes several checksums of the same bytes.",
    ),
    (
        "json-query",
        "Query, filter and reshape a JSON document with a jq expression",
        &["json", "jq", "query", "filter"],
        "query",
        "Runs a filter over a document.",
    ),
    (
        "markdown",
        "Turn Markdown text into HTML and list its headings",
        &["markdown", "html", "text", "convert"],
        "render",
        "Renders Markdown as HTML.",
    ),
    (
        "qr-code",
        "Draw a text or web address as a QR code, as an SVG or PNG image or as text",
        &["qr", "barcode", "image", "svg", "png"],
        "draw",
        "Draws a text as a QR code.",
    ),
    (
        "regex-extract",
        "Extract or replace everything in a text that matches a regular expression",
        &["regex", "text", "extract", "replace", "search"],
        "extract",
        "Finds all matches.",
    ),
    (
        "text-diff",
        "Find the differences between two texts, as a list or as a patch",
        &["text", "diff", "compare", "patch"],
        "compare",
        "Compares two texts.",
    ),
    (
        "text-stats",
        "Count the words, sentences, lines and characters in a text, and find its most frequent words",
        &["text", "words", "count", "statistics"],
        "count-words",
        "Counts what a text is made of.",
    ),
    (
        "text-summary",
        "Summarize a text by its most telling sentences, and list its keywords",
        &["text", "summary", "keywords", "extract"],
        "summarize",
        "Picks the sentences that say most.",
    ),
    (
        "thumbnail",
        "Scale an image down to a thumbnail, as PNG or JPEG",
        &["image", "thumbnail", "resize", "png", "jpeg"],
        "make",
        "Makes a thumbnail of an image.",
    ),
];

/// The `n`th of the ten, offered by provider `n + 1`.
pub fn one_of_ten(n: usize) -> Descriptor {
    let (name, intent, tags, function, docs) = TEN.get(n).copied().unwrap();
    let provider = u8::try_from(n + 1).unwrap();
    let function = Offered {
        name: format!("actum:{name}/api@0.1.0#{function}").parse().unwrap(),
        docs: docs.to_owned(),
        signature: format!("{function}() -> string"),
    };
    Descriptor {
        intent: intent.to_owned(),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        functions: vec![function],
        ..plain(provider, name)
    }
}

pub fn release(functions: usize, docs: &str, version: &str) -> Signed<Release> {
    let component = b"component";
    let functions = (0..functions).map(|n| Function {
        name: format!("actum:thing/{}@1.0.0#function-{n}", "i".repeat(100)).parse().unwrap(),
        docs: docs.to_owned(),
        params: (0..20).map(|p| Param { name: format!("parameter-{p}"), ty: WitType::bytes() }).collect(),
        result: Some(WitType::String),
    });
    let release = Release {
        iss: key(100).did(),
        name: "thing".parse().unwrap(),
        version: version.parse().unwrap(),
        intent: "é".repeat(256),
        tags: vec!["tag".to_owned(); 16],
        component: ComponentId::of(component),
        component_bytes: component.len() as u64,
        chunks: release::chunk_digests(component),
        wit: ByteBuf::new(),
        functions: functions.collect(),
        permissions: Default::default(),
        examples: vec![],
    };
    Signed::sign(release, &key(100))
}
