//! The closed set of messages peers exchange, in strict DAG-CBOR. Framing is not theirs to know.

mod ads;
mod proofs;

use actum_model::{
    Attestation, Balance, BlobId, Body, ComponentId, DecodeError as CodecError, Delegation, Descriptor, Did,
    Invocation, Lease, Offer, Page, Query, Receipt, ReceiptId, Release, ReleaseId, Rotation, Statement,
    Tombstone, Verdict, codec,
    fraud::MAX_SPREAD_BYTES,
    release::{CHUNK_BYTES, MAX_COMPONENT_BYTES},
    ucan::MAX_CHAIN,
};
pub use ads::{Contact, MAX_ADS, MAX_CLOSER, MAX_RECONCILE, MAX_STATEMENTS, Placed, TICKET_BYTES};
use ads::{MAX_AD, MAX_CONTACT};
use proofs::MAX_ACCUSATION;
pub use proofs::{Accusation, MAX_ACCUSATIONS};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use serde_bytes::{ByteArray, ByteBuf};
use std::marker::PhantomData;

/// The session protocol's name and version on the wire.
pub const SESSION_PROTOCOL: &str = "/actum/session/1";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What a message may need around its payload: map heads, field names, ids.
const SLACK: usize = KIB;
/// The largest message of all: 64 MiB of arguments or results, and 256 KiB for what surrounds them: an invocation with its
/// proofs, or a receipt.
pub(crate) const MAX_BULK: usize = 64 * MIB + 256 * KIB;
/// The most descriptors in one announcement.
pub(crate) const MAX_DESCRIPTORS: usize = 128;
/// The most notices in one message.
pub const MAX_NOTICES: usize = 64;
/// The most bytes of one message of notices, 1 MiB: whoever sends more sends several.
pub const MAX_NOTICE_BYTES: usize = MIB;
/// The largest refusal text in bytes.
pub(crate) const MAX_REFUSAL_TEXT: usize = KIB;
/// The largest manifest in bytes, 8 KiB: a digest of 32 bytes for each chunk of the largest component.
pub(crate) const MAX_MANIFEST: usize = MAX_COMPONENT_BYTES.div_ceil(CHUNK_BYTES) * 32;
/// The most verdicts in one answer.
pub const MAX_VERDICTS: usize = 16;
/// The most receipts that one answer names of those between two peers: 256, 9 KiB.
pub const MAX_ENTRIES: usize = 256;
/// The largest progress event in bytes.
pub(crate) const MAX_EVENT: usize = 64;

/// What one peer asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Index these offers of mine. Answered by [`Response::Announced`]. At most 128 descriptors, 529 KiB.
    Announce {
        /// The signed [`Lease`].
        #[serde(with = "serde_bytes")]
        lease: Vec<u8>,
        /// The signed [`Descriptor`]s it keeps alive.
        #[serde(deserialize_with = "at_most::<_, _, MAX_DESCRIPTORS>")]
        descriptors: Vec<ByteBuf>,
    },
    /// Who offers this? Answered by [`Response::Page`]. At most 3 KiB.
    Find {
        /// The signed [`Query`].
        #[serde(with = "serde_bytes")]
        query: Vec<u8>,
    },
    /// Run this. Answered by [`Response::Done`], after any number of [`Event`]s. At most 64 MiB and 256 KiB.
    Call {
        /// The signed [`Invocation`] of `/actum/run`; its issuer must be the peer that sends it.
        #[serde(with = "serde_bytes")]
        invocation: Vec<u8>,
        /// The signed [`Delegation`]s that it names as its proofs, in its order. One that is missing may still be known to
        /// the provider. At most 8.
        #[serde(
            default,
            skip_serializing_if = "Vec::is_empty",
            deserialize_with = "at_most::<_, _, MAX_CHAIN>"
        )]
        proofs: Vec<ByteBuf>,
        /// The canonical encoding of the arguments, as the invocation's `input` names them.
        #[serde(with = "serde_bytes")]
        args: Vec<u8>,
    },
    /// Go on answering what I asked, whose answer was lost with a session. Answered by [`Response::Done`], after any number
    /// of [`Event`]s while it still runs; or refused, as [`RefusalCode::UnknownInvocation`] where it was never admitted
    /// and now never will be, as [`RefusalCode::Gone`] where it may have run and there is no answer. At most 33 KiB.
    Resume {
        /// The signed [`Invocation`] as it was sent with [`Request::Call`], whole: it tells who may ask, and by its nonce
        /// and expiry whether it was ever served.
        #[serde(with = "serde_bytes")]
        invocation: Vec<u8>,
        /// Whether the action goes on when this request is cancelled: I may ask again. Otherwise it is cancelled too, as by
        /// the call's own cancellation.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leaves: bool,
    },
    /// Hear what nobody should be without. Answered by [`Response::Notified`]. At most 1 MiB.
    Notify {
        /// At most 64.
        #[serde(deserialize_with = "at_most::<_, _, MAX_NOTICES>")]
        notices: Vec<Notice>,
    },
    /// What notices do you keep? Answered by [`Response::Notices`]. At most 1 KiB.
    Notices {
        /// The place after which to begin; the default is the beginning.
        after: Place,
    },
    /// I have a proof that a provider lied, and give it to whoever asks. Answered by [`Response::Heard`]. At most 1 KiB.
    Accuse {
        /// The receipt that is not what happens.
        receipt: ReceiptId,
        /// Whose receipt it is.
        provider: Did,
        /// How many bytes the proof has, without its component.
        bytes: u32,
    },
    /// Send me the fraud proof about this receipt, without its component. Answered by [`Response::Proof`]. At most 1 KiB.
    Proof {
        /// Which receipt.
        receipt: ReceiptId,
    },
    /// What do your own verdicts say of this provider? Answered by [`Response::Verdicts`]. At most 1 KiB.
    Verdicts {
        /// Whom.
        about: Did,
    },
    /// Of whom do you have proofs? Answered by [`Response::Accusations`]. At most 1 KiB.
    Accusations {
        /// The place after which to begin, in that peer's own count; 0 is the beginning.
        after: u64,
    },
    /// Send me this release. Answered by [`Response::Release`]. At most 1 KiB.
    Release {
        /// Which.
        id: ReleaseId,
    },
    /// Send me the manifest of a component, for whoever has its descriptor and not its release. Answered by
    /// [`Response::Manifest`]. At most 1 KiB.
    Manifest {
        /// Of which component.
        component: ComponentId,
        /// Which manifest: several authors may say different things of one component, and the id tells the true one.
        manifest: BlobId,
    },
    /// Send me this piece of a component. Answered by [`Response::Chunk`]. At most 1 KiB.
    Chunk {
        /// Of which component.
        component: ComponentId,
        /// Which piece of 256 KiB, from 0.
        index: u32,
    },
    /// Put this offer of mine among your ads. Answered by [`Response::Registered`]. At most 6 KiB.
    Register {
        /// The key to be found under.
        key: ByteArray<32>,
        /// The signed [`Descriptor`]; empty where a registry advertises itself.
        #[serde(with = "serde_bytes")]
        descriptor: Vec<u8>,
        /// The signed [`Lease`].
        #[serde(with = "serde_bytes")]
        lease: Vec<u8>,
        /// The registrar's own word on how long this one has waited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<ByteArray<TICKET_BYTES>>,
    },
    /// My newer lease, for all the ads of mine that you hold. Answered by [`Response::Registered`]. At most 2 KiB.
    Renew {
        /// The signed [`Lease`].
        #[serde(with = "serde_bytes")]
        lease: Vec<u8>,
    },
    /// What ads do you hold under this key? Answered by [`Response::Ads`]. At most 1 KiB.
    Ads {
        /// The key.
        key: ByteArray<32>,
    },
    /// From one registry to another: what do you have that I lack? Answered by [`Response::Reconciled`]. At most 65 KiB.
    Reconcile {
        /// A message of set reconciliation, as `actum-discovery` has it. At most 64 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// From one registry to another: send me these statements. Answered by [`Response::Statements`]. At most 5 KiB.
    Statements {
        /// The digests in their ids. At most 128.
        #[serde(deserialize_with = "at_most::<_, _, MAX_STATEMENTS>")]
        ids: Vec<ByteArray<32>>,
    },
    /// I take back what I announced. Answered by [`Response::Withdrawn`]. At most 2 KiB.
    Withdraw {
        /// The signed [`Tombstone`].
        #[serde(with = "serde_bytes")]
        tombstone: Vec<u8>,
    },
    /// So I count what we two have served each other; and you? Answered by [`Response::Balance`]. At most 2 KiB.
    Balance {
        /// The signed [`Balance`] of the peer that sends it, with the one that is asked.
        #[serde(with = "serde_bytes")]
        balance: Vec<u8>,
    },
    /// Which receipts between us two do you count? Answered by [`Response::Entries`]. At most 1 KiB.
    Entries {
        /// Of what you ran for me; else of what I ran for you.
        served: bool,
        /// The place after which to begin, in that peer's own count; 0 is the beginning.
        after: u64,
    },
}

/// What everybody should hear: that authority has ended. It proves itself, whoever carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Notice {
    /// A delegation is revoked.
    Revocation {
        /// The signed [`Invocation`] of `/ucan/revoke`.
        #[serde(with = "serde_bytes")]
        revocation: Vec<u8>,
        /// The signed [`Delegation`]s of its path, from the root to the one revoked. At most 8.
        #[serde(deserialize_with = "at_most::<_, _, MAX_CHAIN>")]
        witness: Vec<ByteBuf>,
    },
    /// A key has a successor.
    Rotation {
        /// The signed [`Rotation`].
        #[serde(with = "serde_bytes")]
        rotation: Vec<u8>,
    },
}

impl Notice {
    /// What its parts weigh, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            Self::Revocation { revocation, witness } => {
                revocation.len().saturating_add(witness.iter().map(|d| d.len()).sum())
            }
            Self::Rotation { rotation } => rotation.len(),
        }
    }

    fn fits(&self) -> bool {
        match self {
            Self::Revocation { revocation, witness } => {
                revocation.len() <= Invocation::MAX_BYTES && chain_fits(witness)
            }
            Self::Rotation { rotation } => rotation.len() <= Rotation::MAX_BYTES,
        }
    }
}

/// How far somebody has read the notices that a peer keeps, in that peer's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Revocations read.
    pub revocations: u64,
    /// Rotations read.
    pub rotations: u64,
}

fn chain_fits(chain: &[ByteBuf]) -> bool {
    chain.len() <= MAX_CHAIN && chain.iter().all(|d| d.len() <= Delegation::MAX_BYTES)
}

fn closer_fit(closer: &[Contact]) -> bool {
    closer.len() <= MAX_CLOSER && closer.iter().all(Contact::fits)
}

fn notices_fit(notices: &[Notice]) -> bool {
    notices.len() <= MAX_NOTICES && notices.iter().all(Notice::fits)
}

/// What the other peer answers. Any request may be answered by [`Response::Refused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Response {
    /// To an announcement. At most 136 KiB.
    Announced {
        /// Descriptors now indexed.
        accepted: u32,
        /// Why each of the others is not.
        #[serde(deserialize_with = "at_most::<_, _, MAX_DESCRIPTORS>")]
        refused: Vec<String>,
    },
    /// To a query. At most 257 KiB.
    Page {
        /// The signed [`Page`].
        #[serde(with = "serde_bytes")]
        page: Vec<u8>,
    },
    /// To a call, and to its resumption. At most 64 MiB and 256 KiB.
    Done {
        /// The signed [`Receipt`].
        #[serde(with = "serde_bytes")]
        receipt: Vec<u8>,
        /// The canonical encoding of the output, where the outcome has one.
        #[serde(with = "serde_bytes")]
        output: Option<Vec<u8>>,
        /// The journal's canonical bytes.
        #[serde(with = "serde_bytes")]
        journal: Vec<u8>,
        /// The bodies the journal names, each once, in the order in which it first names them. Each has more than 1 KiB:
        /// smaller ones stand in the journal.
        #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bodies")]
        bodies: Vec<ByteBuf>,
        /// The captured stdio's canonical bytes, where the guest wrote any.
        #[serde(with = "serde_bytes")]
        stdio: Option<Vec<u8>>,
        /// The [`Attestation`] of the receipt, where the peer's platform makes one. At most 16 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
        attestation: Option<Vec<u8>>,
    },
    /// To notices. At most 73 KiB.
    Notified {
        /// How many were news there.
        news: u32,
        /// Why each of the others that were refused was.
        #[serde(deserialize_with = "at_most::<_, _, MAX_NOTICES>")]
        refused: Vec<String>,
    },
    /// To a request for notices. At most 1 MiB.
    Notices {
        /// At most 64.
        #[serde(deserialize_with = "at_most::<_, _, MAX_NOTICES>")]
        notices: Vec<Notice>,
        /// The place after them. The same as asked for: there are no more.
        next: Place,
    },
    /// To a request for verdicts. At most 257 KiB.
    Verdicts {
        /// Signed [`Verdict`]s, the newest first. At most 16.
        #[serde(deserialize_with = "at_most::<_, _, MAX_VERDICTS>")]
        verdicts: Vec<ByteBuf>,
    },
    /// To an accusation. At most 1 KiB.
    Heard {
        /// Whether the proof is wanted: it is going to be asked for.
        wanted: bool,
    },
    /// To a request for a proof. At most 8 MiB and 1 KiB.
    Proof {
        /// The archive, as `actum_model::fraud` has it. At most 8 MiB.
        #[serde(with = "serde_bytes")]
        car: Vec<u8>,
    },
    /// To a request for accusations. At most 17 KiB.
    Accusations {
        /// At most 64.
        #[serde(deserialize_with = "at_most::<_, _, MAX_ACCUSATIONS>")]
        list: Vec<Accusation>,
        /// The place after them. The same as asked for: there are no more.
        next: u64,
    },
    /// To a request for a release. At most 257 KiB.
    Release {
        /// The signed [`Release`].
        #[serde(with = "serde_bytes")]
        release: Vec<u8>,
    },
    /// To a request for a manifest. At most 9 KiB.
    Manifest {
        /// The sha2-256 digests of the component's chunks, one after the other: at most 8 KiB.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// To a request for a chunk. At most 257 KiB.
    Chunk {
        /// The piece: 256 KiB, the last one shorter.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// To an ad, or a lease of ads. At most 12 KiB.
    Registered {
        /// What became of it.
        placed: Placed,
        /// Peers at other distances from the key. At most 16.
        #[serde(deserialize_with = "at_most::<_, _, MAX_CLOSER>")]
        closer: Vec<Contact>,
    },
    /// To a question for ads. At most 58 KiB.
    Ads {
        /// At most 10.
        #[serde(deserialize_with = "at_most::<_, _, MAX_ADS>")]
        ads: Vec<Offer>,
        /// Peers at other distances from the key. At most 16.
        #[serde(deserialize_with = "at_most::<_, _, MAX_CLOSER>")]
        closer: Vec<Contact>,
    },
    /// To a message of set reconciliation. At most 65 KiB.
    Reconciled {
        /// The answer. At most 64 KiB.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// To a request for statements. At most 514 KiB.
    Statements {
        /// Those of them that are held: signed [`Descriptor`]s, [`Lease`]s and [`Tombstone`]s. At most 128.
        #[serde(deserialize_with = "at_most::<_, _, MAX_STATEMENTS>")]
        statements: Vec<ByteBuf>,
    },
    /// To a tombstone: it was heard. At most 1 KiB.
    Withdrawn {},
    /// To a balance. At most 2 KiB.
    Balance {
        /// The signed [`Balance`] of the peer that was asked, with the one that asks.
        #[serde(with = "serde_bytes")]
        balance: Vec<u8>,
    },
    /// To a question for the receipts between two peers. At most 10 KiB.
    Entries {
        /// The digests in their ids. At most 256.
        #[serde(deserialize_with = "at_most::<_, _, MAX_ENTRIES>")]
        ids: Vec<ByteArray<32>>,
        /// The place after them. The same as asked for: there are no more.
        next: u64,
    },
    /// No, and why. At most 2 KiB.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// Reads at most so many elements and stops at one more, so that a message makes no more of them than it may have: an
/// element may be a byte on the wire and thirty in memory.
pub(crate) fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(
    input: D,
) -> Result<Vec<T>, D::Error> {
    struct Each<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Each<T, MOST> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {MOST} elements")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                if all.len() == MOST {
                    return Err(de::Error::invalid_length(MOST.saturating_add(1), &self));
                }
                all.push(one);
            }
            Ok(all)
        }
    }
    input.deserialize_seq(Each::<T, MOST>(PhantomData))
}

/// Reads bodies and stops at one too small to be one, so that a message makes no more of them than it weighs.
fn bodies<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<ByteBuf>, D::Error> {
    struct Each;
    impl<'de> Visitor<'de> for Each {
        type Value = Vec<ByteBuf>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "bodies of more than {} bytes", Body::MAX_INLINE)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut bodies = Vec::new();
            while let Some(body) = seq.next_element::<ByteBuf>()? {
                if body.len() <= Body::MAX_INLINE {
                    return Err(de::Error::invalid_length(body.len(), &self));
                }
                bodies.push(body);
            }
            Ok(bodies)
        }
    }
    input.deserialize_seq(Each)
}

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The kind of refusal, for programs.
    pub code: RefusalCode,
    /// What exactly, for people. At most 1 KiB.
    pub message: String,
    /// When it may be worth asking again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// Too much is running or queued; later it may work.
    Busy,
    /// This peer does not offer that component or function.
    NotOffered,
    /// The asker may not do that here: nothing allows it, or what does says otherwise.
    NotAllowed,
    /// A quota of this peer's, or the budget or rate of a grant, is used up. It may come back, unlike what is not allowed.
    Exhausted,
    /// The proofs do not prove what the invocation says: one is missing, false, not aligned with its neighbour, or wider
    /// than the one above it.
    BadProof,
    /// The invocation or one of its proofs has expired.
    Expired,
    /// The invocation or one of its proofs is not valid yet.
    TooEarly,
    /// One of the proofs is revoked, or its issuer's key has a successor that does not keep it.
    Revoked,
    /// This invocation was served before, or its nonce was used in another one.
    AlreadyServed,
    /// That invocation was never admitted here, and never will be: it did not run.
    UnknownInvocation,
    /// That invocation was admitted here and may have run, but there is no answer, or no longer.
    Gone,
    /// This peer does not hold that component.
    UnknownComponent,
    /// This peer does not hold that release.
    UnknownRelease,
    /// The request contradicts itself.
    BadRequest,
    /// It asks for more than this peer allows.
    OverLimit,
    /// This peer is on its way out.
    ShuttingDown,
    /// This peer is broken; not the asker's fault.
    Internal,
}

impl RefusalCode {
    /// The code as written on the wire and shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NotOffered => "not-offered",
            Self::NotAllowed => "not-allowed",
            Self::Exhausted => "exhausted",
            Self::BadProof => "bad-proof",
            Self::Expired => "expired",
            Self::TooEarly => "too-early",
            Self::Revoked => "revoked",
            Self::AlreadyServed => "already-served",
            Self::UnknownInvocation => "unknown-invocation",
            Self::Gone => "gone",
            Self::UnknownComponent => "unknown-component",
            Self::UnknownRelease => "unknown-release",
            Self::BadRequest => "bad-request",
            Self::OverLimit => "over-limit",
            Self::ShuttingDown => "shutting-down",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Refusal {
    /// A refusal; a text longer than allowed is cut.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_REFUSAL_TEXT));
        Self { code, message, retry_after_ms: None }
    }

    /// The same refusal, worth asking again after a while.
    pub fn retry_after_ms(self, ms: u64) -> Self {
        Self { retry_after_ms: Some(ms), ..self }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal }
    }
}

/// How a call is coming along. At most 64 bytes. Events may be dropped, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// Waiting for others to finish.
    Queued {
        /// Actions before this one.
        ahead: u32,
    },
    /// Fetching the component.
    Fetching {
        /// Chunks verified.
        chunks_done: u32,
        /// Chunks in all.
        chunks_total: u32,
    },
    /// Running.
    Running,
}

/// What a request asks for: it decides which answers are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// [`Request::Announce`]
    Announce,
    /// [`Request::Find`]
    Find,
    /// [`Request::Call`]
    Call,
    /// [`Request::Resume`]
    Resume,
    /// [`Request::Notify`]
    Notify,
    /// [`Request::Notices`]
    Notices,
    /// [`Request::Verdicts`]
    Verdicts,
    /// [`Request::Accuse`]
    Accuse,
    /// [`Request::Proof`]
    Proof,
    /// [`Request::Accusations`]
    Accusations,
    /// [`Request::Release`]
    Release,
    /// [`Request::Manifest`]
    Manifest,
    /// [`Request::Chunk`]
    Chunk,
    /// [`Request::Register`]
    Register,
    /// [`Request::Renew`]
    Renew,
    /// [`Request::Ads`]
    Ads,
    /// [`Request::Reconcile`]
    Reconcile,
    /// [`Request::Statements`]
    Statements,
    /// [`Request::Withdraw`]
    Withdraw,
    /// [`Request::Balance`]
    Balance,
    /// [`Request::Entries`]
    Entries,
}

impl RequestKind {
    fn from_tag(tag: &[u8]) -> Option<Self> {
        Some(match tag {
            b"announce" => Self::Announce,
            b"find" => Self::Find,
            b"call" => Self::Call,
            b"resume" => Self::Resume,
            b"notify" => Self::Notify,
            b"notices" => Self::Notices,
            b"verdicts" => Self::Verdicts,
            b"accuse" => Self::Accuse,
            b"proof" => Self::Proof,
            b"accusations" => Self::Accusations,
            b"release" => Self::Release,
            b"manifest" => Self::Manifest,
            b"chunk" => Self::Chunk,
            b"register" => Self::Register,
            b"renew" => Self::Renew,
            b"ads" => Self::Ads,
            b"reconcile" => Self::Reconcile,
            b"statements" => Self::Statements,
            b"withdraw" => Self::Withdraw,
            b"balance" => Self::Balance,
            b"entries" => Self::Entries,
            _ => return None,
        })
    }

    /// The largest request of this kind in bytes.
    pub fn max_request_bytes(self) -> usize {
        match self {
            Self::Announce => Lease::MAX_BYTES + MAX_DESCRIPTORS * (Descriptor::MAX_BYTES + 8) + SLACK,
            Self::Find => Query::MAX_BYTES + SLACK,
            Self::Register => Descriptor::MAX_BYTES + Lease::MAX_BYTES + SLACK,
            Self::Renew => Lease::MAX_BYTES + SLACK,
            Self::Withdraw => Tombstone::MAX_BYTES + SLACK,
            Self::Balance => Balance::MAX_BYTES + SLACK,
            Self::Entries => SLACK,
            Self::Reconcile => MAX_RECONCILE + SLACK,
            Self::Statements => MAX_STATEMENTS * 36 + SLACK,
            Self::Call => MAX_BULK,
            Self::Notify => MAX_NOTICE_BYTES,
            Self::Resume => Invocation::MAX_BYTES + SLACK,
            Self::Verdicts | Self::Accuse | Self::Proof | Self::Accusations => SLACK,
            Self::Notices | Self::Release | Self::Manifest | Self::Chunk | Self::Ads => SLACK,
        }
    }

    /// Whether news of how it is coming along may precede the answer.
    pub(crate) fn has_events(self) -> bool {
        matches!(self, Self::Call | Self::Resume)
    }

    /// Whether asking again later does no harm and gives the same: an answer to such a request need not be kept for a peer
    /// that is slow to take it.
    pub(crate) fn can_wait(self) -> bool {
        matches!(self, Self::Resume | Self::Release | Self::Manifest | Self::Chunk | Self::Proof)
    }

    /// The tag of the one answer that is not a refusal, and its largest size in bytes.
    fn answer(self) -> (&'static [u8], usize) {
        match self {
            Self::Announce => (b"announced", MAX_DESCRIPTORS * (MAX_REFUSAL_TEXT + 8) + SLACK),
            Self::Find => (b"page", Page::MAX_BYTES + SLACK),
            Self::Call | Self::Resume => (b"done", MAX_BULK),
            Self::Notify => (b"notified", MAX_NOTICES * (MAX_REFUSAL_TEXT + 8) + SLACK),
            Self::Notices => (b"notices", MAX_NOTICE_BYTES),
            Self::Verdicts => (b"verdicts", MAX_VERDICTS * Verdict::MAX_BYTES + SLACK),
            Self::Accuse => (b"heard", SLACK),
            Self::Proof => (b"proof", MAX_SPREAD_BYTES + SLACK),
            Self::Accusations => (b"accusations", MAX_ACCUSATIONS * MAX_ACCUSATION + SLACK),
            Self::Release => (b"release", Release::MAX_BYTES + SLACK),
            Self::Manifest => (b"manifest", MAX_MANIFEST + SLACK),
            Self::Chunk => (b"chunk", CHUNK_BYTES + SLACK),
            Self::Register | Self::Renew => (b"registered", MAX_CLOSER * MAX_CONTACT + 2 * SLACK),
            Self::Ads => (b"ads", MAX_ADS * MAX_AD + MAX_CLOSER * MAX_CONTACT + SLACK),
            Self::Withdraw => (b"withdrawn", SLACK),
            Self::Balance => (b"balance", Balance::MAX_BYTES + SLACK),
            Self::Entries => (b"entries", MAX_ENTRIES * 36 + SLACK),
            Self::Reconcile => (b"reconciled", MAX_RECONCILE + SLACK),
            Self::Statements => (b"statements", MAX_STATEMENTS * (Descriptor::MAX_BYTES + 8) + SLACK),
        }
    }

    /// The largest answer to a request of this kind in bytes.
    pub fn max_response_bytes(self) -> usize {
        self.answer().1
    }
}

impl Request {
    /// What this request asks for.
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::Announce { .. } => RequestKind::Announce,
            Self::Find { .. } => RequestKind::Find,
            Self::Call { .. } => RequestKind::Call,
            Self::Resume { .. } => RequestKind::Resume,
            Self::Notify { .. } => RequestKind::Notify,
            Self::Notices { .. } => RequestKind::Notices,
            Self::Verdicts { .. } => RequestKind::Verdicts,
            Self::Accuse { .. } => RequestKind::Accuse,
            Self::Proof { .. } => RequestKind::Proof,
            Self::Accusations { .. } => RequestKind::Accusations,
            Self::Release { .. } => RequestKind::Release,
            Self::Manifest { .. } => RequestKind::Manifest,
            Self::Chunk { .. } => RequestKind::Chunk,
            Self::Register { .. } => RequestKind::Register,
            Self::Renew { .. } => RequestKind::Renew,
            Self::Ads { .. } => RequestKind::Ads,
            Self::Withdraw { .. } => RequestKind::Withdraw,
            Self::Balance { .. } => RequestKind::Balance,
            Self::Entries { .. } => RequestKind::Entries,
            Self::Reconcile { .. } => RequestKind::Reconcile,
            Self::Statements { .. } => RequestKind::Statements,
        }
    }

    /// Reads a request: its kind decides its largest size, before anything else is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let limit = max_request(bytes).ok_or_else(unknown_message)?;
        let request: Self = codec::decode(bytes, limit)?;
        match &request {
            Self::Announce { lease, descriptors }
                if lease.len() > Lease::MAX_BYTES
                    || descriptors.len() > MAX_DESCRIPTORS
                    || descriptors.iter().any(|d| d.len() > Descriptor::MAX_BYTES) =>
            {
                Err(CodecError::Invalid("an announcement with oversized parts".to_owned()))
            }
            Self::Find { query } if query.len() > Query::MAX_BYTES => {
                Err(CodecError::Invalid("an oversized query".to_owned()))
            }
            Self::Call { invocation, proofs, .. }
                if invocation.len() > Invocation::MAX_BYTES || !chain_fits(proofs) =>
            {
                Err(CodecError::Invalid("a call with oversized proofs".to_owned()))
            }
            Self::Register { descriptor, lease, .. }
                if descriptor.len() > Descriptor::MAX_BYTES || lease.len() > Lease::MAX_BYTES =>
            {
                Err(CodecError::Invalid("an ad with oversized parts".to_owned()))
            }
            Self::Renew { lease } if lease.len() > Lease::MAX_BYTES => {
                Err(CodecError::Invalid("an oversized lease".to_owned()))
            }
            Self::Reconcile { message } if message.len() > MAX_RECONCILE => {
                Err(CodecError::Invalid("an oversized message of set reconciliation".to_owned()))
            }
            Self::Statements { ids } if ids.len() > MAX_STATEMENTS => {
                Err(CodecError::Invalid("too many statements asked for".to_owned()))
            }
            Self::Balance { balance } if balance.len() > Balance::MAX_BYTES => {
                Err(CodecError::Invalid("an oversized balance".to_owned()))
            }
            Self::Withdraw { tombstone } if tombstone.len() > Tombstone::MAX_BYTES => {
                Err(CodecError::Invalid("an oversized tombstone".to_owned()))
            }
            Self::Resume { invocation, .. } if invocation.len() > Invocation::MAX_BYTES => {
                Err(CodecError::Invalid("an oversized invocation".to_owned()))
            }
            Self::Notify { notices } if !notices_fit(notices) => {
                Err(CodecError::Invalid("oversized notices".to_owned()))
            }
            _ => Ok(request),
        }
    }
}

impl Response {
    /// Reads the answer to a request of that kind: nothing else is let through.
    pub fn decode(bytes: &[u8], asked: RequestKind) -> Result<Self, CodecError> {
        let limit = max_response(bytes, asked).ok_or_else(unknown_message)?;
        let response: Self = codec::decode(bytes, limit)?;
        let oversized = match &response {
            Self::Announced { refused, .. } => {
                refused.len() > MAX_DESCRIPTORS || refused.iter().any(|r| r.len() > MAX_REFUSAL_TEXT)
            }
            Self::Page { page } => page.len() > Page::MAX_BYTES,
            Self::Notified { refused, .. } => {
                refused.len() > MAX_NOTICES || refused.iter().any(|r| r.len() > MAX_REFUSAL_TEXT)
            }
            Self::Notices { notices, .. } => !notices_fit(notices),
            Self::Heard { .. } => false,
            Self::Proof { car } => car.len() > MAX_SPREAD_BYTES,
            Self::Accusations { list, .. } => list.len() > MAX_ACCUSATIONS,
            Self::Verdicts { verdicts } => {
                verdicts.len() > MAX_VERDICTS || verdicts.iter().any(|v| v.len() > Verdict::MAX_BYTES)
            }
            Self::Done { receipt, attestation, .. } => {
                receipt.len() > Receipt::MAX_BYTES
                    || attestation.as_ref().is_some_and(|a| a.len() > Attestation::MAX_BYTES)
            }
            Self::Release { release } => release.len() > Release::MAX_BYTES,
            Self::Manifest { bytes } => bytes.len() > MAX_MANIFEST,
            Self::Chunk { bytes } => bytes.len() > CHUNK_BYTES,
            Self::Registered { placed, closer } => !placed.fits() || !closer_fit(closer),
            Self::Ads { ads, closer } => {
                let fits = |ad: &Offer| {
                    ad.descriptor.len() <= Descriptor::MAX_BYTES && ad.lease.len() <= Lease::MAX_BYTES
                };
                ads.len() > MAX_ADS || !ads.iter().all(fits) || !closer_fit(closer)
            }
            Self::Reconciled { message } => message.len() > MAX_RECONCILE,
            Self::Statements { statements } => {
                statements.len() > MAX_STATEMENTS
                    || statements.iter().any(|s| s.len() > Descriptor::MAX_BYTES)
            }
            Self::Withdrawn {} => false,
            Self::Balance { balance } => balance.len() > Balance::MAX_BYTES,
            Self::Entries { ids, .. } => ids.len() > MAX_ENTRIES,
            Self::Refused { refusal } => refusal.message.len() > MAX_REFUSAL_TEXT,
        };
        if oversized {
            Err(CodecError::Invalid("an answer with oversized parts".to_owned()))
        } else {
            Ok(response)
        }
    }
}

impl Response {
    /// What its parts weigh, in bytes: about what it will have encoded.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Done { output, journal, bodies, stdio, .. } => {
                let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
                let bodies: usize = bodies.iter().map(|body| body.len()).sum();
                optional(output) + journal.len() + bodies + optional(stdio)
            }
            Self::Proof { car } => car.len(),
            // All others are small.
            _ => 0,
        }
    }
}

impl Event {
    /// Reads an event.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes, MAX_EVENT)
    }
}

fn unknown_message() -> CodecError {
    CodecError::Malformed("not a message that may stand here".to_owned())
}

/// The tag of an externally tagged message: a map of one entry whose key is a short text.
fn tag(bytes: &[u8]) -> Option<&[u8]> {
    let (&[0xa1, head], rest) = bytes.split_first_chunk::<2>()? else { return None };
    let length = head.checked_sub(0x60).filter(|n| *n < 24)?;
    rest.get(..length.into())
}

/// What a request beginning with these bytes asks for.
pub(crate) fn request_kind(begin: &[u8]) -> Option<RequestKind> {
    RequestKind::from_tag(tag(begin)?)
}

/// The largest request beginning with these bytes; nothing where no request begins so.
pub(crate) fn max_request(begin: &[u8]) -> Option<usize> {
    Some(request_kind(begin)?.max_request_bytes())
}

/// The largest answer beginning with these bytes; nothing where no answer to such a request begins so.
pub(crate) fn max_response(begin: &[u8], asked: RequestKind) -> Option<usize> {
    let (allowed, limit) = asked.answer();
    match tag(begin)? {
        b"refused" => Some(MAX_REFUSAL_TEXT + SLACK),
        t if t == allowed => Some(limit),
        _ => None,
    }
}
