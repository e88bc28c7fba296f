//! Soft state: offers seen and peers met, bounded and expiring. A restart starts from here rather than from nothing.

use crate::{Store, StoreError, db::column};
use actum_model::{Descriptor, Did, Lease, Signed, Statement, Tombstone};
use rusqlite::{Connection, params};

/// The most offers kept: 20,000, about 100 MB at their largest. When full, those that expire soonest make room.
pub const MAX_OFFERS: usize = 20_000;

/// The most offers kept of one provider: 64. When full, those of the lowest `seq`, then soonest expiry, make room.
pub const MAX_OFFERS_PER_PROVIDER: usize = 64;

/// The most peer addresses kept: 1,000. When full, those seen longest ago make room.
pub const MAX_PEERS: usize = 1_000;

/// The longest peer address kept, in bytes: 256.
pub const MAX_ADDRESS_BYTES: usize = 256;

/// An offer as it was seen: the newest descriptor of one release, and its provider's newest lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOffer {
    /// What is offered.
    pub descriptor: Signed<Descriptor>,
    /// How things stand with the provider. The same for all its offers.
    pub lease: Signed<Lease>,
}

/// A peer's address, and when it was last good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The address, as the overlay writes it.
    pub addr: String,
    /// Whose it is.
    pub did: Did,
    /// When it was last seen there, in seconds since the Unix epoch.
    pub last_seen: u64,
}

impl Store {
    /// Keeps an offer seen. Each half replaces the one kept only if its `seq` is higher; expired offers are dropped.
    ///
    /// A descriptor and a lease of two providers are [`StoreError::Mismatch`]. `now` is in seconds since the Unix epoch.
    pub fn put_offer(
        &self,
        descriptor: &Signed<Descriptor>,
        lease: &Signed<Lease>,
        now: u64,
    ) -> Result<(), StoreError> {
        self.put_offers(std::slice::from_ref(&(descriptor, lease)), now)
    }

    /// Keeps several offers in one transaction. As [`Store::put_offer`].
    pub fn put_offers(
        &self,
        offers: &[(&Signed<Descriptor>, &Signed<Lease>)],
        now: u64,
    ) -> Result<(), StoreError> {
        for (descriptor, lease) in offers {
            let (wanted, got) = (descriptor.payload().iss, lease.payload().iss);
            if wanted != got {
                return Err(StoreError::Mismatch {
                    what: "lease",
                    wanted: wanted.to_string(),
                    got: got.to_string(),
                });
            }
        }
        self.write_soft(|tx| {
            for (descriptor, lease) in offers {
                put_descriptor(tx, descriptor)?;
                put_lease(tx, lease)?;
            }
            prune(tx, now).map(drop)
        })
    }

    /// The offers that have not expired at `now` (seconds since the Unix epoch) and that their provider's lease still
    /// covers, by provider, then release. Whether one is valid *yet* is for discovery to say: clocks differ.
    pub fn offers(&self, now: u64) -> Result<Vec<StoredOffer>, StoreError> {
        let rows: Vec<(String, Vec<u8>, Vec<u8>)> = self.read(|db| {
            db.prepare_cached(
                "SELECT d.provider, d.bytes, l.bytes FROM descriptors d JOIN leases l USING (provider)
                 WHERE d.exp > ?1 AND l.exp > ?1 ORDER BY d.provider, d.release",
            )?
            .query_map([column(now)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
        })?;
        let mut offers = Vec::with_capacity(rows.len());
        for (provider, descriptor, lease) in rows {
            let offer = StoredOffer {
                descriptor: verified("descriptor of", &provider, &descriptor)?,
                lease: verified("lease of", &provider, &lease)?,
            };
            if offer.descriptor.payload().seq >= offer.lease.payload().descriptors_seq {
                offers.push(offer);
            }
        }
        Ok(offers)
    }

    /// Drops what a provider took back; returns how many descriptors that were.
    pub fn take_back(&self, tombstone: &Signed<Tombstone>) -> Result<usize, StoreError> {
        let Tombstone { iss, release, seq, .. } = tombstone.payload();
        let (provider, seq) = (iss.to_string(), column(*seq));
        self.write_soft(|tx| match release {
            Some(release) => tx
                .prepare_cached("DELETE FROM descriptors WHERE provider = ?1 AND release = ?2 AND seq <= ?3")?
                .execute(params![provider, release.to_string(), seq]),
            None => {
                tx.prepare_cached("DELETE FROM leases WHERE provider = ?1 AND seq <= ?2")?
                    .execute(params![provider, seq])?;
                tx.prepare_cached("DELETE FROM descriptors WHERE provider = ?1 AND seq <= ?2")?
                    .execute(params![provider, seq])
            }
        })
    }

    /// Drops the offers expired at `now` (seconds since the Unix epoch); returns how many descriptors that were.
    pub fn prune_offers(&self, now: u64) -> Result<usize, StoreError> {
        self.write_soft(|tx| prune(tx, now))
    }

    /// Keeps a peer's address and when it was last good, in seconds since the Unix epoch.
    ///
    /// Refuses an address longer than [`MAX_ADDRESS_BYTES`].
    pub fn put_peer(&self, addr: &str, did: &Did, last_seen: u64) -> Result<(), StoreError> {
        if addr.len() > MAX_ADDRESS_BYTES {
            return Err(StoreError::TooLarge {
                what: "address",
                actual: addr.len(),
                limit: MAX_ADDRESS_BYTES,
            });
        }
        self.put_peers(&[(addr.to_owned(), *did)], last_seen)
    }

    /// As [`put_peer`](Self::put_peer), of several in one transaction; those whose address is too long are left out.
    pub fn put_peers(&self, peers: &[(String, Did)], last_seen: u64) -> Result<(), StoreError> {
        let peers = || peers.iter().filter(|(addr, _)| addr.len() <= MAX_ADDRESS_BYTES);
        if peers().next().is_none() {
            return Ok(());
        }
        self.write_soft(|tx| {
            for (addr, did) in peers() {
                tx.prepare_cached(
                    "INSERT INTO peers (did, addr, last_seen) VALUES (?1, ?2, ?3)
                     ON CONFLICT (did, addr) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen)",
                )?
                .execute(params![did.to_string(), addr, column(last_seen)])?;
            }
            tx.prepare_cached(
                "DELETE FROM peers WHERE rowid IN
                 (SELECT rowid FROM peers ORDER BY last_seen DESC, rowid DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([MAX_PEERS as i64])?;
            Ok(())
        })
    }

    /// The peers met, the one seen last first.
    pub fn peers(&self) -> Result<Vec<PeerRecord>, StoreError> {
        let rows: Vec<(String, String, i64)> = self.read(|db| {
            db.prepare_cached("SELECT addr, did, last_seen FROM peers ORDER BY last_seen DESC, did, addr")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        rows.into_iter()
            .map(|(addr, did, last_seen)| {
                let corrupt = |e: actum_model::key::KeyError| StoreError::Corrupt {
                    what: "peer",
                    id: addr.clone(),
                    why: e.to_string(),
                };
                let did = did.parse().map_err(corrupt)?;
                Ok(PeerRecord { addr, did, last_seen: u64::try_from(last_seen).unwrap_or(0) })
            })
            .collect()
    }
}

fn put_descriptor(tx: &Connection, descriptor: &Signed<Descriptor>) -> rusqlite::Result<()> {
    let payload = descriptor.payload();
    let provider = payload.iss.to_string();
    tx.prepare_cached(
        "INSERT INTO descriptors (provider, release, seq, exp, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (provider, release) DO UPDATE
         SET seq = excluded.seq, exp = excluded.exp, bytes = excluded.bytes WHERE excluded.seq > seq",
    )?
    .execute(params![
        provider,
        payload.release.to_string(),
        column(payload.seq),
        column(payload.exp),
        descriptor.bytes()
    ])?;
    tx.prepare_cached(
        "DELETE FROM descriptors WHERE rowid IN
         (SELECT rowid FROM descriptors WHERE provider = ?1 ORDER BY seq DESC, exp DESC, release LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![provider, MAX_OFFERS_PER_PROVIDER as i64])?;
    Ok(())
}

fn put_lease(tx: &Connection, lease: &Signed<Lease>) -> rusqlite::Result<()> {
    let payload = lease.payload();
    tx.prepare_cached(
        "INSERT INTO leases (provider, seq, exp, bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (provider) DO UPDATE
         SET seq = excluded.seq, exp = excluded.exp, bytes = excluded.bytes WHERE excluded.seq > seq",
    )?
    .execute(params![
        payload.iss.to_string(),
        column(payload.seq),
        column(payload.exp),
        lease.bytes()
    ])?;
    Ok(())
}

fn prune(tx: &Connection, now: u64) -> rusqlite::Result<usize> {
    let expired = tx.prepare_cached("DELETE FROM descriptors WHERE exp <= ?1")?.execute([column(now)])?;
    let surplus = tx
        .prepare_cached(
            "DELETE FROM descriptors WHERE rowid IN
             (SELECT rowid FROM descriptors ORDER BY exp DESC, rowid DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([MAX_OFFERS as i64])?;
    tx.prepare_cached(
        "DELETE FROM leases WHERE exp <= ?1 OR provider NOT IN (SELECT provider FROM descriptors)",
    )?
    .execute([column(now)])?;
    Ok(expired + surplus)
}

/// Rows of soft state are keyed by provider, not by id, so damage shows as an envelope that does not verify.
fn verified<T: Statement>(what: &'static str, provider: &str, bytes: &[u8]) -> Result<Signed<T>, StoreError> {
    Signed::verify(bytes).map_err(|e| StoreError::Corrupt {
        what,
        id: provider.to_owned(),
        why: e.to_string(),
    })
}
