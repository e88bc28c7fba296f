//! What is kept of each statement beside its bytes, as rows of fixed layout: little-endian fields, then a checksum.
//!
//! Reading a million of them back takes a second or two; verifying as many signatures would take over a minute.

use crate::state::{Buried, Entry, Leased, Probed};
use actum_model::Did;

/// FNV-1a over the row: finds what rotted, not who meant to.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn sealed(mut row: Vec<u8>) -> Vec<u8> {
    row.extend(fnv(&row).to_le_bytes());
    row
}

/// Reads fields one after the other; `None` where the row ends too soon.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a row whose checksum is right.
    fn of(row: &'a [u8]) -> Option<Self> {
        let (fields, sum) = row.split_last_chunk::<8>()?;
        (fnv(fields) == u64::from_le_bytes(*sum)).then_some(Self(fields))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Entry {
    /// The row of an offer.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(128);
        row.extend(self.provider.to_le_bytes());
        row.extend(self.generation.to_le_bytes());
        row.extend(self.release);
        row.extend(self.id);
        for number in [self.seq, self.nbf, self.exp, self.taken, self.said] {
            row.extend(number.to_le_bytes());
        }
        row.push(self.probed as u8);
        sealed(row)
    }

    pub(crate) fn read(row: &[u8]) -> Option<Self> {
        let mut f = Fields::of(row)?;
        Some(Self {
            provider: f.u32()?,
            generation: f.u32()?,
            release: f.take()?,
            id: f.take()?,
            seq: f.u64()?,
            nbf: f.u64()?,
            exp: f.u64()?,
            taken: f.u64()?,
            said: f.u64()?,
            probed: match f.take()? {
                [0] => Probed::Never,
                [1] => Probed::Answers,
                [2] => Probed::Silent,
                _ => return None,
            },
            probe_at: 0,
            tries: 0,
        })
    }
}

/// The row of a provider: who it is, its place's generation, and its lease.
pub(crate) fn provider(did: &Did, generation: u32, lease: Option<&Leased>) -> Vec<u8> {
    let mut row = Vec::with_capacity(128);
    row.extend(did.as_bytes());
    row.extend(generation.to_le_bytes());
    if let Some(lease) = lease {
        row.extend(lease.id);
        for number in [lease.seq, lease.nbf, lease.exp, lease.descriptors_seq] {
            row.extend(number.to_le_bytes());
        }
        row.extend(lease.load.to_le_bytes());
        row.extend(lease.capacity.to_le_bytes());
    }
    sealed(row)
}

pub(crate) fn read_provider(row: &[u8]) -> Option<(Did, u32, Option<Leased>)> {
    let mut f = Fields::of(row)?;
    let did = Did::from_bytes(f.take()?).ok()?;
    let generation = f.u32()?;
    if f.0.is_empty() {
        return Some((did, generation, None));
    }
    let lease = Leased {
        id: f.take()?,
        seq: f.u64()?,
        nbf: f.u64()?,
        exp: f.u64()?,
        descriptors_seq: f.u64()?,
        load: f.u32()?,
        capacity: f.u32()?,
        ip: None,
    };
    Some((did, generation, Some(lease)))
}

/// What a tombstone's row has before the statement's bytes, and the checksum: the provider's place, the release and
/// whether there is one, and the numbers.
const BURIED_BYTES: usize = 4 + 1 + 32 + 32 + 3 * 8 + 8;

impl Buried {
    /// The row of a tombstone, without its statement.
    pub(crate) fn row(&self, provider: u32) -> Vec<u8> {
        let mut row = Vec::with_capacity(BURIED_BYTES);
        row.extend(provider.to_le_bytes());
        row.push(u8::from(self.of.is_some()));
        row.extend(self.of.unwrap_or_default());
        row.extend(self.id);
        for number in [self.seq, self.nbf, self.exp] {
            row.extend(number.to_le_bytes());
        }
        sealed(row)
    }

    /// The provider's place and the tombstone of a row, with or without its statement.
    pub(crate) fn read(key: u32, row: &[u8]) -> Option<(u32, Self)> {
        let mut f = Fields::of(row.get(..BURIED_BYTES)?)?;
        let provider = f.u32()?;
        let [has] = f.take()?;
        let of = f.take()?;
        let buried = Self {
            key,
            of: (has == 1).then_some(of),
            id: f.take()?,
            seq: f.u64()?,
            nbf: f.u64()?,
            exp: f.u64()?,
        };
        Some((provider, buried))
    }
}

/// The statement behind a tombstone's row.
pub(crate) fn statement_of(row: &[u8]) -> Option<&[u8]> {
    row.get(BURIED_BYTES..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::SecretKey;
    use proptest::prelude::*;

    fn entry() -> Entry {
        Entry {
            provider: 1,
            generation: 2,
            release: [3; 32],
            id: [4; 32],
            seq: 5,
            nbf: 6,
            exp: 7,
            taken: 8,
            said: 9,
            probed: Probed::Silent,
            probe_at: 0,
            tries: 0,
        }
    }

    #[test]
    fn rows_are_read_back_and_one_bit_wrong_is_noticed() {
        let did = SecretKey::from_seed(&[1; 32]).did();
        let lease = Leased {
            id: [1; 32],
            seq: 2,
            nbf: 3,
            exp: 4,
            descriptors_seq: 5,
            load: 6,
            capacity: 7,
            ip: None,
        };
        let buried = Buried { key: 9, of: Some([2; 32]), id: [3; 32], seq: 4, nbf: 5, exp: 6 };
        let rows = [entry().row(), provider(&did, 3, Some(&lease)), provider(&did, 3, None), buried.row(8)];
        let read = |row: &[u8]| {
            [
                Entry::read(row).map(|e| format!("{e:?}")),
                read_provider(row).map(|p| format!("{p:?}")),
                Buried::read(9, row).map(|b| format!("{b:?}")),
            ]
        };
        assert_eq!(read(&rows[0])[0], Some(format!("{:?}", entry())));
        assert_eq!(read(&rows[1])[1], Some(format!("{:?}", (did, 3, Some(&lease)))));
        assert_eq!(read(&rows[2])[1], Some(format!("{:?}", (did, 3, None::<Leased>))));
        assert_eq!(read(&rows[3])[2], Some(format!("{:?}", (8, &buried))));
        for row in rows {
            for bit in 0..row.len() * 8 {
                let mut wrong = row.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&wrong), [None, None, None]);
            }
        }
    }

    proptest! {
        #[test]
        fn noise_is_no_row(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Entry::read(&noise).is_none() && read_provider(&noise).is_none());
            prop_assert!(Buried::read(1, &noise).is_none());
        }
    }
}
