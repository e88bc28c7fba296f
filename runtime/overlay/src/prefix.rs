//! IP addresses as limits and lists see them: ranges, the operator's guess of who shares one, and how far one reaches.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of IP addresses, in text `10.0.0.0/8` or `2001:db8::/32`; one address alone is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix {
    /// The first address of the range: every bit past `length` is zero.
    first: IpAddr,
    length: u8,
}

/// Why a text is no [`IpPrefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// What stands before the slash is no IP address.
    #[error("{0:?} is not an IP address")]
    NotAnAddress(String),
    /// What stands behind the slash is no number of bits of such an address.
    #[error("{length:?} is not a prefix length of at most {max} bits")]
    BadLength {
        /// The length as given.
        length: String,
        /// The bits of an address of that family.
        max: u8,
    },
    /// Bits are set past the length: `10.0.0.1/8` is a slip more often than it is meant.
    #[error("{given} has bits set past its length; the range is {meant}")]
    BitsPastLength {
        /// The range as given.
        given: String,
        /// The range it lies in.
        meant: IpPrefix,
    },
}

impl IpPrefix {
    /// The range of `length` bits that `ip` lies in. An IPv4 address in IPv6 clothing counts as IPv4; lengths past the
    /// family's bits are the family's bits.
    pub fn around(ip: IpAddr, length: u8) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Self { first: Ipv4Addr::from_bits(ip.to_bits() & mask).into(), length }
            }
            IpAddr::V6(ip) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Self { first: Ipv6Addr::from_bits(ip.to_bits() & mask).into(), length }
            }
        }
    }

    /// Whether the range holds that address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && Self::around(ip, self.length) == *self
    }

    /// The range whose holders count as one party: a /24 of IPv4, a /48 of IPv6. Both are what one customer of a
    /// hosting company gets without a question asked.
    pub fn party_of(ip: IpAddr) -> Self {
        Self::around(ip, if ip.to_canonical().is_ipv4() { 24 } else { 48 })
    }
}

impl FromStr for IpPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (ip, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
        let ip: IpAddr = ip.parse().map_err(|_| PrefixError::NotAnAddress(ip.to_owned()))?;
        let max = if ip.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => max,
            Some(length) => length
                .parse()
                .ok()
                .filter(|n| *n <= max)
                .ok_or_else(|| PrefixError::BadLength { length: length.to_owned(), max })?,
        };
        let prefix = Self::around(ip, length);
        if prefix.first != ip {
            return Err(PrefixError::BitsPastLength { given: text.to_owned(), meant: prefix });
        }
        Ok(prefix)
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// This machine.
    Loopback,
    /// A network of somebody's own: RFC 1918, RFC 6598, link-local, unique local.
    Private,
    /// Everybody.
    Public,
    /// Nobody's to dial: unspecified, multicast, broadcast, documentation, benchmarks, reserved.
    Nobody,
}

/// How far an address reaches. Forms of IPv6 that carry an IPv4 address (mapped, NAT64, 6to4) reach as far as that one:
/// otherwise they would be a way round every rule here.
pub(crate) fn reach_of(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => reach_of_v4(ip),
        IpAddr::V6(ip) => reach_of_v6(ip),
    }
}

fn reach_of_v4(ip: Ipv4Addr) -> Reach {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        (127, ..) => Reach::Loopback,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (169, 254, _) => Reach::Private,
        (0 | 224.., ..) | (192, 0, 0 | 2) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => {
            Reach::Nobody
        }
        _ => Reach::Public,
    }
}

fn reach_of_v6(ip: Ipv6Addr) -> Reach {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| reach_of_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        _ if ip == Ipv6Addr::LOCALHOST => Reach::Loopback,
        (0, 0) => Reach::Nobody,
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => v4(g, h),
        (0x64, 0xff9b) => Reach::Private,
        (0x2002, _) => v4(b, c),
        (0x2001, 0 | 0xdb8) => Reach::Nobody,
        (0xfc00..=0xfdff | 0xfe80..=0xfebf, _) => Reach::Private,
        (0x2000..=0x3fff, _) => Reach::Public,
        _ => Reach::Nobody,
    }
}

/// The IP address an address starts with: of a relayed one, the relay's.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::from(ip).to_canonical()),
        _ => None,
    }
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The relay an address leads through, and the peer it ends at.
pub(crate) fn relay_of(address: &Multiaddr) -> Option<PeerId> {
    let mut relay = None;
    for part in address {
        match part {
            Protocol::P2p(peer) => relay = Some(peer),
            Protocol::P2pCircuit => return relay,
            _ => {}
        }
    }
    None
}

/// An address without the peer at its end.
pub(crate) fn without_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn prefix(text: &str) -> IpPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        assert!(prefix("10.1.0.0/16").contains(ip("10.1.255.255")));
        assert!(!prefix("10.1.0.0/16").contains(ip("10.2.0.0")));
        assert!(prefix("10.1.0.0/16").contains(ip("::ffff:10.1.2.3")), "IPv4 in IPv6 clothing");
        assert!(!prefix("::/0").contains(ip("10.1.2.3")), "another family");
        assert!(prefix("0.0.0.0/0").contains(ip("255.1.2.3")));
        assert!(prefix("2001:db8::/32").contains(ip("2001:db8:ffff::1")));
        assert_eq!(prefix("192.0.2.7"), prefix("192.0.2.7/32"));
        assert_eq!(prefix("2001:db8::/32").to_string(), "2001:db8::/32");
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_reason() {
        assert_eq!("ten/8".parse::<IpPrefix>(), Err(PrefixError::NotAnAddress("ten".to_owned())));
        for length in ["33", "-1", "", "8/8"] {
            let refused = format!("10.0.0.0/{length}").parse::<IpPrefix>();
            assert!(matches!(refused, Err(PrefixError::BadLength { max: 32, .. })), "{refused:?}");
        }
        assert_eq!(
            "10.0.0.1/8".parse::<IpPrefix>(),
            Err(PrefixError::BitsPastLength { given: "10.0.0.1/8".to_owned(), meant: prefix("10.0.0.0/8") })
        );
    }

    #[test]
    fn one_party_is_a_24_or_a_48() {
        assert_eq!(IpPrefix::party_of(ip("203.0.113.9")).to_string(), "203.0.113.0/24");
        assert_eq!(IpPrefix::party_of(ip("::ffff:203.0.113.9")).to_string(), "203.0.113.0/24");
        assert_eq!(IpPrefix::party_of(ip("2001:db8:1:2::3")).to_string(), "2001:db8:1::/48");
    }

    #[test]
    fn no_clothing_makes_an_inner_address_public() {
        for inner in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
            assert_eq!(reach_of(ip(inner)), Reach::Loopback, "{inner}");
        }
        for inner in ["10.0.0.1", "100.64.0.1", "169.254.169.254", "fe80::1", "fd00::1", "64:ff9b::a00:1"] {
            assert_eq!(reach_of(ip(inner)), Reach::Private, "{inner}");
        }
        for nobody in
            ["0.0.0.0", "224.0.0.1", "255.255.255.255", "203.0.113.1", "::", "ff02::1", "2001:db8::1"]
        {
            assert_eq!(reach_of(ip(nobody)), Reach::Nobody, "{nobody}");
        }
        for public in ["8.8.8.8", "2a00:1450::1", "64:ff9b::808:808"] {
            assert_eq!(reach_of(ip(public)), Reach::Public, "{public}");
        }
    }
}
