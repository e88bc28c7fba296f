//! A peer that ads can be registered at or asked for: who, where, and from which part of the address space.

use super::Place;
use actum_model::{Did, Lease};
use std::{net::IpAddr, sync::Arc};

/// The part of the address space that one holder commonly has: a /24 of IPv4, a /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// The first three bytes of an IPv4 address.
    V4([u8; 3]),
    /// The first six bytes of an IPv6 address.
    V6([u8; 6]),
}

impl Prefix {
    /// The prefix of an address. An IPv4 address written as IPv6 is an IPv4 address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

/// Whether addresses of one machine or one local network count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalAddresses {
    /// Like all others: the peers of one home are of one prefix. The default.
    #[default]
    Count,
    /// Loopback, private and link-local addresses are of no prefix. For tests and for networks that are one machine or one
    /// local network: there an address says nothing, and an attacker is as free as anybody.
    Exempt,
}

impl LocalAddresses {
    /// The prefix an address counts for, if it does.
    pub fn prefix(self, ip: IpAddr) -> Option<Prefix> {
        self.counts(ip).then(|| Prefix::of(ip))
    }

    /// Whether an address counts.
    pub fn counts(self, ip: IpAddr) -> bool {
        self == Self::Count || !is_local(ip)
    }
}

fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Why a peer named by another is not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// More addresses, or longer ones, than a lease may have.
    #[error("a peer has at most {} addresses of {} bytes", Lease::MAX_ADDRS, Lease::MAX_ADDR_BYTES)]
    TooLong,
    /// No address that begins with `/ip4/` or `/ip6/`, so nothing says which prefix it is of.
    #[error("no address of the peer begins with /ip4/ or /ip6/")]
    NoIp,
}

impl PeerRefused {
    /// The stable code, as in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "peer-too-long",
            Self::NoIp => "peer-without-ip",
        }
    }
}

/// A peer. Cheap to clone: every table that has it shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    did: Did,
    place: Place,
    addrs: Box<[String]>,
    ip: IpAddr,
}

impl Peer {
    /// A peer we have a connection with, `ip` being the address seen on it. `addrs` are multiaddrs without the peer id.
    pub fn observed(did: Did, addrs: Vec<String>, ip: IpAddr) -> Self {
        Self(Arc::new(Inner { place: Place::of(&did), did, addrs: addrs.into(), ip: ip.to_canonical() }))
    }

    /// A peer that somebody named. It counts for the prefix of its first public IPv4 address, or else of its first public
    /// one, its first beyond one machine, its first; those of other prefixes are left out, since whoever named it could
    /// have a peer counted in one place and met in another.
    ///
    /// # Errors
    /// [`PeerRefused`], when it has more addresses than a lease may, or none with an IP.
    pub fn named(did: Did, addrs: Vec<String>) -> Result<Self, PeerRefused> {
        if addrs.len() > Lease::MAX_ADDRS || addrs.iter().any(|a| a.len() > Lease::MAX_ADDR_BYTES) {
            return Err(PeerRefused::TooLong);
        }
        let ips = || addrs.iter().filter_map(|a| ip_of(a)).map(|ip| ip.to_canonical());
        let rank = |ip: &IpAddr| (ip.is_loopback(), is_local(*ip), ip.is_ipv6() && !is_local(*ip));
        // The first of the best.
        let ip = ips().min_by_key(rank).ok_or(PeerRefused::NoIp)?;
        let prefix = Some(Prefix::of(ip));
        let addrs = addrs.into_iter().filter(|a| ip_of(a).map(|ip| Prefix::of(ip.to_canonical())) == prefix);
        Ok(Self::observed(did, addrs.collect(), ip))
    }

    /// Who it is.
    pub fn did(&self) -> &Did {
        &self.0.did
    }

    /// Where it is among the keys.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// Where it can be reached, as multiaddrs without the peer id.
    pub fn addrs(&self) -> &[String] {
        &self.0.addrs
    }

    /// The address it counts by.
    pub fn ip(&self) -> IpAddr {
        self.0.ip
    }
}

/// The IP address a multiaddr begins with.
fn ip_of(addr: &str) -> Option<IpAddr> {
    let mut parts = addr.strip_prefix('/')?.split('/');
    match (parts.next()?, parts.next()?) {
        ("ip4", ip) => ip.parse().ok().map(IpAddr::V4),
        ("ip6", ip) => ip.parse().ok().map(IpAddr::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    #[test]
    fn a_named_peer_counts_for_the_prefix_of_its_first_address() {
        let did = SecretKey::from_seed(&[1; 32]).did();
        let named = |addrs: &[&str]| Peer::named(did, addrs.iter().map(|a| (*a).to_owned()).collect());
        let peer = named(&["/dns4/example.com/tcp/1", "/ip4/192.0.2.7/tcp/4001"]).unwrap();
        assert_eq!(Prefix::of(peer.ip()), Prefix::V4([192, 0, 2]));
        assert_eq!(peer.addrs(), ["/ip4/192.0.2.7/tcp/4001"]);
        // Counted there, and met there.
        let elsewhere = ["/ip4/192.0.2.7/tcp/1", "/ip4/198.51.100.1/tcp/4001", "/ip4/192.0.2.8/tcp/1"];
        assert_eq!(named(&elsewhere).unwrap().addrs(), [elsewhere[0], elsewhere[2]]);
        let home = ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/tcp/1"];
        assert_eq!(named(&home).unwrap().addrs(), [home[1]]);
        assert_eq!(named(&home[..1]).unwrap().addrs(), [home[0]]);
        let both = ["/ip6/2001:4860::5/tcp/1", "/ip4/192.168.1.2/tcp/1", "/ip4/198.51.100.7/tcp/1"];
        assert_eq!(named(&both).unwrap().addrs(), [both[2]]);
        assert_eq!(named(&both[..2]).unwrap().addrs(), [both[0]]);
        assert_eq!(
            named(&["/ip6/::ffff:192.0.2.9/tcp/1"]).map(|p| Prefix::of(p.ip())),
            Ok(Prefix::V4([192, 0, 2]))
        );
        assert_eq!(named(&["/dns4/example.com/tcp/1"]).unwrap_err().code(), "peer-without-ip");
        assert_eq!(named(&[]).unwrap_err(), PeerRefused::NoIp);
        assert_eq!(named(&["/ip4/192.0.2.7/tcp/1"; 5]).unwrap_err().code(), "peer-too-long");
    }

    #[test]
    fn local_addresses_are_exempt_only_when_asked() {
        for ip in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(LocalAddresses::default().prefix(ip), Some(Prefix::of(ip)));
            assert_eq!(LocalAddresses::Exempt.prefix(ip), None);
        }
        let public: IpAddr = "203.0.113.1".parse().unwrap();
        assert_eq!(LocalAddresses::Exempt.prefix(public), Some(Prefix::of(public)));
    }
}
