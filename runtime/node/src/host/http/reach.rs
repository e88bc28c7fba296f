//! Which addresses a guest's request may go to: those of the public internet, and those the grant itself spells out.

use actum_model::permission::Origin;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a request to this origin may connect to this address.
///
/// A name never leads to an address that is not public, whatever it resolves to. The exceptions stand in the grant, for
/// everyone to read: an origin that is the address itself, and `localhost`.
pub(super) fn may_reach(origin: &Origin, address: IpAddr) -> bool {
    if let Some(named) = origin.address() {
        return named == address;
    }
    if origin.host() == "localhost" {
        return address.to_canonical().is_loopback();
    }
    is_public(address)
}

/// Whether the address is one that anybody on the internet would reach the same host by.
///
/// Source: IANA's registries of special-purpose addresses (RFC 6890), for IPv6 what is not in 2000::/3 left out whole.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, ..) => true, // this network, private, loopback
        (100, 64..=127, _) => true, // shared by carriers
        (169, 254, _) => true,      // link-local, the clouds' metadata among it
        (172, 16..=31, _) => true,  // private
        (192, 0, 0 | 2) => true,    // protocol assignments, documentation
        (192, 88, 99) => true,      // relays of 6to4
        (192, 168, _) => true,      // private
        (198, 18 | 19, _) => true,  // benchmarks
        (198, 51, 100) => true,     // documentation
        (203, 0, 113) => true,      // documentation
        (224..=255, ..) => true,    // multicast, reserved, broadcast
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low), // NAT64
        [0x2002, high, low, ..] => embedded(high, low),               // 6to4
        [0x2001, 0..=0x1ff, ..] => false, // protocol assignments, Teredo, benchmarks
        [0x2001, 0xdb8, ..] => false,     // documentation
        [0x3fff, 0..=0xfff, ..] => false, // documentation
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

    use super::may_reach;
    use actum_model::permission::Origin;
    use std::net::IpAddr;

    fn reaches(origin: &str, address: &str) -> bool {
        may_reach(&origin.parse::<Origin>().unwrap(), address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_name_leads_to_public_addresses() {
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(reaches("https://example.com", address), "{address}");
        }
    }

    #[test]
    fn a_name_never_leads_to_an_address_that_is_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!reaches("https://example.com", address), "{address}");
        }
    }

    #[test]
    fn an_address_that_is_named_is_reached_and_no_other() {
        assert!(reaches("http://127.0.0.1:8080", "127.0.0.1"));
        assert!(reaches("http://10.1.2.3", "10.1.2.3"));
        assert!(reaches("http://[::1]:8080", "::1"));
        assert!(!reaches("http://127.0.0.1", "127.0.0.2"));
        assert!(!reaches("http://1.1.1.1", "8.8.8.8"));
        assert!(!reaches("http://[::1]", "127.0.0.1"));
    }

    #[test]
    fn localhost_is_loopback_and_nothing_else() {
        assert!(reaches("http://localhost:8080", "127.0.0.1"));
        assert!(reaches("http://localhost", "::1"));
        assert!(!reaches("http://localhost", "10.0.0.1"));
        assert!(!reaches("http://localhost", "1.1.1.1"));
        assert!(
            !reaches("http://localhost.example.com", "127.0.0.1"),
            "a name that only begins so is a name"
        );
    }
}
