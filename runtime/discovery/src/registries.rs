//! Which registries to ask: few, and such that no one operator and no one address range speaks with more than one voice.

use crate::advertise::{LocalAddresses, Prefix};
use actum_model::Did;
use std::{collections::BTreeSet, net::IpAddr};

/// How many registries a query is sent to.
pub const REGISTRIES: usize = 3;

/// Omissions after which a registry is asked only where nobody else is to be had.
pub const MAX_OMISSIONS: u32 = 2;

/// A registry that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub did: Did,
    /// Who runs it, as far as the requester knows: the key itself where nothing else is known.
    pub operator: Did,
    /// Where it is.
    pub ip: IpAddr,
    /// How often it was caught leaving out what it should have had, lately.
    pub omissions: u32,
    /// Whether the requester named it: then it is asked before others.
    pub named: bool,
}

/// At most [`REGISTRIES`] of the candidates, no two of one operator or of one address prefix (a /24 or a /48).
///
/// Named ones come first, then those caught less often; among equals `draw` decides, a random number of this query, so
/// that nobody is everybody's registry. Those caught more than [`MAX_OMISSIONS`] times are taken only where fewer than
/// [`REGISTRIES`] others are left.
pub fn choose_registries(candidates: &[Candidate], local: LocalAddresses, draw: u64) -> Vec<Candidate> {
    let mut ranked: Vec<_> = candidates.iter().collect();
    ranked.sort_by_key(|c| (c.omissions > MAX_OMISSIONS, !c.named, c.omissions, mix(draw, &c.did), c.did));
    let (mut operators, mut prefixes): (BTreeSet<Did>, BTreeSet<Prefix>) = Default::default();
    let mut chosen = Vec::new();
    for candidate in ranked {
        if chosen.len() == REGISTRIES {
            break;
        }
        let prefix = local.prefix(candidate.ip);
        if operators.contains(&candidate.operator) || prefix.is_some_and(|p| prefixes.contains(&p)) {
            continue;
        }
        operators.insert(candidate.operator);
        prefixes.extend(prefix);
        chosen.push(candidate.clone());
    }
    chosen
}

/// A place in an order that is another for each draw.
fn mix(draw: u64, did: &Did) -> [u8; 32] {
    let bytes = [draw.to_be_bytes().as_slice(), did.to_string().as_bytes()].concat();
    actum_model::id::sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;

    fn candidate(n: u8, ip: [u8; 4]) -> Candidate {
        let did = SecretKey::from_seed(&[n; 32]).did();
        Candidate { did, operator: did, ip: IpAddr::from(ip), omissions: 0, named: false }
    }

    fn dids(chosen: &[Candidate]) -> BTreeSet<Did> {
        chosen.iter().map(|c| c.did).collect()
    }

    #[test]
    fn no_prefix_and_no_operator_speaks_twice() {
        let sybils = (0..50).map(|n| candidate(n, [203, 0, 113, n]));
        let others = [candidate(100, [198, 51, 100, 1]), candidate(101, [192, 0, 2, 1])];
        let twin = Candidate { operator: others[0].did, ..candidate(102, [192, 0, 3, 1]) };
        let all: Vec<_> = sybils.chain(others.clone()).chain([twin.clone()]).collect();
        for draw in 0..50 {
            let chosen = choose_registries(&all, LocalAddresses::Count, draw);
            assert_eq!(chosen.len(), 3);
            assert_eq!(chosen.iter().filter(|c| c.ip.to_string().starts_with("203.")).count(), 1);
            let both = dids(&chosen).contains(&others[0].did) && dids(&chosen).contains(&twin.did);
            assert!(!both, "one operator twice");
        }
    }

    #[test]
    fn on_one_machine_addresses_say_nothing() {
        let all: Vec<_> = (0..5).map(|n| candidate(n, [127, 0, 0, 1])).collect();
        assert_eq!(choose_registries(&all, LocalAddresses::Exempt, 1).len(), 3);
        assert_eq!(choose_registries(&all, LocalAddresses::Count, 1).len(), 1);
    }

    #[test]
    fn who_left_things_out_comes_last_and_who_is_named_first() {
        let mut all: Vec<_> = (0..6).map(|n| candidate(n, [198, 51, n, 1])).collect();
        for caught in &mut all[..3] {
            caught.omissions = MAX_OMISSIONS + 1;
        }
        all[5].named = true;
        for draw in 0..20 {
            let chosen = choose_registries(&all, LocalAddresses::Count, draw);
            assert_eq!(chosen[0].did, all[5].did);
            assert_eq!(dids(&chosen), dids(&all[3..]));
        }
        let few = choose_registries(&all[..2], LocalAddresses::Count, 0);
        assert_eq!(few.len(), 2, "better a bad one than none");
    }

    #[test]
    fn each_query_asks_others() {
        let all: Vec<_> = (0..10).map(|n| candidate(n, [198, 51, n, 1])).collect();
        let drawn: BTreeSet<_> =
            (0..40).flat_map(|draw| dids(&choose_registries(&all, LocalAddresses::Count, draw))).collect();
        assert_eq!(drawn.len(), 10);
        let again = |draw| choose_registries(&all, LocalAddresses::Count, draw);
        assert_eq!(again(7), again(7));
    }
}
