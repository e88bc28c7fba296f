//! What a node offers, to whom, and where it listens: a TOML file that refuses what it does not know.

use crate::{attest::AttestConfig, quota::QuotaConfig};
use actum_discovery::Lifetimes;
use actum_model::{Descriptor, Did, Granted, Lease, Limits, Region};
use actum_overlay::{Multiaddr, OverlayConfig, RawProtocol};
use actum_trust::{Giving, RiskPolicy};
use serde::{Deserialize, Deserializer, de::Error};
use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

/// A node's configuration.
///
/// ```
/// let config: actum_node::Config = actum_node::Config::parse(r#"
/// listen = ["/ip4/127.0.0.1/tcp/4001"]
/// bootstrap = ["/ip4/127.0.0.1/tcp/4002"]
///
/// [[offer]]
/// release = "markdown@0.1.0"
/// public = true
/// allow = ["keyvalue:notes", "http:GET:https://example.com"]
/// "#).unwrap();
/// assert_eq!(config.offers.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Multiaddrs to listen on. Default: TCP and QUIC on loopback, ports chosen by the system.
    pub listen: Vec<String>,
    /// Multiaddrs of peers to announce to and to ask. Default: none.
    pub bootstrap: Vec<String>,
    /// Whether this node is a registry: it keeps an index of others' offers on disk, tells others so, and answers their
    /// queries from it. Default: false; it then answers from what it was told itself, in memory.
    pub registry: bool,
    /// A directory with a static embedding model (`model.safetensors`, `tokenizer.json`), by which a registry ranks offers by
    /// meaning, too. Default: none.
    pub model: Option<PathBuf>,
    /// Where the node says it is, as ISO 3166 writes it, in lower case: `de`, `us-ca`. Nobody checks it. Default: not said.
    pub region: Option<Region>,
    /// How others reach this node.
    pub reach: ReachConfig,
    /// For how long what this node announces holds.
    pub announce: AnnounceConfig,
    /// What is offered, and to whom. Default: nothing.
    #[serde(rename = "offer")]
    pub offers: Vec<OfferConfig>,
    /// The largest limits of an action accepted from another peer.
    pub limits: Limits,
    /// Actions run at once. Default: the number of cores.
    pub parallel: Option<NonZeroU32>,
    /// Actions that may wait for a turn; one more is answered `busy`. Default: 32.
    pub queue: u32,
    /// Bytes of an action's encoded arguments, at most 64 MiB; more is answered `over-limit`. Running and waiting actions hold
    /// theirs in memory, a few times over. Default: 8 MiB.
    pub args_bytes: u32,
    /// Wall-clock seconds an action may take before the host ends it as `timed-out`. Default: 60.
    pub wall_clock_seconds: NonZeroU32,
    /// Seconds that running actions get to end when the node stops. Default: 30.
    pub drain_seconds: u32,
    /// Whose grants are worth as much here as the node's own key's: its owner's other keys. Default: nobody's.
    pub owners: Vec<Did>,
    /// Who is refused, whatever they hold, and whose grants are, wherever they stand in a chain. Default: nobody.
    pub deny: Vec<Did>,
    /// Seconds by which another's clock may differ from this one's: so much earlier and later than they say, invocations and
    /// grants hold. At most 600. Default: 60.
    pub clock_skew_seconds: ClockSkew,
    /// What one requester, and all together, may use.
    pub quota: QuotaConfig,
    /// Who is served first where not everybody can be.
    pub giving: Giving,
    /// How much is checked of what others do for this home, by what it is. Default: as `docs/trust.md` has it.
    pub risk: RiskPolicy,
    /// Whether receipts made here are attested, and whose attestations are worth something here.
    pub attest: AttestConfig,
}

/// Seconds by which clocks may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct ClockSkew(u64);

impl ClockSkew {
    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl Default for ClockSkew {
    fn default() -> Self {
        Self(actum_trust::CLOCK_SKEW_SECONDS)
    }
}

impl TryFrom<u64> for ClockSkew {
    type Error = &'static str;
    fn try_from(seconds: u64) -> Result<Self, Self::Error> {
        if seconds <= 600 { Ok(Self(seconds)) } else { Err("clocks may differ by at most 600 seconds") }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: OverlayConfig::default().listen.iter().map(ToString::to_string).collect(),
            bootstrap: Vec::new(),
            registry: false,
            model: None,
            region: None,
            reach: ReachConfig::default(),
            announce: AnnounceConfig::default(),
            offers: Vec::new(),
            limits: Limits::default(),
            parallel: None,
            queue: 32,
            args_bytes: 8 << 20,
            wall_clock_seconds: NonZeroU32::MIN.saturating_add(59),
            drain_seconds: 30,
            owners: Vec::new(),
            deny: Vec::new(),
            clock_skew_seconds: ClockSkew::default(),
            quota: QuotaConfig::default(),
            giving: Giving::default(),
            risk: RiskPolicy::default(),
            attest: AttestConfig::default(),
        }
    }
}

/// For how long what a node announces holds. It is announced anew after a third to a half of that: shorter lives cost bytes,
/// longer ones have others call who is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnnounceConfig {
    /// Seconds that a lease holds, so that a node that vanished is forgotten: 6 to 900. Default: 600.
    pub lease_seconds: Life<{ Lease::MAX_LIFE }>,
    /// Seconds that a descriptor holds: 6 to 86,400. Default: 21,600, six hours.
    pub descriptor_seconds: Life<{ Descriptor::MAX_LIFE }>,
}

impl Default for AnnounceConfig {
    fn default() -> Self {
        let Lifetimes { lease, descriptor } = Lifetimes::default();
        Self { lease_seconds: Life(lease), descriptor_seconds: Life(descriptor) }
    }
}

impl AnnounceConfig {
    /// The lives, as what announces takes them.
    pub(crate) fn lifetimes(self) -> Lifetimes {
        Lifetimes { lease: self.lease_seconds.seconds(), descriptor: self.descriptor_seconds.seconds() }
    }
}

/// Seconds that a statement holds, 6 to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Life<const MOST: u64>(u64);

impl<const MOST: u64> Life<MOST> {
    /// In seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl<const MOST: u64> TryFrom<u64> for Life<MOST> {
    type Error = String;
    fn try_from(seconds: u64) -> Result<Self, Self::Error> {
        match (Lifetimes::MIN..=MOST).contains(&seconds) {
            true => Ok(Self(seconds)),
            false => Err(format!("it may hold for {} to {MOST} seconds", Lifetimes::MIN)),
        }
    }
}

/// How others reach a node. Docs of what each does: `docs/reachability.md`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReachConfig {
    /// Multiaddrs the node is known to be reached at, such as a forwarded port; nobody tests them. Default: none.
    pub announce: Vec<String>,
    /// Whether peers are asked to dial back (AutoNAT v2), to find out whether they can. Default: true.
    pub probe: bool,
    /// Relays to hold a place at, each multiaddr ending in `/p2p/…`. Default: none.
    pub relays: Vec<String>,
    /// Whether to relay between others, for finding a direct way. Default: false.
    pub relay: bool,
    /// Whether to find peers of the local network by multicast, and to tell them of this one. It needs an Actum built with the
    /// feature `mdns`. Default: false.
    pub mdns: bool,
    /// Peers that may not even connect; `deny` beside it refuses what they ask for. Default: none.
    pub deny: Vec<Did>,
    /// The only peers that may connect. Default: empty, which means any.
    pub allow: Vec<Did>,
    /// Connections in each direction with one /24 or /48. Default: 32.
    pub connections_per_prefix: u32,
}

impl Default for ReachConfig {
    fn default() -> Self {
        Self {
            announce: Vec::new(),
            probe: true,
            relays: Vec::new(),
            relay: false,
            mdns: false,
            deny: Vec::new(),
            allow: Vec::new(),
            connections_per_prefix: actum_overlay::Limits::default().connections_per_prefix,
        }
    }
}

/// One offer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferConfig {
    /// `name`, `name@version` or release id. A release this home lacks, given by id, is fetched from the bootstrap
    /// peers, as is a component it lacks.
    pub release: String,
    /// Whether anyone may call. Default: no.
    #[serde(default)]
    pub public: bool,
    /// Who may call when it is not public. Default: nobody.
    #[serde(default)]
    pub callers: Vec<Did>,
    /// What a caller's action may be granted here, of what the release asks for, each as [`Granted`] is written. An action
    /// with a permission that is not within one of these is refused. Default: nothing.
    #[serde(default, deserialize_with = "granted")]
    pub allow: Vec<Granted>,
    /// What a million units of fuel cost, in fuel credits. It is announced, for requesters to choose by. Default: 0.
    #[serde(default)]
    pub price: u64,
}

/// Permissions as they are written, each refused at its place.
fn granted<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Granted>, D::Error> {
    struct Text(Granted);
    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
            String::deserialize(text)?.parse().map(Text).map_err(Error::custom)
        }
    }
    Ok(Vec::<Text>::deserialize(list)?.into_iter().map(|text| text.0).collect())
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type; the text shows the place.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
}

impl Config {
    /// Parses TOML text.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Reads a file; an absent one at the default place means the defaults.
    pub fn read(path: &Path, must_exist: bool) -> Result<Self, ConfigError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map_err(|e| ConfigError::Parse { path: path.to_owned(), message: e.to_string() }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// What the overlay is started with.
    ///
    /// # Errors
    /// The first address that is no multiaddr.
    pub fn overlay(&self, raw_protocols: Vec<RawProtocol>) -> Result<OverlayConfig, String> {
        let parse = |addresses: &[String]| -> Result<Vec<Multiaddr>, String> {
            addresses.iter().map(|a| a.parse().map_err(|_| a.clone())).collect()
        };
        let mut config =
            OverlayConfig { listen: parse(&self.listen)?, raw_protocols, ..OverlayConfig::default() };
        config.access.deny_peers = self.reach.deny.iter().copied().collect();
        config.access.allow_peers = self.reach.allow.iter().copied().collect();
        config.limits.connections_per_prefix = self.reach.connections_per_prefix;
        config.routing.bootstrap = parse(&self.bootstrap)?;
        config.reach.announce = parse(&self.reach.announce)?;
        config.reach.relays = parse(&self.reach.relays)?;
        config.reach.probe = self.reach.probe;
        config.reach.relay = self.reach.relay;
        config.reach.mdns = self.reach.mdns;
        Ok(config)
    }

    /// The host's wall-clock protection.
    pub fn wall_clock(&self) -> Duration {
        Duration::from_secs(self.wall_clock_seconds.get().into())
    }

    /// How long running actions get when the node stops.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_those_that_statements_may_have() {
        let parse = |text: &str| Config::parse(text).map(|config| config.announce.lifetimes());
        assert_eq!(parse("").unwrap(), Lifetimes::default());
        let set = parse("[announce]\nlease_seconds = 6\ndescriptor_seconds = 86400\n").unwrap();
        assert_eq!(set, Lifetimes { lease: 6, descriptor: 86_400 });
        for bad in ["lease_seconds = 5", "lease_seconds = 901", "descriptor_seconds = 86401", "lease = 60"] {
            assert!(parse(&format!("[announce]\n{bad}\n")).is_err(), "{bad}");
        }
        let why = parse("[announce]\nlease_seconds = 901\n").unwrap_err().to_string();
        assert!(why.contains("6 to 900 seconds"), "{why}");
    }
}
