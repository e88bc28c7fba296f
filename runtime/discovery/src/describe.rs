//! From a release to a provider's descriptor of it, and back: does this descriptor say what its release says?

use crate::Validity;
use actum_model::{
    BlobId, Descriptor, Did, Limits, ProfileId, Region, Release, Signed, Statement, Tier, VerdictId, codec,
    descriptor::Offered, release::manifest,
};
use std::collections::BTreeSet;

/// The longest first line of docs in a descriptor, in bytes.
const DOCS_BYTES: usize = 120;
/// The longest signature in a descriptor, in bytes.
const SIGNATURE_BYTES: usize = 240;
/// The most functions in a descriptor.
const FUNCTIONS: usize = 16;
/// What an envelope adds to its payload, in bytes: array head, signature, varsig header, keys and tag.
const ENVELOPE_BYTES: usize = 3 + 64 + 4 + 8 + 1 + Descriptor::TAG.len();

/// Why a release cannot be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    /// Even without its functions the descriptor would be too large: the version is very long.
    #[error("its descriptor would have {actual} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Bytes it would have.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The life is not one a descriptor may have.
    #[error("a descriptor lives 1 to {} seconds, not {life}", Descriptor::MAX_LIFE)]
    Life {
        /// Seconds asked for.
        life: u64,
    },
}

/// On what terms a provider offers a release.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// The profile it executes under.
    pub profile: ProfileId,
    /// The largest limits it accepts.
    pub limits: Limits,
    /// What a million units of fuel cost, in fuel credits.
    pub price: u64,
    /// Where it is.
    pub region: Option<Region>,
    /// Whether anyone may call.
    pub public: bool,
    /// The tiers it lets itself be held to.
    pub tiers: BTreeSet<Tier>,
    /// Verdicts it points to, at most 8.
    pub verdicts: Vec<VerdictId>,
}

/// The descriptor a provider signs to offer a release, with the sequence number and the life of `validity`.
///
/// Docs are cut to their first line and a tab becomes a space; docs and signatures to their bounds. If the signed descriptor would still exceed
/// its bound of 4 KiB, docs are left out first, then signatures, then whole functions, each from the last one backwards.
pub fn descriptor_for(
    release: &Signed<Release>,
    provider: Did,
    conditions: Conditions,
    validity: Validity,
) -> Result<Descriptor, DescribeError> {
    let Validity { seq, nbf, exp } = validity;
    let life = exp.saturating_sub(nbf);
    if !(1..=Descriptor::MAX_LIFE).contains(&life) {
        return Err(DescribeError::Life { life });
    }
    let (id, release) = (release.id(), release.payload());
    let descriptor = Descriptor {
        iss: provider,
        release: id,
        author: release.iss,
        name: release.name.clone(),
        version: release.version.clone(),
        component: release.component,
        component_bytes: release.component_bytes,
        manifest: BlobId::of(&manifest(&release.chunks)),
        intent: release.intent.clone(),
        tags: release.tags.clone(),
        functions: offered(release).take(FUNCTIONS).collect(),
        permissions: release.permissions.clone(),
        profile: conditions.profile,
        limits: conditions.limits,
        price: conditions.price,
        region: conditions.region,
        public: conditions.public,
        tiers: conditions.tiers,
        verdicts: conditions.verdicts,
        seq,
        nbf,
        exp,
    };
    fit(descriptor)
}

fn offered(release: &Release) -> impl Iterator<Item = Offered> + '_ {
    release.functions.iter().map(|f| Offered {
        name: f.name.clone(),
        docs: cut(
            &f.docs.trim().lines().next().unwrap_or_default().trim_end().replace('\t', " "),
            DOCS_BYTES,
        ),
        signature: cut(&f.to_string(), SIGNATURE_BYTES),
    })
}

/// The text, or as much of it as fits with an ellipsis.
fn cut(text: &str, limit: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit - ELLIPSIS.len_utf8());
    let mut short = text.get(..end).unwrap_or_default().to_owned();
    short.push(ELLIPSIS);
    short
}

fn fit(mut descriptor: Descriptor) -> Result<Descriptor, DescribeError> {
    let limit = Descriptor::MAX_BYTES;
    let size = |d: &Descriptor| ENVELOPE_BYTES + codec::encode(d).len();
    let leave_out: [fn(&mut Offered); 2] = [|f| f.docs.clear(), |f| f.signature.clear()];
    for part in leave_out {
        for n in (0..descriptor.functions.len()).rev() {
            if size(&descriptor) <= limit {
                return Ok(descriptor);
            }
            if let Some(function) = descriptor.functions.get_mut(n) {
                part(function);
            }
        }
    }
    while size(&descriptor) > limit {
        if descriptor.functions.pop().is_none() {
            return Err(DescribeError::TooLarge { actual: size(&descriptor), limit });
        }
    }
    Ok(descriptor)
}

/// Where a descriptor says something else than its release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the descriptor's {field} is {descriptor}; its release says {release}")]
pub struct Disagreement {
    /// The field.
    pub field: &'static str,
    /// What the descriptor says.
    pub descriptor: String,
    /// What the release says.
    pub release: String,
}

/// Checks that a descriptor says what its release says, of everything the author decided. Docs and signatures may be
/// left out, and functions missing from the end; nothing may differ.
pub fn agrees(descriptor: &Descriptor, release: &Signed<Release>) -> Result<(), Disagreement> {
    let (r, d) = (release.payload(), descriptor);
    let fields = [
        ("release", d.release.to_string(), release.id().to_string()),
        ("author", d.author.to_string(), r.iss.to_string()),
        ("name", d.name.to_string(), r.name.to_string()),
        ("version", d.version.to_string(), r.version.to_string()),
        ("component", d.component.to_string(), r.component.to_string()),
        ("component_bytes", d.component_bytes.to_string(), r.component_bytes.to_string()),
        ("manifest", d.manifest.to_string(), BlobId::of(&manifest(&r.chunks)).to_string()),
        ("permissions", format!("{:?}", d.permissions), format!("{:?}", r.permissions)),
        ("intent", format!("{:?}", d.intent), format!("{:?}", r.intent)),
        ("tags", format!("{:?}", d.tags), format!("{:?}", r.tags)),
    ];
    let differ = |field, descriptor, release| Disagreement { field, descriptor, release };
    for (field, descriptor, release) in fields {
        if descriptor != release {
            return Err(differ(field, descriptor, release));
        }
    }
    let mut said = offered(r);
    for mine in &d.functions {
        let Some(theirs) = said.next() else {
            return Err(differ("functions", mine.name.to_string(), "no more of them".to_owned()));
        };
        if mine.name != theirs.name {
            return Err(differ("functions", mine.name.to_string(), theirs.name.to_string()));
        }
        if !mine.docs.is_empty() && mine.docs != theirs.docs {
            return Err(differ("docs", mine.docs.clone(), theirs.docs));
        }
        if !mine.signature.is_empty() && mine.signature != theirs.signature {
            return Err(differ("signature", mine.signature.clone(), theirs.signature));
        }
    }
    Ok(())
}
