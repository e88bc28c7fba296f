//! A flow after the fact: several actions, some fed with others' outputs, as one signed record and one self-contained file.
//!
//! The file is a CAR archive as a [bundle](crate::bundle) is. Its root and first block is the record; then follow the plan,
//! the inputs, and for each step, in the order of the record, the blocks of its bundle. A block that several steps share, as
//! a component, is there once. The record names every block, so one flow has one byte string.
//!
//! What a plan and inputs mean is not this crate's to say: here they are bytes. Whoever reads plans checks that the outputs
//! were wired into the arguments as the plan has it; re-execution shows whether the outputs were true.

use crate::{
    BlobId, Did, EnvelopeError, FlowId, ReceiptId, Signed, Statement,
    bundle::{Block, Blocks, Bundle, BundleError, MAX_BUNDLE_BYTES, write},
    codec,
    id::{DAG_CBOR, RAW, cid_of},
    text,
};
use cid::Cid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most steps of a flow: 64. A plan is for a person to read.
pub const MAX_STEPS: usize = 64;
/// The largest plan, in bytes: 256 KiB.
pub const MAX_PLAN_BYTES: usize = 256 << 10;
/// The largest inputs, in bytes of their JSON: 16 MiB, which leaves room in an argument for more than one.
pub const MAX_INPUTS_BYTES: usize = 16 << 20;
/// The most references in one step's arguments: 256.
pub const MAX_FEEDS: usize = 256;
/// The longest name of a flow, step or input, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest place within arguments, in bytes: a path through nested fields.
pub const MAX_PLACE_BYTES: usize = 1024;
/// The largest flow's file accepted, in bytes: as large as a bundle's.
pub const MAX_FLOW_BYTES: usize = MAX_BUNDLE_BYTES;
/// What the bundles of a flow's steps may have together when each stands for itself, in bytes: 1 GiB. Steps share blocks in
/// the file, so without it a small file could fill a reader's memory.
pub const MAX_UNPACKED_BYTES: usize = 1 << 30;

/// These actions were one flow: this plan, with these inputs, wired so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRecord {
    /// Who ran it: the requester of every action, who signs.
    pub iss: Did,
    /// When it was complete, by the requester's clock, in seconds since the Unix epoch.
    pub iat: u64,
    /// What the plan calls the flow.
    pub name: String,
    /// The plan.
    pub plan: BlobId,
    /// The inputs.
    pub inputs: BlobId,
    /// The steps, in the order of the plan: 1 to [`MAX_STEPS`].
    pub steps: Vec<FlowStep>,
}

/// One step of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowStep {
    /// What the plan calls it.
    pub name: String,
    /// How its action ended.
    pub receipt: ReceiptId,
    /// Which steps' outputs went into its arguments, and where: in the order of the places. At most [`MAX_FEEDS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fed: Vec<Feed>,
    /// The blocks of its bundle in their order, the receipt first.
    pub blocks: Vec<Cid>,
}

/// An output that went into an argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Where in the plan's arguments, as `args.options[0].text`.
    pub into: String,
    /// The step whose output it is.
    pub step: String,
}

/// Whether a flow, step or input can be called so: 1 to [`MAX_NAME_BYTES`] of `a-z`, `0-9`, `-` and `_`.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[derive(Serialize)]
struct Identity<'a> {
    inputs: &'a BlobId,
    plan: &'a BlobId,
}

impl FlowId {
    /// The id of a plan run with these inputs: the same for whoever runs it, and whenever.
    pub fn of_plan(plan: &BlobId, inputs: &BlobId) -> Self {
        Self::of(&codec::encode(&Identity { inputs, plan }))
    }
}

impl FlowStep {
    /// A step of this name, whose action has this bundle.
    pub fn of(name: &str, bundle: &Bundle, fed: Vec<Feed>) -> Self {
        let mut seen = BTreeSet::new();
        let blocks = bundle.blocks(Some(&bundle.component)).into_iter().map(|(cid, _)| cid);
        let blocks = blocks.filter(|cid| seen.insert(*cid)).collect();
        Self { name: name.to_owned(), receipt: bundle.receipt.id(), fed, blocks }
    }

    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("step {:?}: {what}", self.name));
        if !is_name(&self.name) {
            return wrong("that is no step's name");
        }
        if self.blocks.first() != Some(self.receipt.cid()) {
            return wrong("its first block is not its receipt");
        }
        if self.blocks.iter().collect::<BTreeSet<_>>().len() != self.blocks.len() {
            return wrong("a block is named twice");
        }
        if self.fed.len() > MAX_FEEDS || !self.fed.is_sorted_by(|a, b| a < b) {
            return wrong("its feeds are too many, unsorted, or one occurs twice");
        }
        for feed in &self.fed {
            if !is_name(&feed.step) || feed.into.is_empty() || feed.into.len() > MAX_PLACE_BYTES {
                return wrong("a feed names no place or no step");
            }
            text::one_line("a feed's place", &feed.into)?;
        }
        Ok(())
    }
}

impl Statement for FlowRecord {
    const TAG: &'static str = "actum/flow@1";
    /// Room for some 25,000 blocks: 64 steps of a dozen each are a few tens of KiB, and the rest is for journals with bodies.
    const MAX_BYTES: usize = 1 << 20;

    fn issuer(&self) -> Did {
        self.iss
    }

    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            return Err("that is no flow's name".to_owned());
        }
        if !(1..=MAX_STEPS).contains(&self.steps.len()) {
            return Err(format!("{} steps where 1 to {MAX_STEPS} are allowed", self.steps.len()));
        }
        self.steps.iter().try_for_each(FlowStep::check)?;
        let names: BTreeSet<_> = self.steps.iter().map(|s| s.name.as_str()).collect();
        if names.len() != self.steps.len() {
            return Err("two steps have the same name".to_owned());
        }
        let receipts: BTreeSet<_> = self.steps.iter().map(|s| s.receipt).collect();
        if receipts.len() != self.steps.len() {
            return Err("two steps have the same receipt".to_owned());
        }
        let stranger = |f: &&Feed| !names.contains(f.step.as_str());
        match self.steps.iter().flat_map(|s| &s.fed).find(stranger) {
            Some(feed) => Err(format!("step {:?} feeds another and is not there", feed.step)),
            None => Ok(()),
        }
    }
}

impl FlowRecord {
    /// The flow's id.
    pub fn flow(&self) -> FlowId {
        FlowId::of_plan(&self.plan, &self.inputs)
    }
}

/// A flow with everything that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowBundle {
    /// The record, the archive's root.
    pub record: Signed<FlowRecord>,
    /// The plan, in its canonical form.
    pub plan: Vec<u8>,
    /// The inputs, in their canonical form.
    pub inputs: Vec<u8>,
    /// Each step's own bundle, in the order of the record.
    pub steps: Vec<Bundle>,
}

/// Which check a flow's file failed. Blocks are counted from 1, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub enum FlowBundleError {
    /// More bytes than [`MAX_FLOW_BYTES`]; nothing was read.
    #[error("the flow has {actual} bytes where at most {MAX_FLOW_BYTES} are allowed")]
    TooLarge {
        /// Bytes received.
        actual: usize,
    },
    /// It is not an archive as bundles are, whatever is in it.
    #[error(transparent)]
    Archive(BundleError),
    /// The record is not a validly signed record.
    #[error("the flow's record is refused: {0}")]
    Record(#[source] EnvelopeError),
    /// A block that the record names is not there.
    #[error("the {what} ({cid}), which the flow's record names, is missing")]
    Missing {
        /// What it is.
        what: &'static str,
        /// Its id.
        cid: Cid,
    },
    /// The plan or the inputs are larger than any.
    #[error("the {what} has {actual} bytes where at most {limit} are allowed")]
    Part {
        /// Which of the two.
        what: &'static str,
        /// Bytes found.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A block is there that the record does not name, or not in its place.
    #[error("block {block}: {cid} has no place there")]
    Order {
        /// Which block.
        block: usize,
        /// Its id.
        cid: Cid,
    },
    /// The steps' bundles have together more than [`MAX_UNPACKED_BYTES`].
    #[error("the steps' bundles have together more than the {MAX_UNPACKED_BYTES} bytes that are allowed")]
    Unpacked,
    /// A step's blocks are not its receipt's bundle.
    #[error("step {step:?}: its blocks are no bundle: {source}")]
    Step {
        /// The step.
        step: String,
        /// Which check they failed.
        source: BundleError,
    },
}

impl FlowBundle {
    /// The archive's bytes: record, plan, inputs, and the blocks of each step's bundle. Equal blocks are written once, at the
    /// first place.
    ///
    /// A flow whose parts are not those its record names can be written, and is refused by every reader.
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = self.record.bytes();
        let mut blocks = vec![
            (cid_of(DAG_CBOR, record), record),
            (cid_of(RAW, &self.plan), self.plan.as_slice()),
            (cid_of(RAW, &self.inputs), self.inputs.as_slice()),
        ];
        // Each step hashes its component anew: flows are written once, and are few.
        blocks.extend(self.steps.iter().flat_map(|step| step.blocks(Some(&step.component))));
        write(&blocks)
    }

    /// Reads a flow and checks all that can be checked without executing and without reading its plan: every block against
    /// its CID, the record's signature, that the blocks are those it names in their order and no others, and each step's
    /// bundle as [`Bundle::from_bytes`] does.
    ///
    /// Any change to any byte of a flow is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FlowBundleError> {
        if bytes.len() > MAX_FLOW_BYTES {
            return Err(FlowBundleError::TooLarge { actual: bytes.len() });
        }
        let mut blocks = Blocks::read(bytes).map_err(FlowBundleError::Archive)?;
        let first = blocks.first().map_err(FlowBundleError::Archive)?;
        let record: Signed<FlowRecord> = Signed::verify(first).map_err(FlowBundleError::Record)?;
        let said = record.payload();
        let get = |what, cid: &Cid| blocks.get(cid).ok_or(FlowBundleError::Missing { what, cid: *cid });
        let part = |what, cid, limit| {
            let bytes = get(what, cid)?;
            let actual = bytes.len();
            if actual > limit {
                Err(FlowBundleError::Part { what, actual, limit })
            } else {
                Ok(bytes.to_vec())
            }
        };
        let plan = part("plan", said.plan.cid(), MAX_PLAN_BYTES)?;
        let inputs = part("inputs", said.inputs.cid(), MAX_INPUTS_BYTES)?;
        in_order(&blocks, said)?;
        let (mut steps, mut unpacked) = (Vec::with_capacity(said.steps.len()), 0_usize);
        for step in &said.steps {
            let own = step.blocks.iter().map(|cid| Ok((*cid, get("block of a step", cid)?)));
            let own = own.collect::<Result<Vec<Block<'_>>, FlowBundleError>>()?;
            let bytes: usize = own.iter().map(|(_, bytes)| bytes.len()).sum();
            unpacked = unpacked.saturating_add(bytes);
            if unpacked > MAX_UNPACKED_BYTES {
                return Err(FlowBundleError::Unpacked);
            }
            let refused = |source| FlowBundleError::Step { step: step.name.clone(), source };
            steps.push(Bundle::from_bytes(&write(&own)).map_err(refused)?);
        }
        Ok(Self { plan, inputs, steps, record })
    }

    /// Each step's bundle, which stands for itself, in the order of the record.
    pub fn bundles(self) -> Vec<Bundle> {
        self.steps
    }
}

/// Whether the file's blocks are those the record names, in that order, each once.
fn in_order(blocks: &Blocks<'_>, said: &FlowRecord) -> Result<(), FlowBundleError> {
    let steps = said.steps.iter().flat_map(|step| &step.blocks);
    let mut place = BTreeMap::new();
    // The first is the record, which the header names and the reader has taken.
    for cid in [said.plan.cid(), said.inputs.cid()].into_iter().chain(steps) {
        let next = place.len() + 1;
        place.entry(*cid).or_insert(next);
    }
    let there = blocks.in_order();
    for (at, (cid, _)) in there.iter().enumerate().skip(1) {
        if place.get(cid) != Some(&at) {
            return Err(FlowBundleError::Order { block: at + 1, cid: *cid });
        }
    }
    match place.iter().find(|(_, at)| **at >= there.len()) {
        Some((cid, _)) => Err(FlowBundleError::Missing { what: "block of a step", cid: *cid }),
        None => Ok(()),
    }
}
