//! What a node offers, to whom, and where it listens: a TOML file that refuses what it does not know.

use crate::quota::QuotaConfig;
use actum_model::{Did, Granted, Limits, Region};
use actum_overlay::OverlayConfig;
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
    /// Where the node says it is, as ISO 3166 writes it, in lower case: `de`, `us-ca`. Nobody checks it. Default: not said.
    pub region: Option<Region>,
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
            region: None,
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

    /// The host's wall-clock protection.
    pub fn wall_clock(&self) -> Duration {
        Duration::from_secs(self.wall_clock_seconds.get().into())
    }

    /// How long running actions get when the node stops.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }
}
