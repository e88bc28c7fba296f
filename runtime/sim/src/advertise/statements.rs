//! What peers sign: releases, and each provider's descriptors and leases of them, when its announcer says so.

use crate::{Streams, Time};
use actum_discovery::{Announcement, Announcer, Conditions, Lifetimes, Validity, descriptor_for};
use actum_model::{
    ComponentId, Descriptor, Lease, Limits, ProfileId, Release, SecretKey, Signed, Tier, id::sha256,
    name::NameError, release::CHUNK_BYTES,
};
use serde_bytes::{ByteArray, ByteBuf};
use std::sync::Arc;

/// Bytes of a made-up component: one chunk.
const COMPONENT_BYTES: usize = CHUNK_BYTES / 2;

/// A release of a capability that nobody wrote: it has the keys of its tags and of its component.
///
/// # Errors
/// [`NameError`], when the name is no capability's.
pub fn made_up(name: &str, tags: &[&str]) -> Result<Arc<Signed<Release>>, NameError> {
    let author = SecretKey::from_seed(&Streams::new(0).bytes("author", 0));
    let release = Release {
        iss: author.did(),
        name: name.parse()?,
        version: semver::Version::new(1, 0, 0),
        intent: "Does something useful".to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        component: ComponentId::of(name.as_bytes()),
        component_bytes: COMPONENT_BYTES as u64,
        chunks: vec![ByteArray::new(sha256(name.as_bytes()))],
        wit: ByteBuf::new(),
        functions: Vec::new(),
        permissions: Default::default(),
        examples: Vec::new(),
    };
    Ok(Arc::new(Signed::sign(release, &author)))
}

/// What a provider offers, and when it says so.
#[derive(Debug)]
pub(super) struct Announcing {
    announcer: Announcer,
    releases: Vec<Arc<Signed<Release>>>,
}

/// What a provider has signed now.
pub(super) struct Announced {
    /// None where those there are still stand.
    pub(super) descriptors: Option<Vec<Arc<Signed<Descriptor>>>>,
    pub(super) lease: Arc<Signed<Lease>>,
}

impl Announcing {
    pub(super) fn new(lifetimes: Lifetimes, releases: Vec<Arc<Signed<Release>>>) -> Self {
        Self { announcer: Announcer::new(lifetimes, 0), releases }
    }

    /// When to ask again.
    pub(super) fn due(&self) -> Time {
        Time::from_unix_seconds(self.announcer.due())
    }

    /// Signs what is due, if anything is.
    pub(super) fn poll(
        &mut self,
        now: Time,
        jitter: u64,
        key: &SecretKey,
        addrs: &[String],
    ) -> Option<Announced> {
        let Announcement { descriptors, lease, descriptors_seq } =
            self.announcer.poll(now.unix_seconds(), jitter)?;
        let described = descriptors.map(|validity| {
            let all = self.releases.iter().filter_map(|release| describe(release, key, validity));
            all.map(Arc::new).collect()
        });
        Some(Announced {
            descriptors: described,
            lease: Arc::new(leased(key, addrs, lease, descriptors_seq)),
        })
    }
}

/// A provider's descriptor of a release; none, where no descriptor can be made of it.
pub(super) fn describe(
    release: &Signed<Release>,
    key: &SecretKey,
    validity: Validity,
) -> Option<Signed<Descriptor>> {
    let conditions = Conditions {
        profile: ProfileId::of(b"profile"),
        limits: Limits::default(),
        price: 0,
        region: None,
        public: true,
        tiers: Tier::ALL.into(),
        verdicts: Vec::new(),
    };
    let descriptor = descriptor_for(release, key.did(), conditions, validity).ok()?;
    Some(Signed::sign(descriptor, key))
}

/// A provider's lease that covers descriptors from this sequence number on.
pub(super) fn leased(
    key: &SecretKey,
    addrs: &[String],
    validity: Validity,
    descriptors_seq: u64,
) -> Signed<Lease> {
    let lease = Lease {
        iss: key.did(),
        addrs: addrs.to_vec(),
        load: 0,
        queued: 0,
        capacity: 4,
        lately: None,
        descriptors_seq,
        seq: validity.seq,
        nbf: validity.nbf,
        exp: validity.exp,
    };
    Signed::sign(lease, key)
}
