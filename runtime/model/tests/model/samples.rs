//! One of each type, from fixed keys and values.

use actum_model::{
    Action, Authority, Balance, BlobId, Bodies, Claim, ComponentId, Delegation, DelegationId, Descriptor,
    Example, Filters, Function, Invocation, InvocationId, Journal, JournalEntry, Judgement, Lease, Limits,
    Offer, Outcome, Page, Param, Profile, Proof, Query, Receipt, Release, Rotation, RunArgs, SecretKey,
    Signed, Tier, Tombstone, Value, Verdict, WitType, Withdrawal,
    balance::Tally,
    bundle::Bundle,
    codec,
    descriptor::{Lately, Offered},
    journal,
    receipt::Stdio,
    release::{chunk_digests, manifest},
    types::{Case, Field, ResultType},
    value::{encode_params, encode_result},
    verdict::Divergence,
};
use serde_bytes::{ByteArray, ByteBuf};

pub(crate) fn author() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}
pub(crate) fn provider() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}
pub(crate) fn requester() -> SecretKey {
    SecretKey::from_seed(&[3; 32])
}

pub(crate) const COMPONENT: &[u8] = b"\0asm: the model never looks inside a component";

pub(crate) fn field(name: &str, ty: WitType) -> Field {
    Field { name: name.to_owned(), ty }
}
pub(crate) fn case(name: &str, ty: Option<WitType>) -> Case {
    Case { name: name.to_owned(), ty }
}
pub(crate) fn param(name: &str, ty: WitType) -> Param {
    Param { name: name.to_owned(), ty }
}
pub(crate) fn list(ty: WitType) -> WitType {
    WitType::List(Box::new(ty))
}
pub(crate) fn option(ty: WitType) -> WitType {
    WitType::Option(Box::new(ty))
}
pub(crate) fn some(value: Value) -> Value {
    Value::Option(Some(Box::new(value)))
}
pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

pub(crate) fn params() -> Vec<Param> {
    vec![
        param("text", WitType::String),
        param(
            "options",
            option(WitType::Record(vec![
                field("top", WitType::U32),
                field("order", WitType::Enum(names(&["by-count", "by-name"]))),
                field("skip", WitType::Flags(names(&["digits", "short"]))),
                field("cut", WitType::Variant(vec![case("never", None), case("after", Some(WitType::U64))])),
            ])),
        ),
    ]
}

pub(crate) fn result() -> WitType {
    WitType::Result(ResultType {
        ok: Some(Box::new(list(WitType::Tuple(vec![WitType::String, WitType::U32])))),
        err: Some(Box::new(WitType::String)),
    })
}

pub(crate) fn args() -> Vec<u8> {
    let options = Value::Record(vec![
        Value::U32(3),
        Value::Enum(1),
        Value::Flags(0b10),
        Value::Variant(1, Some(Box::new(Value::U64(1000)))),
    ]);
    encode_params(&params(), &[Value::String("to be or not to be".into()), some(options)]).unwrap()
}

pub(crate) fn output() -> Vec<u8> {
    let row = |word: &str, n| Value::Tuple(vec![Value::String(word.into()), Value::U32(n)]);
    let rows = Value::List(vec![row("be", 2), row("to", 2)]);
    encode_result(Some(&result()), Some(&Value::Result(Ok(Some(Box::new(rows)))))).unwrap()
}

pub(crate) fn release() -> Release {
    let name: actum_model::FunctionName = "actum:text/words@0.1.0#count".parse().unwrap();
    Release {
        iss: author().did(),
        name: "word-count".parse().unwrap(),
        version: "1.2.0".parse().unwrap(),
        intent: "Count how often each word occurs in a text.".into(),
        tags: names(&["text", "words"]),
        component: ComponentId::of(COMPONENT),
        component_bytes: COMPONENT.len() as u64,
        chunks: chunk_digests(COMPONENT),
        wit: ByteBuf::from(*b"\0asm: a WIT package"),
        functions: vec![Function {
            name: name.clone(),
            docs: "How often each word occurs, most frequent first.".into(),
            params: params(),
            result: Some(result()),
        }],
        permissions: [actum_model::Permission::Network].into(),
        examples: vec![Example {
            function: name,
            args: ByteBuf::from(args()),
            output: ByteBuf::from(output()),
        }],
    }
}

pub(crate) fn descriptor() -> Descriptor {
    let release = Signed::sign(release(), &author());
    Descriptor {
        iss: provider().did(),
        release: release.id(),
        author: author().did(),
        name: release.payload().name.clone(),
        version: release.payload().version.clone(),
        component: release.payload().component,
        component_bytes: release.payload().component_bytes,
        manifest: BlobId::of(&manifest(&release.payload().chunks)),
        intent: release.payload().intent.clone(),
        tags: release.payload().tags.clone(),
        functions: vec![Offered {
            name: release.payload().functions[0].name.clone(),
            docs: "How often each word occurs, most frequent first.".into(),
            signature: "count(text: string, …)".into(),
        }],
        permissions: release.payload().permissions.clone(),
        profile: profile().id(),
        limits: limits(),
        price: 3,
        region: Some("de-by".parse().unwrap()),
        public: true,
        tiers: Tier::ALL.into(),
        verdicts: vec![Signed::sign(verdict(), &requester()).id()],
        seq: 7,
        nbf: 1_790_000_000,
        exp: 1_790_003_600,
    }
}

pub(crate) fn lease() -> Lease {
    Lease {
        iss: provider().did(),
        addrs: names(&["/ip4/127.0.0.1/tcp/4711", "/ip6/::1/udp/4711/quic-v1"]),
        load: 1,
        queued: 2,
        capacity: 4,
        lately: Some(Lately { window: 3_600, actions: 120, ok: 118, p50_ms: 35 }),
        descriptors_seq: 7,
        seq: 300,
        nbf: 1_790_000_000,
        exp: 1_790_000_600,
    }
}

/// Written out: the defaults may change, the golden files may not.
pub(crate) fn limits() -> Limits {
    Limits {
        fuel: 10_000_000_000,
        memory_bytes: 256 << 20,
        table_elements: 100_000,
        instances: 64,
        output_bytes: 32 << 20,
        stdio_bytes: 1 << 20,
        journal_bytes: 16 << 20,
    }
}

pub(crate) fn action() -> Action {
    Action {
        requester: requester().did(),
        component: ComponentId::of(COMPONENT),
        function: "actum:text/words@0.1.0#count".parse().unwrap(),
        args: BlobId::of(&args()),
        limits: limits(),
        permissions: [].into(),
        seed: ByteArray::new([5; 32]),
        time_base: 1_790_000_000_000_000_000,
        nonce: ByteArray::new([6; 12]),
        partial: false,
    }
}

pub(crate) fn journal() -> Journal {
    Journal {
        entries: vec![JournalEntry {
            function: "wasi:keyvalue/store@0.2.0#get".into(),
            asked: ByteBuf::from(*b"\x81\x61k"),
            told: ByteBuf::from(*b"\x43abc"),
            bodies: vec![],
        }],
    }
}

pub(crate) fn stdio() -> Vec<u8> {
    codec::encode(&Stdio { stdout: ByteBuf::from(*b"counting\n"), stderr: ByteBuf::new() })
}

pub(crate) fn profile() -> Profile {
    let setting = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    Profile {
        name: "actum/1".into(),
        engine: "wasmtime 48.0.8".into(),
        settings: [setting("nan-canonicalization", "on"), setting("relaxed-simd", "deterministic")].into(),
    }
}

pub(crate) fn receipt() -> Receipt {
    Receipt {
        iss: provider().did(),
        iat: 1_790_000_001,
        action: action(),
        authority: Authority::Listed,
        invocation: Some(InvocationId::of(b"request")),
        withheld: [].into(),
        profile: profile().id(),
        outcome: Outcome::Ok(BlobId::of(&output())),
        fuel: 123_456_789,
        memory_bytes: 1 << 20,
        journal: journal().id(),
        stdio: Some(BlobId::of(&stdio())),
    }
}

/// The journal of a guest whose authority ended while it ran.
pub(crate) fn withdrawn_journal() -> Journal {
    let mut cut = journal();
    let told = ByteBuf::from(journal::withdrawal(Withdrawal::Revoked));
    cut.entries.push(JournalEntry { told, ..cut.entries[0].clone() });
    cut
}

/// A receipt for a request by a chain of delegations, run with less than it asked for until the chain was revoked.
pub(crate) fn granted_receipt() -> Receipt {
    let granted = |text: &str| text.parse().unwrap();
    let permissions = [
        granted("keyvalue:notes:read:keys=inbox/"),
        granted("keyvalue:drafts"),
        granted("http:https://example.com"),
    ];
    Receipt {
        action: Action { permissions: permissions.into(), partial: true, ..action() },
        authority: Authority::Granted(vec![DelegationId::of(b"root"), DelegationId::of(b"leaf")]),
        withheld: [granted("keyvalue:drafts")].into(),
        outcome: Outcome::Withdrawn(Withdrawal::Revoked),
        journal: withdrawn_journal().id(),
        stdio: None,
        ..receipt()
    }
}

/// From the provider to the author, and from them to the requester.
pub(crate) fn grants() -> Vec<Proof> {
    let root = Delegation {
        iss: provider().did(),
        aud: author().did(),
        sub: Some(provider().did()),
        pol: crate::policies::policy(serde_json::json!([["<=", ".spent.actions", 10]])),
        meta: None,
        exp: None,
        ..delegation()
    };
    let leaf = Delegation { iss: author().did(), aud: requester().did(), ..root.clone() };
    vec![Signed::sign(root, &provider()).into(), Signed::sign(leaf, &author()).into()]
}

/// The request by those for the action of [`granted_receipt`].
pub(crate) fn request() -> Signed<Invocation> {
    let prf = grants().iter().map(|grant| *grant.id()).collect();
    let (action, claim) = (granted_receipt().action, Claim::of(&release()));
    let at = receipt().iat - 1;
    let provider = provider().did();
    let request = RunArgs::invocation(&action, &claim, provider, provider, prf, at + 60, at);
    Signed::sign(request, &requester())
}

/// A bundle of a receipt whose request and delegations are at hand.
pub(crate) fn granted_bundle() -> Bundle {
    let receipt = Receipt {
        authority: Authority::Granted(grants().iter().map(|grant| *grant.id()).collect()),
        invocation: Some(request().id()),
        ..granted_receipt()
    };
    Bundle {
        receipt: Signed::sign(receipt, &provider()),
        release: Some(Signed::sign(release(), &author())),
        component: COMPONENT.to_vec(),
        args: args(),
        output: None,
        journal: withdrawn_journal().bytes(),
        bodies: Bodies::new(),
        stdio: None,
        invocation: Some(request()),
        proofs: grants(),
        attestation: None,
    }
}

pub(crate) fn verdict() -> Verdict {
    Verdict {
        iss: requester().did(),
        iat: 1_790_000_002,
        receipt: Signed::sign(receipt(), &provider()).id(),
        provider: provider().did(),
        profile: profile().id(),
        judgement: Judgement::Diverged(Divergence {
            at: "fuel".into(),
            receipt: "123456789".into(),
            replay: "123456788".into(),
        }),
    }
}

pub(crate) fn query() -> Query {
    Query {
        iss: requester().did(),
        aud: provider().did(),
        text: "count words in a text".into(),
        filters: Filters {
            function: Some("count".into()),
            interface: Some("actum:text/words".into()),
            needs_no: [actum_model::Permission::Keyvalue].into(),
            max_price: Some(5),
            tiers: [Tier::Replay].into(),
            region: Some("de".parse().unwrap()),
            provider: Some(provider().did()),
        },
        limit: 10,
        nonce: ByteArray::new([9; 12]),
    }
}

pub(crate) fn page() -> Page {
    Page {
        iss: provider().did(),
        aud: requester().did(),
        nonce: ByteArray::new([9; 12]),
        epoch: 12,
        offers: vec![Offer {
            descriptor: ByteBuf::from(Signed::sign(descriptor(), &provider()).bytes()),
            lease: ByteBuf::from(Signed::sign(lease(), &provider()).bytes()),
        }],
    }
}

pub(crate) fn tombstone() -> Tombstone {
    Tombstone {
        iss: provider().did(),
        release: Some(descriptor().release),
        seq: 301,
        nbf: 1_790_000_000,
        exp: 1_790_003_600,
    }
}

/// From the author's key to the requester's.
pub(crate) fn rotation() -> Rotation {
    let keep = [DelegationId::of(b"one"), DelegationId::of(b"another")].into();
    Rotation::new(&author(), &requester(), 1_790_000_003, keep)
}

pub(crate) fn delegation() -> Delegation {
    let policy = serde_json::json!([
        ["==", ".function", "count"],
        ["or", [["<=", ".limits.fuel", 50_000_000], ["not", ["like", ".input.text", "*\\*"]]]],
        ["all", ".permissions", ["any", ".http.methods?", ["==", ".", "GET"]]],
    ]);
    Delegation {
        iss: author().did(),
        aud: requester().did(),
        sub: Some(author().did()),
        cmd: "/actum/run".parse().unwrap(),
        pol: crate::policies::policy(policy),
        nonce: vec![7; 12].into(),
        meta: Some([("note".to_owned(), "for the build".into())].into()),
        nbf: Some(1_700_000_000),
        exp: Some(1_700_086_400),
    }
}

pub(crate) fn invocation() -> Invocation {
    Invocation {
        iss: requester().did(),
        sub: author().did(),
        aud: Some(provider().did()),
        cmd: "/actum/run".parse().unwrap(),
        args: [("function".to_owned(), "count".into())].into(),
        prf: vec![Signed::sign(delegation(), &author()).id()],
        meta: Some([("note".to_owned(), 1.into())].into()),
        nonce: vec![9; 12].into(),
        exp: Some(1_700_000_600),
        iat: Some(1_700_000_000),
        cause: Some(*DelegationId::of(b"a receipt").cid()),
    }
}

/// A provider's balance with the requester: two receipts one way, none the other.
pub(crate) fn balance() -> Balance {
    let mut served = Tally::default();
    for receipt in [receipt(), granted_receipt()] {
        served.add(&Signed::sign(receipt.clone(), &provider()).id(), receipt.fuel);
    }
    Balance {
        iss: provider().did(),
        peer: requester().did(),
        iat: 1_790_000_100,
        seq: 3,
        served: served.side(),
        consumed: Tally::default().side(),
    }
}
