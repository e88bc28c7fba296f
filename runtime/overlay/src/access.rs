//! Who may connect and which addresses are dialled on a stranger's word: the rules, and their refusals by name.

use crate::{
    IpPrefix, Multiaddr,
    prefix::{Reach, ip_of, reach_of},
};
use actum_model::Did;
use std::{collections::BTreeSet, net::IpAddr};

/// Who may connect, in either direction. Default: everybody. What is denied is denied even where it is also allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Peers refused, by their keys.
    pub deny_peers: BTreeSet<Did>,
    /// The only peers taken, by their keys; empty: any.
    pub allow_peers: BTreeSet<Did>,
    /// Addresses refused, before anything is computed for them.
    pub deny_prefixes: Vec<IpPrefix>,
    /// The only addresses taken; empty: any.
    pub allow_prefixes: Vec<IpPrefix>,
}

/// How far away peers are looked for: which addresses are dialled when strangers name them, be it as their own, in an
/// answer about others, or to be dialled back. Addresses that you configure or dial yourself are not concerned.
///
/// Without it, anybody could have this machine knock at ports of your own network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkScope {
    /// Loopback, private and public addresses: a network on one machine.
    Machine,
    /// Private and public addresses: peers at home or in one company find each other, too.
    Site,
    /// Public addresses only.
    Internet,
}

/// Why this peer itself refuses a connection. Each has a [code](Denial::code) that stays the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The peer is on the list of those refused.
    #[error("{peer} is denied")]
    PeerDenied {
        /// The peer.
        peer: Did,
    },
    /// There is a list of peers allowed, and the peer is not on it.
    #[error("{peer} is not among the peers allowed")]
    PeerNotAllowed {
        /// The peer.
        peer: Did,
    },
    /// The peer's key is not Ed25519, so that it has no name here.
    #[error("the peer's key is not Ed25519")]
    UnknownKey,
    /// The address lies in a range that is refused.
    #[error("{ip} lies in {prefix}, which is denied")]
    AddressDenied {
        /// The address.
        ip: IpAddr,
        /// The range.
        prefix: IpPrefix,
    },
    /// There is a list of ranges allowed, and the address lies in none of them.
    #[error("{address} lies in no range that is allowed")]
    AddressNotAllowed {
        /// The address; relayed connections have none of their own.
        address: Multiaddr,
    },
    /// A stranger names an address that the scope leaves out.
    #[error("{address} is not dialled on another peer's word: the scope is {scope:?}")]
    OutOfScope {
        /// The address.
        address: Multiaddr,
        /// The scope.
        scope: NetworkScope,
    },
    /// The range has as many connections as one party may have.
    #[error("{prefix} has {limit} connections already")]
    PrefixFull {
        /// The range, a /24 or a /48.
        prefix: IpPrefix,
        /// The limit.
        limit: u32,
    },
    /// This machine's own addresses have as many connections as they may have.
    #[error("loopback has {limit} connections already")]
    LoopbackFull {
        /// The limit.
        limit: u32,
    },
    /// As many connections come through relays as may.
    #[error("{limit} connections come through relays already")]
    RelayedFull {
        /// The limit.
        limit: u32,
    },
    /// The process holds as much memory as it may before it takes no more connections.
    #[error("the process holds {used} bytes; no connections are taken above {limit}")]
    Memory {
        /// Resident bytes of the process.
        used: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// As many peers were dialled at others' wish in this minute as may be.
    #[error("{limit} peers were dialled at others' wish within a minute already")]
    DialsOnDemand {
        /// The limit.
        limit: u32,
    },
    /// The peer could not be dialled a moment ago, and is not dialled again yet on what others say of it.
    #[error("{peer} could not be dialled a moment ago")]
    Gone {
        /// The peer.
        peer: Did,
    },
    /// A limit on connections in all, to one peer, or under way.
    #[error("{reason}")]
    Connections {
        /// Which limit.
        reason: String,
    },
}

impl Denial {
    /// The stable name of the refusal, for counters and machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PeerDenied { .. } => "peer-denied",
            Self::PeerNotAllowed { .. } => "peer-not-allowed",
            Self::UnknownKey => "unknown-key",
            Self::AddressDenied { .. } => "address-denied",
            Self::AddressNotAllowed { .. } => "address-not-allowed",
            Self::OutOfScope { .. } => "out-of-scope",
            Self::PrefixFull { .. } => "prefix-full",
            Self::LoopbackFull { .. } => "loopback-full",
            Self::RelayedFull { .. } => "relayed-full",
            Self::Memory { .. } => "memory",
            Self::DialsOnDemand { .. } => "dials-on-demand",
            Self::Gone { .. } => "gone",
            Self::Connections { .. } => "connections",
        }
    }
}

impl Access {
    /// Whether that peer may connect.
    pub(crate) fn peer(&self, peer: Did) -> Result<(), Denial> {
        if self.deny_peers.contains(&peer) {
            return Err(Denial::PeerDenied { peer });
        }
        if !self.allow_peers.is_empty() && !self.allow_peers.contains(&peer) {
            return Err(Denial::PeerNotAllowed { peer });
        }
        Ok(())
    }

    /// Whether a connection may come from, or go to, that address. A relayed one shows no address of the peer's own, so
    /// that a list of ranges allowed leaves it out.
    pub(crate) fn address(&self, address: &Multiaddr, ip: Option<IpAddr>) -> Result<(), Denial> {
        if let Some(ip) = ip
            && let Some(prefix) = self.deny_prefixes.iter().find(|p| p.contains(ip))
        {
            return Err(Denial::AddressDenied { ip, prefix: *prefix });
        }
        let allowed = |ip: IpAddr| self.allow_prefixes.iter().any(|p| p.contains(ip));
        if !self.allow_prefixes.is_empty() && !ip.is_some_and(allowed) {
            return Err(Denial::AddressNotAllowed { address: address.clone() });
        }
        Ok(())
    }
}

/// The rules for addresses that strangers name.
#[derive(Clone, Debug)]
pub(crate) struct Vet {
    pub(crate) access: Access,
    pub(crate) scope: NetworkScope,
}

impl Vet {
    /// Whether an address is dialled on another peer's word. What does not start with an IP address never is.
    pub(crate) fn permits(&self, address: &Multiaddr) -> Result<(), Denial> {
        let ip = ip_of(address);
        self.access.address(address, ip)?;
        let least = match self.scope {
            NetworkScope::Machine => Reach::Loopback,
            NetworkScope::Site => Reach::Private,
            NetworkScope::Internet => Reach::Public,
        };
        match ip.map(reach_of) {
            Some(reach) if reach >= least && reach != Reach::Nobody => Ok(()),
            _ => Err(Denial::OutOfScope { address: address.clone(), scope: self.scope }),
        }
    }

    /// The same for an address that a peer calls its own, seen at `observed`: nobody far away has a nearer address.
    pub(crate) fn permits_own(&self, address: &Multiaddr, observed: IpAddr) -> bool {
        self.permits(address).is_ok() && ip_of(address).is_some_and(|ip| reach_of(ip) >= reach_of(observed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_scope_leaves_out_what_is_nearer_than_it() {
        let loopback = address("/ip4/127.0.0.1/tcp/22");
        let private = address("/ip4/192.168.1.1/udp/53/quic-v1");
        let public = address("/ip4/8.8.8.8/tcp/1");
        let permitted = |scope| {
            let vet = Vet { access: Access::default(), scope };
            [&loopback, &private, &public].map(|a| vet.permits(a).is_ok())
        };
        assert_eq!(permitted(NetworkScope::Machine), [true, true, true]);
        assert_eq!(permitted(NetworkScope::Site), [false, true, true]);
        assert_eq!(permitted(NetworkScope::Internet), [false, false, true]);
        let vet = Vet { access: Access::default(), scope: NetworkScope::Machine };
        for never in ["/dns4/localhost/tcp/1", "/ip4/224.0.0.1/udp/1", "/ip4/0.0.0.0/tcp/1", "/memory/1"] {
            assert_eq!(vet.permits(&address(never)).unwrap_err().code(), "out-of-scope", "{never}");
        }
    }

    #[test]
    fn nobody_far_away_has_a_nearer_address() {
        let vet = Vet { access: Access::default(), scope: NetworkScope::Machine };
        let public = "8.8.8.8".parse().unwrap();
        assert!(!vet.permits_own(&address("/ip4/127.0.0.1/tcp/1"), public));
        assert!(!vet.permits_own(&address("/ip4/10.0.0.1/tcp/1"), public));
        assert!(vet.permits_own(&address("/ip4/9.9.9.9/tcp/1"), public));
        assert!(vet.permits_own(&address("/ip4/127.0.0.1/tcp/1"), "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_denied_is_denied_even_where_it_is_allowed() {
        let access = Access {
            deny_prefixes: vec!["10.1.0.0/16".parse().unwrap()],
            allow_prefixes: vec!["10.0.0.0/8".parse().unwrap()],
            ..Access::default()
        };
        let code = |text: &str| {
            let address = address(text);
            access.address(&address, ip_of(&address)).map_err(|d| d.code())
        };
        assert_eq!(code("/ip4/10.2.0.1/tcp/1"), Ok(()));
        assert_eq!(code("/ip4/10.1.0.1/tcp/1"), Err("address-denied"));
        assert_eq!(code("/ip4/11.0.0.1/tcp/1"), Err("address-not-allowed"));
        assert_eq!(
            code("/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"),
            Err("address-not-allowed")
        );
    }
}
