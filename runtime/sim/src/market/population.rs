//! Who there is: peers with their keys, addresses and conduct, and what they offer.

use super::releases;
use crate::{
    Streams,
    params::{Conduct, Params},
};
use actum_model::{ComponentId, Did, Release, ReleaseId, SecretKey, Signed};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// Something that can be done, by whoever offers it.
#[derive(Clone, Debug)]
pub(crate) struct Capability {
    pub(crate) name: String,
    /// The author's words.
    pub(crate) intent: String,
    pub(crate) release: ReleaseId,
    pub(crate) component: ComponentId,
    /// What its author signed.
    pub(crate) signed: Arc<Signed<Release>>,
}

impl Capability {
    fn of(signed: Arc<Signed<Release>>) -> Self {
        let (id, release) = (signed.id(), signed.payload());
        let (name, intent) = (release.name.to_string(), release.intent.clone());
        Self { name, intent, release: id, component: release.component, signed }
    }
}

/// What capabilities are called and for.
const CAPABILITIES: [(&str, &str); 10] = [
    ("summary", "Summarize a text by its most telling sentences"),
    ("publish", "Publish a page where everybody can read it"),
    ("csv-aggregate", "Group the rows of a table and sum or count them"),
    ("digest", "Compute digests and checksums of bytes"),
    ("json-query", "Query and reshape a JSON document"),
    ("markdown", "Turn Markdown text into HTML"),
    ("qr-code", "Draw a web address as a QR code"),
    ("regex-extract", "Extract everything that matches a regular expression"),
    ("text-diff", "Find the differences between two texts"),
    ("thumbnail", "Scale an image down to a thumbnail"),
];

/// A peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: SecretKey,
    pub(crate) did: Did,
    pub(crate) ip: IpAddr,
    /// Who runs it, as far as others can tell.
    pub(crate) operator: Did,
    pub(crate) conduct: Conduct,
    /// It takes and does not give.
    pub(crate) free_rider: bool,
    pub(crate) online: bool,
    /// By capability: whether it is offered by the provider, which the network may not know yet.
    pub(crate) offers: Vec<bool>,
    /// Actions that run or wait there now.
    pub(crate) admitted: u32,
    /// Names it has had.
    pub(crate) names: u32,
}

/// All peers, by number: providers first, `params.peers` of them, the hostile ones last among them; then registries.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) peers: Vec<Peer>,
    pub(crate) capabilities: Vec<Capability>,
    by_did: BTreeMap<Did, u32>,
    streams: Streams,
}

impl Population {
    /// `releases` are those of the first capabilities; what authors sign of the others is made up.
    pub(crate) fn new(params: &Params, releases: &[Arc<Signed<Release>>], streams: Streams) -> Self {
        let hostile = (f64::from(params.peers) * params.alpha).round() as u32;
        let honest = params.peers.saturating_sub(hostile);
        let riders = (f64::from(honest) * params.free_riders).round() as u32;
        let count = usize::try_from(params.capabilities).unwrap_or(0).clamp(1, CAPABILITIES.len());
        let author = SecretKey::from_seed(&streams.bytes("author", 0));
        let made_up = CAPABILITIES.iter().skip(releases.len());
        let made_up =
            made_up.filter_map(|(name, intent)| releases::release(name, intent, &author).map(Arc::new));
        let capabilities = releases.iter().cloned().chain(made_up).take(count).map(Capability::of);
        let mut population = Self {
            peers: Vec::new(),
            capabilities: capabilities.collect(),
            by_did: BTreeMap::new(),
            streams,
        };
        for n in 0..params.peers.saturating_add(params.registries) {
            let is_hostile = n >= honest && n < params.peers;
            let ring = params.ring.max(1);
            // A ring shares an address prefix and, as far as anybody can tell, an operator. Registries are counted apart, so
            // that one more peer moves none of them.
            let ((keys, number), (prefixes, place)) = match n.checked_sub(params.peers) {
                Some(registry) => (("registry's key", registry), ("registry's place", registry)),
                None if is_hostile => {
                    (("key", n), ("ring", params.peers.saturating_sub(n).saturating_sub(1) / ring))
                }
                None => (("key", n), ("peer", n)),
            };
            let key = SecretKey::from_seed(&streams.bytes(keys, u64::from(number)));
            let prefix = (streams.of(prefixes, u64::from(place)).number() as u32) & 0xffff_ff00;
            let ip = IpAddr::V4(Ipv4Addr::from_bits(prefix | (number & 0xff)));
            let operator = match is_hostile && ring > 1 {
                true => SecretKey::from_seed(&streams.bytes("operator", u64::from(place))).did(),
                false => key.did(),
            };
            let mut all: Vec<usize> = (0..count).collect();
            streams.of("offers", u64::from(n)).shuffle(&mut all);
            let mut offers = vec![false; count];
            let each = usize::try_from(params.offers_each).unwrap_or(usize::MAX);
            for capability in all.into_iter().take(each) {
                if let Some(offered) = offers.get_mut(capability) {
                    *offered = n < params.peers;
                }
            }
            let peer = Peer {
                did: key.did(),
                key,
                ip,
                operator,
                conduct: if is_hostile { params.hostile } else { Conduct::Honest },
                // The first ones ask; riders are among those that ask too, from the other end.
                free_rider: !is_hostile && n < params.peers && n >= honest.saturating_sub(riders),
                online: true,
                offers,
                admitted: 0,
                names: 1,
            };
            population.by_did.insert(peer.did, n);
            population.peers.push(peer);
        }
        population
    }

    /// Who goes by this name now, or did.
    pub(crate) fn by_did(&self, did: &Did) -> Option<u32> {
        self.by_did.get(did).copied()
    }

    pub(crate) fn peer(&self, n: u32) -> Option<&Peer> {
        self.peers.get(usize::try_from(n).ok()?)
    }

    pub(crate) fn peer_mut(&mut self, n: u32) -> Option<&mut Peer> {
        self.peers.get_mut(usize::try_from(n).ok()?)
    }

    /// Gives a peer another key: to everybody else it is somebody new.
    pub(crate) fn rename(&mut self, n: u32) {
        let streams = self.streams;
        let Some(peer) = self.peer_mut(n) else { return };
        let seed = streams.bytes("name", (u64::from(n) << 32) | u64::from(peer.names));
        peer.key = SecretKey::from_seed(&seed);
        let alone = peer.operator == peer.did;
        peer.did = peer.key.did();
        if alone {
            peer.operator = peer.did;
        }
        peer.names += 1;
        let did = peer.did;
        self.by_did.insert(did, n);
    }
}
