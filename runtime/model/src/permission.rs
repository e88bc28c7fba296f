//! What a guest may be given of the real world: permissions by name, as releases ask for them, and as narrow grants, as
//! actions carry them.
//!
//! Deny by default: an action without a [`Granted`] for an interface does not have it, and a component that imports it is
//! denied before it runs. Everything an authority decision needs stands in the action, so that a decision can be
//! explained, and checked, by anyone who holds the receipt.

use crate::{Action, BlobId, ComponentId, text};
use serde::{Deserialize, Serialize, de};
use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

/// The most permissions one action may be granted.
pub const MAX_GRANTED: usize = 64;
/// The most bytes of a bucket's, a configuration key's or a target's name.
pub const MAX_NAME_BYTES: usize = 64;
/// The most bytes of a prefix of keys: as many as a key has.
pub const MAX_KEYS_BYTES: usize = 256;
/// The most bytes of a configuration value. It stands in the receipt, for everyone to read: it is no place for secrets.
pub const MAX_CONFIG_BYTES: usize = 1 << 10;
/// The deepest that delegated actions may nest.
pub const MAX_DELEGATE_DEPTH: u32 = 8;

/// A host permission, by name: what a release asks for. Unknown names are errors wherever they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// `wasi:sockets`: any connection at all. Nobody grants it: it could not be journalled.
    Network,
    /// `wasi:http` outgoing requests.
    Http,
    /// `wasi:keyvalue`: a bucket of the provider's, which outlives the action.
    Keyvalue,
    /// `wasi:config`: values to read.
    Config,
    /// `wasi:filesystem`, of a read-only tree.
    Files,
    /// `actum:host/delegate`: calling other capabilities through the node.
    Delegate,
}

impl Permission {
    /// Every permission there is.
    pub const ALL: [Self; 6] =
        [Self::Network, Self::Http, Self::Keyvalue, Self::Config, Self::Files, Self::Delegate];

    /// The permission's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Http => "http",
            Self::Keyvalue => "keyvalue",
            Self::Config => "config",
            Self::Files => "files",
            Self::Delegate => "delegate",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Permission {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(Self::name).collect();
            format!("unknown permission {text:?}; known: {}", known.join(", "))
        })
    }
}

/// One permission granted to one action, with its bounds. Several of one kind add up, each narrow by itself.
///
/// As text: `http:https://example.com`, `http:GET,POST:https://example.com`, `keyvalue:notes`, `keyvalue:notes:read`,
/// `keyvalue:notes:keys=inbox/`, `keyvalue:notes:read:keys=inbox/`, `config:key=value`, `files:<tree id>`, `delegate:<target>=<component id>`, `delegate:<target>=<component id>,depth=2,fuel=1000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granted {
    /// The bare name, which gives nothing: nothing stands behind it.
    Network,
    /// HTTP requests to one origin.
    Http(Http),
    /// One bucket.
    Keyvalue(Keyvalue),
    /// One value of the configuration.
    Config(Config),
    /// A read-only tree of files.
    Files(Files),
    /// Calling one other component.
    Delegate(Delegate),
}

/// HTTP requests to one origin. Redirects are the guest's to follow, so each is a request of its own, checked again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The origin. A private or loopback address is reached only if it stands here as an address, or as `localhost`.
    pub origin: Origin,
    /// The methods, in upper case. Default: `GET` and `HEAD`.
    #[serde(default = "Http::reading")]
    pub methods: BTreeSet<String>,
    /// Bytes of each request's body, and of each response's body and headers. Default: 4 MiB.
    #[serde(default = "Http::default_body_bytes")]
    pub body_bytes: u64,
    /// Milliseconds each request may take, from connecting to the last byte. Default: 30,000.
    #[serde(default = "Http::default_timeout_ms")]
    pub timeout_ms: u64,
}

impl Http {
    /// Reads from one origin, with the default bounds.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            methods: Self::reading(),
            body_bytes: Self::default_body_bytes(),
            timeout_ms: Self::default_timeout_ms(),
        }
    }

    fn reading() -> BTreeSet<String> {
        ["GET", "HEAD"].map(str::to_owned).into()
    }

    fn default_body_bytes() -> u64 {
        4 << 20
    }

    fn default_timeout_ms() -> u64 {
        30_000
    }
}

/// One bucket of the provider's key-value store, private to requester and capability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyvalue {
    /// The name the guest opens it by.
    pub bucket: String,
    /// Whether the guest may write to it.
    pub write: bool,
    /// What the keys it may name begin with: 1 to [`MAX_KEYS_BYTES`] bytes, compared as bytes. None: any key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
}

impl Keyvalue {
    /// Whether the guest may name this key.
    pub fn covers(&self, key: &str) -> bool {
        self.keys.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
    }
}

/// One value of `wasi:config`. It stands in the receipt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key.
    pub key: String,
    /// The value, for everyone who sees the receipt to read.
    pub value: String,
}

/// A read-only tree of files, at the guest's root directory. See [`crate::tree`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The id of the root [`Directory`](crate::tree::Directory).
    pub tree: BlobId,
}

/// Calling one other component through the node, each call an action with a receipt of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// The name the guest calls it by.
    pub target: String,
    /// The component behind that name.
    pub component: ComponentId,
    /// How deep calls may nest: 1 means that the component called cannot call on. At most [`MAX_DELEGATE_DEPTH`].
    pub depth: u32,
    /// Fuel units for everything called through this permission, nested calls included.
    pub fuel: u64,
}

impl Delegate {
    /// The default of [`Self::depth`].
    pub const DEPTH: u32 = 1;
    /// The default of [`Self::fuel`], in fuel units.
    pub const FUEL: u64 = 10_000_000_000;

    /// A text before its `,depth=N` and `,fuel=N`, in any order, and what they say or the defaults.
    pub fn split(text: &str) -> Result<(&str, u32, u64), String> {
        let mut parts = text.split(',');
        let head = parts.next().unwrap_or_default();
        let (mut depth, mut fuel) = (None, None);
        for part in parts {
            let wrong = || format!("delegate: {part:?} is not depth=<number> or fuel=<number>, once each");
            let (name, number) = part.split_once('=').ok_or_else(wrong)?;
            match name {
                "depth" if depth.is_none() => depth = Some(number.parse().map_err(|_| wrong())?),
                "fuel" if fuel.is_none() => fuel = Some(number.parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        Ok((head, depth.unwrap_or(Self::DEPTH), fuel.unwrap_or(Self::FUEL)))
    }

    /// What [`Self::split`] reads, where it is not the default.
    fn bounds(&self) -> String {
        let mut text = String::new();
        if self.depth != Self::DEPTH {
            text.push_str(&format!(",depth={}", self.depth));
        }
        if self.fuel != Self::FUEL {
            text.push_str(&format!(",fuel={}", self.fuel));
        }
        text
    }
}

impl Granted {
    /// Which permission it is.
    pub fn permission(&self) -> Permission {
        match self {
            Self::Network => Permission::Network,
            Self::Http(_) => Permission::Http,
            Self::Keyvalue(_) => Permission::Keyvalue,
            Self::Config(_) => Permission::Config,
            Self::Files(_) => Permission::Files,
            Self::Delegate(_) => Permission::Delegate,
        }
    }

    /// What the types alone cannot say: sizes and characters.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Network => Ok(()),
            Self::Http(http) => {
                let method =
                    |m: &String| !m.is_empty() && m.len() <= 16 && m.bytes().all(|b| b.is_ascii_uppercase());
                if http.methods.is_empty() || http.methods.len() > 16 || !http.methods.iter().all(method) {
                    return Err("http: 1 to 16 methods of 1 to 16 upper-case letters are allowed".to_owned());
                }
                Ok(())
            }
            Self::Keyvalue(keyvalue) => {
                name("keyvalue: the bucket", &keyvalue.bucket)?;
                let Some(keys) = &keyvalue.keys else { return Ok(()) };
                if keys.is_empty() || keys.len() > MAX_KEYS_BYTES {
                    return Err(format!("keyvalue: keys begin with 1 to {MAX_KEYS_BYTES} bytes"));
                }
                text::one_line("keyvalue: what keys begin with", keys)
            }
            Self::Config(config) => {
                name("config: the key", &config.key)?;
                if config.value.len() > MAX_CONFIG_BYTES {
                    return Err(format!("config: a value has at most {MAX_CONFIG_BYTES} bytes"));
                }
                Ok(())
            }
            Self::Files(_) => Ok(()),
            Self::Delegate(delegate) => {
                name("delegate: the target", &delegate.target)?;
                if !(1..=MAX_DELEGATE_DEPTH).contains(&delegate.depth) {
                    return Err(format!("delegate: the depth is 1 to {MAX_DELEGATE_DEPTH}"));
                }
                Ok(())
            }
        }
    }

    /// Whether everything this gives, `other` gives too.
    pub fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(a), Self::Http(b)) => {
                a.origin == b.origin
                    && a.methods.is_subset(&b.methods)
                    && a.body_bytes <= b.body_bytes
                    && a.timeout_ms <= b.timeout_ms
            }
            (Self::Keyvalue(a), Self::Keyvalue(b)) => {
                let keys = b.keys.is_none() || a.keys.as_ref().is_some_and(|longer| b.covers(longer));
                a.bucket == b.bucket && a.write <= b.write && keys
            }
            (Self::Delegate(a), Self::Delegate(b)) => {
                (&a.target, a.component) == (&b.target, b.component) && a.depth <= b.depth && a.fuel <= b.fuel
            }
            (a, b) => a == b,
        }
    }
}

/// Checks a set of permissions: how many, and each of them.
pub fn check_granted(granted: &BTreeSet<Granted>) -> Result<(), String> {
    if granted.len() > MAX_GRANTED {
        return Err(format!("{} permissions where at most {MAX_GRANTED} are allowed", granted.len()));
    }
    let mut names = BTreeSet::new();
    for one in granted {
        one.check()?;
        let key = match one {
            Granted::Keyvalue(k) => (Permission::Keyvalue, k.bucket.as_str()),
            Granted::Config(c) => (Permission::Config, c.key.as_str()),
            Granted::Files(_) => (Permission::Files, ""),
            Granted::Delegate(d) => (Permission::Delegate, d.target.as_str()),
            Granted::Network | Granted::Http(_) => continue,
        };
        if !names.insert(key) {
            let what = if key.1.is_empty() { String::new() } else { format!(" {:?}", key.1) };
            return Err(format!("{}{what} is granted twice", key.0));
        }
    }
    Ok(())
}

/// Checks what an action asked for and was not given: part of it, and only where the action allows that.
pub fn check_withheld(action: &Action, withheld: &BTreeSet<Granted>) -> Result<(), String> {
    if !withheld.is_empty() && !action.partial {
        return Err(
            "the action is not to run with less than it asks for, and something was withheld".to_owned()
        );
    }
    match withheld.difference(&action.permissions).next() {
        Some(other) => Err(format!("{other} was withheld, which the action does not ask for")),
        None => Ok(()),
    }
}

fn name(what: &str, name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(fits) {
        return Err(format!(
            "{what} is {name:?}; 1 to {MAX_NAME_BYTES} letters, digits, and any of - _ . / are allowed"
        ));
    }
    Ok(())
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.permission().name();
        match self {
            Self::Network => f.write_str(name),
            Self::Http(http) => {
                let methods: Vec<_> = http.methods.iter().map(String::as_str).collect();
                write!(f, "{name}:{}:{}", methods.join(","), http.origin)
            }
            Self::Keyvalue(k) => {
                write!(f, "{name}:{}{}", k.bucket, if k.write { "" } else { ":read" })?;
                k.keys.as_ref().map_or(Ok(()), |keys| write!(f, ":keys={keys}"))
            }
            Self::Config(c) => write!(f, "{name}:{}={}", c.key, c.value),
            Self::Files(files) => write!(f, "{name}:{}", files.tree),
            Self::Delegate(d) => write!(f, "{name}:{}={}{}", d.target, d.component, d.bounds()),
        }
    }
}

impl FromStr for Granted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let permission: Permission = kind.parse()?;
        let needs = |form: &str| Err(format!("{kind} needs its bounds: {form}"));
        let granted = match permission {
            Permission::Network if rest.is_empty() => Self::Network,
            Permission::Network => return Err("network takes no bounds".to_owned()),
            _ if rest.is_empty() => {
                return match permission {
                    Permission::Http => needs("http:https://example.com, http:GET,POST:https://example.com"),
                    Permission::Keyvalue => {
                        needs("keyvalue:<bucket>, keyvalue:<bucket>:read, keyvalue:<bucket>:keys=<prefix>")
                    }
                    Permission::Config => needs("config:<key>=<value>"),
                    Permission::Files => needs("files:<directory or tree id>"),
                    _ => needs("delegate:<target>=<component id>"),
                };
            }
            Permission::Http => {
                let (methods, origin) = match rest.split_once(':') {
                    Some((methods, origin)) if !origin.starts_with("//") => (Some(methods), origin),
                    _ => (None, rest),
                };
                let mut http = Http::new(origin.parse()?);
                if let Some(methods) = methods {
                    http.methods = methods.split(',').map(str::to_owned).collect();
                }
                Self::Http(http)
            }
            Permission::Keyvalue => {
                let (bucket, bounds) = rest.split_once(':').map_or((rest, None), |(b, rest)| (b, Some(rest)));
                let (write, keys) = match bounds {
                    None => (true, None),
                    Some("read") => (false, None),
                    // Whatever follows is the prefix: it may hold any mark.
                    Some(bounds) => {
                        let (write, bounds) =
                            bounds.strip_prefix("read:").map_or((true, bounds), |bounds| (false, bounds));
                        let keys = bounds.strip_prefix("keys=").ok_or(
                            "after the bucket only :read and :keys=<prefix> may stand, in that order",
                        )?;
                        (write, Some(keys.to_owned()))
                    }
                };
                Self::Keyvalue(Keyvalue { bucket: bucket.to_owned(), write, keys })
            }
            Permission::Config => match rest.split_once('=') {
                Some((key, value)) => Self::Config(Config { key: key.to_owned(), value: value.to_owned() }),
                None => return needs("config:<key>=<value>"),
            },
            Permission::Files => {
                let tree = rest.parse().map_err(|e| format!("{rest:?} is not a tree's id: {e}"))?;
                Self::Files(Files { tree })
            }
            Permission::Delegate => {
                let Some((target, component)) = rest.split_once('=') else {
                    return needs("delegate:<target>=<component id>");
                };
                let (component, depth, fuel) = Delegate::split(component)?;
                let component =
                    component.parse().map_err(|e| format!("{component:?} is not a component's id: {e}"))?;
                Self::Delegate(Delegate { target: target.to_owned(), component, depth, fuel })
            }
        };
        granted.check()?;
        Ok(granted)
    }
}

/// A web origin in its one spelling: scheme, host in lower case, and the port where it is not the scheme's own.
///
/// Source: RFC 6454, less everything that has two spellings: no user, no path, no percent-encoding, no name of
/// non-ASCII letters, no IPv4 address but of four decimal numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a scheme (`http` or `https`) and an authority, `host` or `host:port`.
    pub fn new(scheme: &str, authority: &str) -> Result<Self, String> {
        let https = match scheme {
            "https" => true,
            "http" => false,
            other => return Err(format!("the scheme {other:?} is neither http nor https")),
        };
        let bad = |why: &str| format!("{authority:?} is not an origin's host: {why}");
        let v6 = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match v6 {
            Some((address, rest)) => {
                let address: std::net::Ipv6Addr = address.parse().map_err(|_| bad("not an IPv6 address"))?;
                let port = match rest.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if rest.is_empty() => None,
                    None => return Err(bad("something follows the address")),
                };
                (format!("[{address}]"), port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
                None => (authority.to_ascii_lowercase(), None),
            },
        };
        if v6.is_none() {
            host_name(&host).map_err(bad)?;
        }
        let own = if https { 443 } else { 80 };
        let port = match port {
            None => own,
            Some(port) => {
                let digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
                let number = if digits { port.parse::<u16>().ok() } else { None };
                number.filter(|n| *n > 0).ok_or_else(|| bad("the port is not a number from 1 to 65535"))?
            }
        };
        Ok(Self { https, host, port })
    }

    /// Whether the connection is encrypted.
    pub fn https(&self) -> bool {
        self.https
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Checks a host that is not in brackets: labels of letters, digits and hyphens, or four decimal numbers.
fn host_name(host: &str) -> Result<(), &'static str> {
    let label = |l: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-') && l.bytes().all(fits)
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("labels of letters, digits and hyphens are wanted");
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if number && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err("it ends in a number and is not an IPv4 address of four decimal numbers");
    }
    Ok(())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        let own = if self.https { 443 } else { 80 };
        if self.port == own { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl FromStr for Origin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an origin such as https://example.com");
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        Self::new(scheme, authority.strip_suffix('/').unwrap_or(authority))
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Any spelling is read; the strict decoder then refuses all but the canonical one.
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
