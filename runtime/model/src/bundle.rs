//! One self-contained file of a receipt, what is needed to re-execute it, and by what authority it ran: a CAR archive.
//!
//! Source: IPLD "Content Addressable aRchives (CAR), version 1". The file is a header, `{"roots": [receipt], "version":
//! 1}` in DAG-CBOR, then sections; header and sections are each preceded by their length as an unsigned LEB128 varint,
//! and a section is a CID and the bytes it names. Written here because the crates for it read through `async` I/O and
//! accept what this one must refuse: strangers, duplicates, another order. One bundle has one byte string.

use crate::{
    Attestation, Authority, BlobId, Bodies, Body, ComponentId, DelegationId, Did, Invocation, Journal, Proof,
    Receipt, ReceiptId, Release, Signed,
    codec::{self, DecodeError},
    envelope::EnvelopeError,
    id::{DAG_CBOR, RAW, cid_of},
    receipt::Stdio,
    ucan::MAX_CHAIN,
};
use cid::Cid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The largest bundle accepted, in bytes: 256 MiB.
pub const MAX_BUNDLE_BYTES: usize = 256 << 20;

/// A receipt with everything that it names. `C` is what is at hand of its component: all of it here, and in a
/// [`PartialBundle`] perhaps no more than the id that the receipt has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle<C = Vec<u8>> {
    /// The receipt, the archive's root.
    pub receipt: Signed<Receipt>,
    /// The release the action was called by, if known: it gives arguments and output their types.
    pub release: Option<Signed<Release>>,
    /// The component's binary.
    pub component: C,
    /// The canonical encoding of the arguments.
    pub args: Vec<u8>,
    /// The canonical encoding of the output; absent when the action returned nothing to encode: it was denied, ran out
    /// of something or trapped.
    pub output: Option<Vec<u8>>,
    /// The canonical encoding of the [`Journal`].
    pub journal: Vec<u8>,
    /// The bodies the journal names by id.
    pub bodies: Bodies,
    /// The canonical encoding of the [`Stdio`]; absent when the guest wrote nothing.
    pub stdio: Option<Vec<u8>>,
    /// The signed request that the receipt answers, where it names one and it is at hand.
    pub invocation: Option<Signed<Invocation>>,
    /// The delegations that the receipt names as its authority, the root first, as far as they are at hand.
    pub proofs: Vec<Proof>,
    /// What the provider's platform says of the receipt, if known. No check of a bundle says whether it holds.
    pub attestation: Option<Attestation>,
}

/// A receipt with everything that it names except, perhaps, its component.
pub type PartialBundle = Bundle<Option<Vec<u8>>>;

/// What a block of a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// The signed verdict, of a fraud proof.
    Verdict,
    /// The signed receipt.
    Receipt,
    /// The encoded arguments.
    Args,
    /// The encoded output.
    Output,
    /// The journal.
    Journal,
    /// A body the journal names.
    Body,
    /// What the guest wrote to its standard streams.
    Stdio,
    /// The component's binary.
    Component,
    /// The signed request.
    Invocation,
    /// A delegation by which it ran.
    Delegation,
    /// The signed release.
    Release,
    /// What the provider's platform says of the receipt.
    Attestation,
}

impl std::fmt::Display for BlockKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Verdict => "verdict",
            Self::Receipt => "receipt",
            Self::Args => "arguments",
            Self::Output => "output",
            Self::Journal => "journal",
            Self::Body => "body of the journal",
            Self::Stdio => "stdio",
            Self::Component => "component",
            Self::Invocation => "invocation",
            Self::Delegation => "delegation",
            Self::Release => "release",
            Self::Attestation => "attestation",
        })
    }
}

/// Which check a bundle failed, and on which block. Blocks are counted from 1, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// More bytes than [`MAX_BUNDLE_BYTES`]; nothing was read.
    #[error("the bundle has {actual} bytes where at most {MAX_BUNDLE_BYTES} are allowed")]
    TooLarge {
        /// Bytes received.
        actual: usize,
    },
    /// The header is not the canonical header of a CARv1 with one root.
    #[error("the bundle's header is not that of a CARv1 archive with one root: {0}")]
    Header(DecodeError),
    /// A length is not a varint in its shortest form. Block 0 is the header.
    #[error("block {block}: its length is not a varint in its shortest form")]
    Length {
        /// Which block.
        block: usize,
    },
    /// The file ends inside a block. Block 0 is the header.
    #[error("block {block}: the file is cut short inside it")]
    CutShort {
        /// Which block.
        block: usize,
    },
    /// A block does not begin with a CID.
    #[error("block {block}: it does not begin with a CIDv1")]
    Cid {
        /// Which block.
        block: usize,
    },
    /// A block's bytes are not those its CID names.
    #[error("block {block}: its bytes are not those that {cid} names")]
    Hash {
        /// Which block.
        block: usize,
        /// What it claims to be.
        cid: Cid,
    },
    /// A block occurs a second time.
    #[error("block {block}: {cid} is there already")]
    Duplicate {
        /// Which block.
        block: usize,
        /// Its id.
        cid: Cid,
    },
    /// The first block is not the header's root.
    #[error("the first block is not {root}, which the header names as its root")]
    Root {
        /// The root.
        root: Cid,
    },
    /// The receipt is not a validly signed receipt.
    #[error("the receipt is refused: {0}")]
    Receipt(#[source] EnvelopeError),
    /// The verdict of a fraud proof is not a validly signed verdict.
    #[error("the verdict is refused: {0}")]
    Verdict(#[source] EnvelopeError),
    /// The verdict of a fraud proof does not say that its receipt diverged: it accuses nobody.
    #[error("its verdict does not say that the receipt diverged")]
    NotDiverged,
    /// The verdict of a fraud proof is about another provider than the one that signed the receipt.
    #[error("its verdict is about {verdict}, and the receipt is {receipt}'s")]
    OtherProvider {
        /// Whom the verdict is about.
        verdict: Box<Did>,
        /// Whose the receipt is.
        receipt: Box<Did>,
    },
    /// A block that the receipt or its journal names is not there.
    #[error("the {kind} ({cid}), which the receipt or its journal names, is missing")]
    Missing {
        /// What it is.
        kind: BlockKind,
        /// Its id.
        cid: Cid,
    },
    /// A block is there that the receipt or its journal names, but not in its place.
    #[error("block {block}: {cid} is out of order")]
    Order {
        /// Which block.
        block: usize,
        /// Its id.
        cid: Cid,
    },
    /// A block is there that neither receipt nor journal names, and that is neither the release of its component nor an
    /// attestation of the receipt.
    #[error("block {block}: {cid} has no place in this bundle")]
    Stranger {
        /// Which block.
        block: usize,
        /// Its id.
        cid: Cid,
    },
    /// The invocation, or a delegation, is not one that its issuer signed.
    #[error("the {kind} {cid} is refused: {source}")]
    Token {
        /// Which of the two.
        kind: BlockKind,
        /// Its id.
        cid: Cid,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// The release is not a validly signed release.
    #[error("the release is refused: {0}")]
    Release(#[source] EnvelopeError),
    /// The release is of another component than the receipt's.
    #[error("the release is of component {release}, the receipt of {receipt}")]
    OtherComponent {
        /// The component the release names.
        release: Box<ComponentId>,
        /// The component the receipt names.
        receipt: Box<ComponentId>,
    },
    /// The attestation is of another receipt.
    #[error("the attestation is of receipt {attestation}, and this is {receipt}")]
    OtherReceipt {
        /// The receipt the attestation is of.
        attestation: Box<ReceiptId>,
        /// The receipt.
        receipt: Box<ReceiptId>,
    },
    /// The journal, the captured stdio or the attestation is not a canonical encoding of such.
    #[error("the {kind} is refused: {source}")]
    Block {
        /// Which of the three.
        kind: BlockKind,
        /// What is wrong with it.
        source: DecodeError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

/// The longest header there is: one root.
const MAX_HEADER_BYTES: usize = 128;

/// The most blocks there are: the ten kinds that come once, the longest chain, and as many bodies as fit.
const MAX_BLOCKS: usize = 10 + MAX_CHAIN + MAX_BUNDLE_BYTES / Body::MAX_INLINE;

impl Bundle {
    /// The archive's bytes: receipt, arguments, output, journal, the journal's bodies in the order in which it first names
    /// them, stdio, component, invocation, delegations with the root first, release, attestation.
    ///
    /// Equal blocks are written once, at the first place. A bundle whose parts are not those its receipt names can be
    /// written, and is refused by every reader.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(&self.blocks(Some(&self.component)))
    }

    /// Reads a bundle and checks all that can be checked without executing: every block against its CID, the
    /// signatures, and that it holds what receipt and journal name, in order, and nothing else but a release of its component
    /// and an attestation of the receipt, of which nothing more is checked.
    /// The invocation and the delegations may be missing: they say by what authority it ran, and nobody needs them to
    /// run it again.
    ///
    /// Any change to any byte of a bundle is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { actual: bytes.len() });
        }
        let mut blocks = Blocks::read(bytes)?;

        let receipt = blocks.first()?;
        PartialBundle::read(&mut blocks, receipt, true)?.whole()
    }
}

impl<C> Bundle<C> {
    /// The same, with this for its component.
    pub fn with_component<D>(self, component: D) -> Bundle<D> {
        Bundle {
            component,
            receipt: self.receipt,
            release: self.release,
            args: self.args,
            output: self.output,
            journal: self.journal,
            bodies: self.bodies,
            stdio: self.stdio,
            invocation: self.invocation,
            proofs: self.proofs,
            attestation: self.attestation,
        }
    }

    /// Its blocks in their order, the receipt first, with this component. Equal ones may be among them.
    pub(crate) fn blocks<'a>(&'a self, component: Option<&'a [u8]>) -> Vec<Block<'a>> {
        let receipt = self.receipt.bytes();
        let mut blocks =
            vec![(cid_of(DAG_CBOR, receipt), receipt), (cid_of(RAW, &self.args), self.args.as_slice())];
        blocks.extend(self.output.as_deref().map(|b| (cid_of(RAW, b), b)));
        blocks.push((cid_of(DAG_CBOR, &self.journal), self.journal.as_slice()));
        let named = codec::decode::<Journal>(&self.journal, Journal::MAX_BYTES).map(|j| j.bodies());
        let bodies = named.iter().flatten().filter_map(|id| self.bodies.get(id));
        blocks.extend(bodies.map(|b| (cid_of(RAW, b), b.as_slice())));
        blocks.extend(self.stdio.as_deref().map(|b| (cid_of(RAW, b), b)));
        blocks.extend(component.map(|b| (cid_of(RAW, b), b)));
        let tokens = self.invocation.iter().map(Signed::bytes).chain(self.proofs.iter().map(Proof::bytes));
        let release = self.release.iter().map(Signed::bytes);
        let attestation = self.attestation.iter().map(Attestation::bytes);
        blocks.extend(tokens.chain(release).chain(attestation).map(|bytes| (cid_of(DAG_CBOR, bytes), bytes)));
        blocks
    }
}

impl From<Bundle> for PartialBundle {
    fn from(mut bundle: Bundle) -> Self {
        let component = std::mem::take(&mut bundle.component);
        bundle.with_component(Some(component))
    }
}

impl PartialBundle {
    /// The whole bundle, where its component is there.
    pub fn whole(mut self) -> Result<Bundle, BundleError> {
        let cid = *self.receipt.payload().action.component.cid();
        let missing = BundleError::Missing { kind: BlockKind::Component, cid };
        let component = self.component.take().ok_or(missing)?;
        Ok(self.with_component(component))
    }

    /// Takes the blocks that follow a receipt's, to the last, and checks them as [`Bundle::from_bytes`] says.
    pub(crate) fn read(blocks: &mut Blocks<'_>, receipt: &[u8], whole: bool) -> Result<Self, BundleError> {
        let receipt: Signed<Receipt> = Signed::verify(receipt).map_err(BundleError::Receipt)?;
        let said = receipt.payload();
        let journal = blocks.get(said.journal.cid()).unwrap_or_default();
        let journal = codec::decode::<Journal>(journal, Journal::MAX_BYTES)
            .map_err(|source| BundleError::Block { kind: BlockKind::Journal, source });
        let bodies = journal.as_ref().map(Journal::bodies).unwrap_or_default();
        let mut named = vec![(BlockKind::Args, *said.action.args.cid())];
        named.extend(said.outcome.output().map(|id| (BlockKind::Output, *id.cid())));
        named.push((BlockKind::Journal, *said.journal.cid()));
        named.extend(bodies.iter().map(|id| (BlockKind::Body, *id.cid())));
        named.extend(said.stdio.as_ref().map(|id| (BlockKind::Stdio, *id.cid())));
        named.push((BlockKind::Component, *said.action.component.cid()));
        let chain: &[DelegationId] = match &said.authority {
            Authority::Granted(chain) => chain,
            _ => &[],
        };
        named.extend(said.invocation.as_ref().map(|id| (BlockKind::Invocation, *id.cid())));
        named.extend(chain.iter().map(|id| (BlockKind::Delegation, *id.cid())));
        for (kind, cid) in &named {
            let optional = match kind {
                BlockKind::Invocation | BlockKind::Delegation => true,
                BlockKind::Component => !whole,
                _ => false,
            };
            if optional && blocks.get(cid).is_none() {
                continue;
            }
            blocks.pass(*kind, cid, &named)?;
            if *kind == BlockKind::Journal
                && let Err(malformed) = journal
            {
                return Err(malformed);
            }
        }
        let (release, attestation) = blocks.rest()?;
        let release = match release {
            Some((block, (cid, bytes))) => Some(read_release(block, cid, bytes, &said.action.component)?),
            None => None,
        };
        let attestation = attestation.map(|bytes| read_attestation(bytes, receipt.id())).transpose()?;

        let get = |cid: &Cid, kind| {
            let bytes = blocks.get(cid).map(<[u8]>::to_vec);
            bytes.ok_or(BundleError::Missing { kind, cid: *cid })
        };
        let blob = |id: Option<&BlobId>, kind| id.map(|id| get(id.cid(), kind)).transpose();
        let body = |id: BlobId| Ok((id, get(id.cid(), BlockKind::Body)?));
        let bodies = bodies.into_iter().map(body).collect::<Result<Bodies, BundleError>>()?;
        let stdio = blob(said.stdio.as_ref(), BlockKind::Stdio)?;
        if let Some(stdio) = &stdio {
            codec::decode::<Stdio>(stdio, MAX_BUNDLE_BYTES)
                .map_err(|source| BundleError::Block { kind: BlockKind::Stdio, source })?;
        }
        let token = |kind, cid: Cid| move |source| BundleError::Token { kind, cid, source };
        let invocation = said.invocation.as_ref().and_then(|id| Some((id.cid(), blocks.get(id.cid())?)));
        let invocation = invocation
            .map(|(cid, bytes)| Signed::verify(bytes).map_err(token(BlockKind::Invocation, *cid)))
            .transpose()?;
        let proofs = chain.iter().filter_map(|id| Some((id.cid(), blocks.get(id.cid())?)));
        let proofs = proofs
            .map(|(cid, bytes)| Proof::read(bytes).map_err(token(BlockKind::Delegation, *cid)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            component: blocks.get(said.action.component.cid()).map(<[u8]>::to_vec),
            args: get(said.action.args.cid(), BlockKind::Args)?,
            output: blob(said.outcome.output(), BlockKind::Output)?,
            journal: get(said.journal.cid(), BlockKind::Journal)?,
            bodies,
            stdio,
            invocation,
            proofs,
            release,
            attestation,
            receipt,
        })
    }
}

/// An archive of these blocks, the first of which is its root. Equal blocks are written once, at the first place.
pub(crate) fn write(blocks: &[Block<'_>]) -> Vec<u8> {
    let size: usize = blocks.iter().map(|(_, b)| b.len() + 64).sum();
    let mut out = Vec::with_capacity(size + MAX_HEADER_BYTES);
    let roots = blocks.first().map(|(root, _)| *root).into_iter().collect();
    let header = codec::encode(&Header { roots, version: 1 });
    put_length(&mut out, header.len());
    out.extend_from_slice(&header);
    let mut written = BTreeSet::new();
    for (cid, bytes) in blocks {
        if !written.insert(cid) {
            continue;
        }
        let id = cid.to_bytes();
        put_length(&mut out, id.len() + bytes.len());
        out.extend_from_slice(&id);
        out.extend_from_slice(bytes);
    }
    out
}

fn read_release(
    block: usize,
    cid: Cid,
    bytes: &[u8],
    component: &ComponentId,
) -> Result<Signed<Release>, BundleError> {
    if cid.codec() != DAG_CBOR {
        return Err(BundleError::Stranger { block, cid });
    }
    let release: Signed<Release> = Signed::verify(bytes).map_err(BundleError::Release)?;
    let named = release.payload().component;
    if named != *component {
        return Err(BundleError::OtherComponent { release: Box::new(named), receipt: Box::new(*component) });
    }
    Ok(release)
}

fn read_attestation(bytes: &[u8], receipt: ReceiptId) -> Result<Attestation, BundleError> {
    let attestation = Attestation::read(bytes)
        .map_err(|source| BundleError::Block { kind: BlockKind::Attestation, source })?;
    if *attestation.receipt() != receipt {
        let (attestation, receipt) = (Box::new(*attestation.receipt()), Box::new(receipt));
        return Err(BundleError::OtherReceipt { attestation, receipt });
    }
    Ok(attestation)
}

fn put_length(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(unsigned_varint::encode::usize(n, &mut unsigned_varint::encode::usize_buffer()));
}

/// Splits a length and as many bytes off the front. Block 0 is the header.
pub(crate) fn split_section(bytes: &[u8], block: usize) -> Result<(&[u8], &[u8]), BundleError> {
    let (length, rest) = unsigned_varint::decode::u64(bytes).map_err(|e| match e {
        unsigned_varint::decode::Error::Insufficient => BundleError::CutShort { block },
        _ => BundleError::Length { block },
    })?;
    let length = usize::try_from(length).map_err(|_| BundleError::CutShort { block })?;
    rest.split_at_checked(length).ok_or(BundleError::CutShort { block })
}

pub(crate) type Block<'a> = (Cid, &'a [u8]);

/// A release, with its number, and the bytes of an attestation.
type Rest<'a> = (Option<(usize, Block<'a>)>, Option<&'a [u8]>);

/// The blocks of a file, gone through in order.
pub(crate) struct Blocks<'a> {
    root: Cid,
    blocks: Vec<Block<'a>>,
    places: BTreeMap<Cid, usize>,
    next: usize,
}

impl<'a> Blocks<'a> {
    /// The root and the blocks, each checked against its CID.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let (header, mut rest) = split_section(bytes, 0)?;
        let header: Header = codec::decode(header, MAX_HEADER_BYTES).map_err(BundleError::Header)?;
        let root = match (header.roots.as_slice(), header.version) {
            ([root], 1) => *root,
            (roots, version) => {
                let what = format!("{} roots, version {version}", roots.len());
                return Err(BundleError::Header(DecodeError::Invalid(what)));
            }
        };
        let mut read = Self { root, blocks: Vec::new(), places: BTreeMap::new(), next: 0 };
        while !rest.is_empty() {
            let number = read.blocks.len() + 1;
            let (section, after) = split_section(rest, number)?;
            let mut content = section;
            let cid = Cid::read_bytes(&mut content).map_err(|_| BundleError::Cid { block: number })?;
            // Reading a CID is lenient about its varints; what it re-encodes to is not.
            let id = cid.to_bytes();
            if section.strip_prefix(id.as_slice()) != Some(content) {
                return Err(BundleError::Cid { block: number });
            }
            if number > MAX_BLOCKS {
                return Err(BundleError::Stranger { block: number, cid });
            }
            if cid_of(cid.codec(), content) != cid {
                return Err(BundleError::Hash { block: number, cid });
            }
            if read.places.insert(cid, number - 1).is_some() {
                return Err(BundleError::Duplicate { block: number, cid });
            }
            read.blocks.push((cid, content));
            rest = after;
        }
        Ok(read)
    }

    /// Every block, in the order of the file.
    pub(crate) fn all(&self) -> &[Block<'a>] {
        &self.blocks
    }

    /// All of them, in the order of the file.
    pub(crate) fn in_order(&self) -> &[Block<'a>] {
        &self.blocks
    }

    pub(crate) fn get(&self, cid: &Cid) -> Option<&'a [u8]> {
        self.places.get(cid).and_then(|at| self.blocks.get(*at)).map(|(_, bytes)| *bytes)
    }

    pub(crate) fn first(&mut self) -> Result<&'a [u8], BundleError> {
        match self.blocks.first() {
            Some((cid, bytes)) if *cid == self.root && cid.codec() == DAG_CBOR => {
                self.next = 1;
                Ok(bytes)
            }
            _ => Err(BundleError::Root { root: self.root }),
        }
    }

    /// Steps over the block that must come next, unless it came before as another kind.
    pub(crate) fn pass(
        &mut self,
        kind: BlockKind,
        cid: &Cid,
        named: &[(BlockKind, Cid)],
    ) -> Result<(), BundleError> {
        match self.places.get(cid).copied() {
            Some(at) if at < self.next => Ok(()),
            Some(at) if at == self.next => {
                self.next += 1;
                Ok(())
            }
            None => Err(BundleError::Missing { kind, cid: *cid }),
            Some(_) => {
                let block = self.next + 1;
                match self.blocks.get(self.next) {
                    Some((cid, _)) if named.iter().any(|(_, n)| n == cid) => {
                        Err(BundleError::Order { block, cid: *cid })
                    }
                    Some((cid, _)) => Err(BundleError::Stranger { block, cid: *cid }),
                    None => Err(BundleError::Missing { kind, cid: *cid }),
                }
            }
        }
    }

    /// What may follow: a release, with its number, and the bytes of an attestation.
    fn rest(&self) -> Result<Rest<'a>, BundleError> {
        let attests = |(cid, bytes): &Block<'_>| cid.codec() == DAG_CBOR && Attestation::begins(bytes);
        let first = self.next + 1;
        match self.blocks.get(self.next..).unwrap_or_default() {
            [] => Ok((None, None)),
            [one] if attests(one) => Ok((None, Some(one.1))),
            [one] => Ok((Some((first, *one)), None)),
            [one, two] if attests(two) => Ok((Some((first, *one)), Some(two.1))),
            [_, two, (cid, _), ..] if attests(two) => {
                Err(BundleError::Stranger { block: first + 2, cid: *cid })
            }
            [_, (cid, _), ..] => Err(BundleError::Stranger { block: first + 1, cid: *cid }),
        }
    }
}
