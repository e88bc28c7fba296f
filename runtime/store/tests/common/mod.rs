//! Signed things to keep.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share of these")]

use actum_model::*;
use serde_bytes::{ByteArray, ByteBuf};

/// Makes a database of this build's schema one of schema 4.
pub const SCHEMA_5_GONE: &str = "
DROP TABLE entries; DROP TABLE accounts; DROP TABLE served; DROP TABLE balances; DROP TABLE experiences; DROP TABLE due;
DROP TABLE proofs; DROP TABLE attestations; DROP TABLE flow_steps; PRAGMA user_version = 4";

/// Makes a database of schema 4 one of schema 2.
pub const SCHEMA_3_GONE: &str = "
DROP TABLE offences; DROP TABLE unanswered; DROP INDEX receipts_by_invocation;
DROP TABLE delegations; DROP TABLE names; ALTER TABLE receipts DROP COLUMN invocation; PRAGMA user_version = 2";

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

pub fn release(author: u8, name: &str, version: &str, component: &[u8]) -> Signed<Release> {
    let release = Release {
        iss: key(author).did(),
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        intent: "count words in a text".to_owned(),
        tags: vec!["text".to_owned()],
        component: ComponentId::of(component),
        component_bytes: component.len() as u64,
        chunks: release::chunk_digests(component),
        wit: ByteBuf::new(),
        functions: vec![Function {
            name: "run".parse().unwrap(),
            docs: String::new(),
            params: vec![],
            result: None,
        }],
        permissions: Default::default(),
        examples: vec![],
    };
    Signed::sign(release, &key(author))
}

/// A journal with an entry for each of these bodies and one for all.
pub fn journal_of(bodies: &[&[u8]]) -> (Journal, Bodies) {
    let ids: Vec<_> = bodies.iter().map(|b| BlobId::of(b)).collect();
    let entry = |ids: &[BlobId]| JournalEntry {
        function: "wasi:keyvalue/store#bucket.get".to_owned(),
        asked: ByteBuf::from(vec![0xf6]),
        told: ByteBuf::from(vec![0xf6]),
        bodies: ids.to_vec(),
    };
    let entries = ids.iter().map(|id| entry(&[*id])).chain([entry(&ids)]).collect();
    (Journal { entries }, ids.iter().copied().zip(bodies.iter().map(|b| b.to_vec())).collect())
}

/// A receipt with its evidence.
pub struct Made {
    pub receipt: Signed<Receipt>,
    pub args: Vec<u8>,
    pub output: Vec<u8>,
    pub journal: Vec<u8>,
    pub bodies: Bodies,
}

impl Made {
    /// The `n`th receipt of a provider, issued at second `n`, with arguments and output of `size` bytes.
    pub fn new(provider: u8, n: u64, size: usize) -> Self {
        Self::told(provider, n, size, Journal::default(), Bodies::new())
    }

    /// As [`Self::new`], of a guest that was told this.
    pub fn told(provider: u8, n: u64, size: usize, journal: Journal, bodies: Bodies) -> Self {
        let mut args = vec![b'a'; size];
        args.extend(n.to_be_bytes());
        let mut output = vec![b'o'; size];
        output.extend(n.to_be_bytes());
        let action = Action {
            requester: key(200).did(),
            component: ComponentId::of(b"component"),
            function: "run".parse().unwrap(),
            args: BlobId::of(&args),
            limits: Limits::default(),
            permissions: Default::default(),
            seed: ByteArray::new([0; 32]),
            time_base: 0,
            nonce: ByteArray::new([0; 12]),
            partial: false,
        };
        let receipt = Receipt {
            iss: key(provider).did(),
            iat: n,
            action,
            authority: Authority::Local,
            invocation: None,
            withheld: Default::default(),
            profile: ProfileId::of(b"profile"),
            outcome: Outcome::Ok(BlobId::of(&output)),
            fuel: 1,
            memory_bytes: 1,
            journal: journal.id(),
            stdio: None,
        };
        Self {
            receipt: Signed::sign(receipt, &key(provider)),
            args,
            output,
            journal: journal.bytes(),
            bodies,
        }
    }

    pub fn parts(&self) -> actum_store::NewReceipt<'_> {
        actum_store::NewReceipt {
            receipt: &self.receipt,
            args: &self.args,
            output: Some(&self.output),
            journal: &self.journal,
            bodies: &self.bodies,
            stdio: None,
            invocation: None,
        }
    }
}

pub fn descriptor(provider: u8, name: &str, seq: u64, nbf: u64, exp: u64) -> Signed<Descriptor> {
    let descriptor = Descriptor {
        iss: key(provider).did(),
        release: ReleaseId::of(name.as_bytes()),
        author: key(100).did(),
        name: name.parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        component: ComponentId::of(name.as_bytes()),
        component_bytes: name.len() as u64,
        manifest: BlobId::of(b"manifest"),
        intent: "count words".to_owned(),
        tags: vec![],
        functions: vec![],
        permissions: Default::default(),
        profile: ProfileId::of(b"profile"),
        limits: Limits::default(),
        price: 0,
        region: None,
        public: true,
        tiers: Default::default(),
        verdicts: vec![],
        seq,
        nbf,
        exp,
    };
    Signed::sign(descriptor, &key(provider))
}

pub fn lease(provider: u8, descriptors_seq: u64, seq: u64, nbf: u64, exp: u64) -> Signed<Lease> {
    let lease = Lease {
        iss: key(provider).did(),
        addrs: vec![],
        load: 0,
        queued: 0,
        capacity: 1,
        lately: None,
        descriptors_seq,
        seq,
        nbf,
        exp,
    };
    Signed::sign(lease, &key(provider))
}

pub fn verdict(verifier: u8, provider: u8, receipt: ReceiptId, judgement: Judgement) -> Signed<Verdict> {
    let verdict = Verdict {
        iss: key(verifier).did(),
        iat: 5,
        receipt,
        provider: key(provider).did(),
        profile: ProfileId::of(b"profile"),
        judgement,
    };
    Signed::sign(verdict, &key(verifier))
}
