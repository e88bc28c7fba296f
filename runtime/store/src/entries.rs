//! Who has served whom: an entry for each receipt between two peers, what they add up to by pair, and the balances that
//! both have signed. Written with the receipt itself, so that neither is there without the other.
//!
//! | table | key | what |
//! |---|---|---|
//! | `entries` | receipt id | provider, requester, fuel, and whether it was found to be void |
//! | `accounts` | provider, requester | how many of them count, their fuel, and the sum that commits to them |
//! | `served` | provider, requester, hour | the fuel of an hour |
//! | `balances` | who says so, of whom | the newest signed balance |

use crate::{Store, StoreError, db::column};
use actum_model::{
    Balance, Did, Receipt, ReceiptId, Signed,
    balance::{ReceiptSet, Tally, between},
};
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry as MapEntry};

/// Seconds in which what was served is added up together.
const HOUR_SECONDS: u64 = 3_600;
/// The most entries read at once.
pub const MAX_ENTRIES_LISTED: usize = 4_096;
/// The most peers listed.
pub const MAX_PARTNERS: usize = 10_000;

/// An entry, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// Its place in this store's own count.
    pub n: u64,
    /// The receipt.
    pub receipt: ReceiptId,
    /// What the receipt says was burned.
    pub fuel: u64,
    /// Whether it was found to be false, so that it counts nothing.
    pub void: bool,
}

/// A peer's signed balance, and when it was last heard or made here, in seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBalance {
    /// The balance.
    pub balance: Signed<Balance>,
    /// When.
    pub at: u64,
}

/// The provider and the requester of an account, as text.
type Pair = (String, String);

fn pair(provider: &Did, requester: &Did) -> Pair {
    (provider.to_string(), requester.to_string())
}

fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn read_id(text: &str) -> rusqlite::Result<ReceiptId> {
    text.parse().map_err(|e: actum_model::id::IdError| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e))
    })
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<ListedEntry> {
    let receipt: String = row.get(1)?;
    Ok(ListedEntry {
        n: number(row.get(0)?),
        receipt: read_id(&receipt)?,
        fuel: number(row.get(2)?),
        void: row.get(3)?,
    })
}

/// Enters receipts that have just been kept, and were not before. One that is no entry, or answers a request that another
/// has answered, is left out.
pub(crate) fn enter<'a>(
    tx: &Connection,
    receipts: impl IntoIterator<Item = &'a Signed<Receipt>>,
) -> rusqlite::Result<()> {
    let mut changed: BTreeMap<Pair, Tally> = BTreeMap::new();
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO entries (receipt, invocation, provider, requester, fuel) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut serve = tx.prepare_cached(
        "INSERT INTO served (provider, requester, hour, fuel) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET fuel = CASE WHEN fuel > ?5 - excluded.fuel THEN ?5 ELSE fuel + excluded.fuel END",
    )?;
    for receipt in receipts {
        let (id, said) = (receipt.id(), receipt.payload());
        let (Some((provider, requester)), Some(invocation)) = (between(said), said.invocation) else {
            continue;
        };
        let pair = pair(&provider, &requester);
        // Before it is entered: what is counted anew here must not count it twice.
        let tally = match changed.entry(pair.clone()) {
            MapEntry::Occupied(known) => known.into_mut(),
            MapEntry::Vacant(new) => new.insert(load(tx, &pair)?.unwrap_or_default()),
        };
        let fuel = column(said.fuel);
        if insert.execute(params![id.to_string(), invocation.to_string(), pair.0, pair.1, fuel])? == 0 {
            continue;
        }
        let hour = column(said.iat / HOUR_SECONDS);
        serve.execute(params![pair.0, pair.1, hour, fuel, i64::MAX])?;
        tally.add(&id, said.fuel);
    }
    changed.iter().try_for_each(|(pair, tally)| save(tx, pair, tally))
}

/// Enters what an older schema kept without entries. What is damaged is left out.
pub(crate) fn enter_all(tx: &Connection) -> rusqlite::Result<()> {
    /// Receipts entered together.
    const TOGETHER: usize = 256;
    let mut after = 0_i64;
    loop {
        let rows: Vec<(i64, Vec<u8>)> = tx
            .prepare_cached("SELECT n, bytes FROM receipts WHERE n > ?1 ORDER BY n LIMIT ?2")?
            .query_map(params![after, TOGETHER as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = *last;
        let receipts: Vec<_> =
            rows.iter().filter_map(|(_, bytes)| Signed::<Receipt>::verify(bytes).ok()).collect();
        enter(tx, &receipts)?;
    }
}

/// What the entries of a pair add up to; none where there never was one.
fn load(db: &Connection, (provider, requester): &Pair) -> rusqlite::Result<Option<Tally>> {
    let kept: Option<(i64, i64, Vec<u8>)> = db
        .prepare_cached("SELECT receipts, fuel, sum FROM accounts WHERE provider = ?1 AND requester = ?2")?
        .query_row([provider, requester], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((receipts, fuel, sum)) = kept else { return Ok(None) };
    match ReceiptSet::from_bytes(&sum) {
        Some(set) => Ok(Some(Tally { receipts: number(receipts), fuel: number(fuel), set })),
        None => count(db, provider, requester).map(Some),
    }
}

/// Counts the entries of a pair one by one.
fn count(db: &Connection, provider: &str, requester: &str) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    let mut select = db.prepare_cached(
        "SELECT n, receipt, fuel, void FROM entries WHERE provider = ?1 AND requester = ?2 AND void = 0",
    )?;
    for entry in select.query_map([provider, requester], read_entry)? {
        let entry = entry?;
        tally.add(&entry.receipt, entry.fuel);
    }
    Ok(tally)
}

fn save(tx: &Connection, (provider, requester): &Pair, tally: &Tally) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO accounts (provider, requester, receipts, fuel, sum) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET receipts = excluded.receipts, fuel = excluded.fuel, sum = excluded.sum",
    )?
    .execute(params![provider, requester, column(tally.receipts), column(tally.fuel), tally.set.to_bytes()])
    .map(drop)
}

/// The newest balance that `iss` signed of `peer`, as its bytes.
fn newest(db: &Connection, iss: &str, peer: &str) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
    db.prepare_cached("SELECT at, bytes FROM balances WHERE iss = ?1 AND peer = ?2")?
        .query_row([iss, peer], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn verified(iss: &str, bytes: &[u8]) -> Result<Signed<Balance>, StoreError> {
    Signed::verify(bytes).map_err(|e| StoreError::Corrupt {
        what: "balance of",
        id: iss.to_owned(),
        why: e.to_string(),
    })
}

/// Both directions of a balance, as `iss` sees them; none where there never was an entry.
fn both(db: &Connection, iss: &str, peer: &str) -> rusqlite::Result<Option<(Tally, Tally)>> {
    let (iss, peer) = (iss.to_owned(), peer.to_owned());
    let served = load(db, &(iss.clone(), peer.clone()))?;
    let consumed = load(db, &(peer, iss))?;
    Ok((served.is_some() || consumed.is_some())
        .then(|| (served.unwrap_or_default(), consumed.unwrap_or_default())))
}

impl Store {
    /// What a provider served a requester, as the receipts here have it, but for the void ones.
    pub fn tally(&self, provider: &Did, requester: &Did) -> Result<Tally, StoreError> {
        let pair = pair(provider, requester);
        Ok(self.read(|db| load(db, &pair))?.unwrap_or_default())
    }

    /// What was served in which hours, by the provider's clock: from this hour on, counted since the Unix epoch.
    pub fn served_since(
        &self,
        provider: &Did,
        requester: &Did,
        hour: u64,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let (provider, requester) = pair(provider, requester);
        self.read(|db| {
            db.prepare_cached(
                "SELECT hour, fuel FROM served WHERE provider = ?1 AND requester = ?2 AND hour >= ?3 ORDER BY hour",
            )?
            .query_map(params![provider, requester, column(hour)], |row| {
                Ok((number(row.get(0)?), number(row.get(1)?)))
            })?
            .collect()
        })
    }

    /// Those with whom `own` has entries, at most [`MAX_PARTNERS`].
    pub fn partners(&self, own: &Did) -> Result<BTreeSet<Did>, StoreError> {
        let own = own.to_string();
        let found: Vec<String> = self.read(|db| {
            db.prepare_cached(
                "SELECT requester FROM accounts WHERE provider = ?1
                 UNION SELECT provider FROM accounts WHERE requester = ?1 LIMIT ?2",
            )?
            .query_map(params![own, MAX_PARTNERS as i64], |row| row.get(0))?
            .collect()
        })?;
        let read = |did: String| {
            did.parse().map_err(|e: actum_model::key::KeyError| StoreError::Corrupt {
                what: "account with",
                id: did.clone(),
                why: e.to_string(),
            })
        };
        found.into_iter().map(read).collect()
    }

    /// The entries of what a provider served a requester that count, in the order of this store, after a place in it; at
    /// most `limit`, and [`MAX_ENTRIES_LISTED`].
    pub fn entries(
        &self,
        provider: &Did,
        requester: &Did,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ListedEntry>, StoreError> {
        let (provider, requester) = pair(provider, requester);
        let limit = limit.min(MAX_ENTRIES_LISTED);
        self.read(|db| {
            db.prepare_cached(
                "SELECT n, receipt, fuel, void FROM entries
                 WHERE provider = ?1 AND requester = ?2 AND void = 0 AND n > ?3 ORDER BY n LIMIT ?4",
            )?
            .query_map(params![provider, requester, column(after), limit as i64], read_entry)?
            .collect()
        })
    }

    /// The entry of a receipt, where it is one.
    pub fn entry(&self, receipt: &ReceiptId) -> Result<Option<ListedEntry>, StoreError> {
        let receipt = receipt.to_string();
        self.read(|db| {
            db.prepare_cached("SELECT n, receipt, fuel, void FROM entries WHERE receipt = ?1")?
                .query_row([receipt], read_entry)
                .optional()
        })
    }

    /// The entries of what a provider served a requester that were found to be void, newest first; at most
    /// [`MAX_ENTRIES_LISTED`].
    pub fn void_entries(&self, provider: &Did, requester: &Did) -> Result<Vec<ListedEntry>, StoreError> {
        self.some_entries(provider, requester, "void = 1")
    }

    /// The entries of what a provider served a requester that count, and on which there is a verdict of whomever; newest
    /// first, at most [`MAX_ENTRIES_LISTED`].
    pub fn judged_entries(&self, provider: &Did, requester: &Did) -> Result<Vec<ListedEntry>, StoreError> {
        let judged = "void = 0 AND EXISTS (SELECT 1 FROM verdicts WHERE verdicts.receipt = entries.receipt)";
        self.some_entries(provider, requester, judged)
    }

    fn some_entries(
        &self,
        provider: &Did,
        requester: &Did,
        which: &'static str,
    ) -> Result<Vec<ListedEntry>, StoreError> {
        let (provider, requester) = pair(provider, requester);
        self.read(|db| {
            db.prepare_cached(&format!(
                "SELECT n, receipt, fuel, void FROM entries WHERE provider = ?1 AND requester = ?2 AND {which}
                 ORDER BY n DESC LIMIT ?3"
            ))?
            .query_map(params![provider, requester, MAX_ENTRIES_LISTED as i64], read_entry)?
            .collect()
        })
    }

    /// From now on an entry counts nothing: its receipt is not what happens. Says whether it counted until now.
    pub fn void_entry(&self, receipt: &ReceiptId) -> Result<bool, StoreError> {
        let id = receipt.to_string();
        self.write(|tx| {
            let entry: Option<(String, String)> = tx
                .prepare_cached(
                    "UPDATE entries SET void = 1 WHERE receipt = ?1 AND void = 0 RETURNING provider, requester",
                )?
                .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some(pair) = entry else { return Ok(false) };
            // Sums that stopped at their most cannot be taken from: they are made anew.
            let tally = count(tx, &pair.0, &pair.1)?;
            save(tx, &pair, &tally)?;
            Ok(true)
        })
    }

    /// The balance with a peer as the entries here have it, signed by `sign`: the last one again where nothing has changed
    /// since, else one with the next `seq`, on the disk when this returns. None where there never was an entry between the
    /// two.
    pub fn signed_balance(
        &self,
        own: &Did,
        peer: &Did,
        now: u64,
        sign: impl FnOnce(Balance) -> Signed<Balance>,
    ) -> Result<Option<Signed<Balance>>, StoreError> {
        let (iss, other) = pair(own, peer);
        let current = |db: &Connection| -> rusqlite::Result<Option<(Balance, Option<Vec<u8>>)>> {
            let Some((served, consumed)) = both(db, &iss, &other)? else { return Ok(None) };
            let last = newest(db, &iss, &other)?.map(|(_, bytes)| bytes);
            let (served, consumed) = (served.side(), consumed.side());
            Ok(Some((Balance { iss: *own, peer: *peer, iat: now, seq: 1, served, consumed }, last)))
        };
        // What was signed before, where it still says what is so; else the number of the next.
        let settled = |balance: &Balance, last: Option<&[u8]>| match last {
            None => Ok(Err(1)),
            Some(bytes) => verified(&iss, bytes).map(|last| {
                let said = last.payload();
                let next = said.seq.saturating_add(1);
                match (said.served, said.consumed) == (balance.served, balance.consumed) {
                    true => Ok(last),
                    false => Err(next),
                }
            }),
        };
        let Some((balance, last)) = self.read(current)? else { return Ok(None) };
        if let Ok(signed) = settled(&balance, last.as_deref())? {
            return Ok(Some(signed));
        }
        self.write_unless_refused(|tx| {
            let Some((balance, last)) = current(tx)? else { return Ok(Ok(None)) };
            let seq = match settled(&balance, last.as_deref()) {
                Ok(Ok(signed)) => return Ok(Ok(Some(signed))),
                Ok(Err(next)) => next,
                Err(e) => return Ok(Err(e)),
            };
            let signed = sign(Balance { seq, ..balance });
            keep_balance(tx, &signed, now)?;
            Ok(Ok(Some(signed)))
        })
    }

    /// Keeps a balance that a peer signed, unless there is one of a higher `seq`, or this one, and remembers that it was heard.
    /// The caller sees to it that there are entries between the two.
    pub fn put_balance(&self, balance: &Signed<Balance>, now: u64) -> Result<(), StoreError> {
        self.write_soft(|tx| keep_balance(tx, balance, now))
    }

    /// The newest balance that `iss` signed of `peer`, and when it was last heard here.
    pub fn balance(&self, iss: &Did, peer: &Did) -> Result<Option<KeptBalance>, StoreError> {
        let (iss, peer) = pair(iss, peer);
        let kept = self.read(|db| newest(db, &iss, &peer))?;
        kept.map(|(at, bytes)| Ok(KeptBalance { balance: verified(&iss, &bytes)?, at: number(at) }))
            .transpose()
    }
}

fn keep_balance(tx: &Connection, balance: &Signed<Balance>, now: u64) -> rusqlite::Result<()> {
    let said = balance.payload();
    let (iss, peer) = pair(&said.iss, &said.peer);
    tx.prepare_cached(
        "INSERT INTO balances (iss, peer, seq, at, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET seq = excluded.seq, bytes = excluded.bytes WHERE excluded.seq > balances.seq",
    )?
    .execute(params![iss, peer, column(said.seq), column(now), balance.bytes()])?;
    tx.prepare_cached("UPDATE balances SET at = max(at, ?3) WHERE iss = ?1 AND peer = ?2")?
        .execute(params![iss, peer, column(now)])
        .map(drop)
}
