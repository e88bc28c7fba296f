//! In which order equals are listed: another one for each query, so that nobody is everybody's first.

use actum_model::{Did, Query};

/// Where a provider stands among equals in the answer to a query; the least comes first.
///
/// The query's nonce decides, which nobody knows who chooses a name: no name is better than others. The same arguments give
/// the same turn everywhere.
pub fn turn(query: &Query, provider: &Did) -> u64 {
    let [a, b, c, d, e, f, g, h, rest @ ..] = query.nonce.into_array();
    let [i, j, k, l] = rest;
    let nonce = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let rest = u64::from(u32::from_be_bytes([i, j, k, l]));
    provider.as_bytes().chunks(8).fold(mix(nonce ^ mix(rest)), |turn, part| {
        let part = part.iter().fold(0_u64, |part, byte| part << 8 | u64::from(*byte));
        mix(turn ^ part)
    })
}

/// The finalizer of splitmix64: each bit of its argument changes half of the bits.
const fn mix(z: u64) -> u64 {
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::{Filters, SecretKey};
    use serde_bytes::ByteArray;

    fn query(nonce: [u8; 12]) -> Query {
        let did = SecretKey::from_seed(&[1; 32]).did();
        Query {
            iss: did,
            aud: did,
            text: String::new(),
            filters: Filters::default(),
            limit: 1,
            nonce: ByteArray::new(nonce),
        }
    }

    #[test]
    fn each_comes_first_now_and_then() {
        let names: Vec<_> = (0..4).map(|n| SecretKey::from_seed(&[n; 32]).did()).collect();
        let mut firsts = [0; 4];
        for n in 0..=255_u8 {
            // The nonce differs at one end or at the other.
            let mut nonce = [0; 12];
            nonce[if n % 2 == 0 { 0 } else { 11 }] = n;
            let first = (0..4).min_by_key(|place| turn(&query(nonce), &names[*place])).unwrap();
            firsts[first] += 1;
        }
        assert!(firsts.iter().all(|firsts| (40..90).contains(firsts)), "{firsts:?}");
        assert_eq!(turn(&query([7; 12]), &names[0]), turn(&query([7; 12]), &names[0]));
    }
}
