//! Fraud proofs: what came of each that was looked at, and the proofs that held, for others to fetch. Nothing here judges:
//! a state is what the caller's own replay showed.

use crate::{
    Store, StoreError,
    db::{column, envelope},
};
use actum_model::{Did, ReceiptId, Signed, Verdict};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::{fmt, str::FromStr};

/// The most proofs of which is remembered what came of them: 10,000, at some 300 bytes without their bytes.
pub const MAX_PROOFS: usize = 10_000;
/// The most bytes of proofs kept, all together: 256 MiB. Beyond, that a lie was proven is remembered and its proof is not.
pub const MAX_PROOFS_BYTES: u64 = 256 << 20;
/// For how long a proof that could not be judged is remembered, in seconds: a week. Then it is looked at again, since
/// this Actum may be another.
pub const UNDECIDED_KEPT_SECONDS: u64 = 7 * 86_400;

/// Which of two rows goes first where there is no room: what proved nothing, then liars that this home never dealt with,
/// then the oldest. Keys are free, and whoever makes many to convict them himself must not push out those that matter.
const LEAST_WORTH: &str =
    "state = 'proven', EXISTS (SELECT 1 FROM receipts WHERE receipts.provider = proofs.provider), n";

/// What came of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProofState {
    /// It holds: the receipt was run again here and differs.
    Proven,
    /// It is false: the receipt was run again here and is what happens.
    Refuted,
    /// It could not be judged here.
    Undecided,
}

impl ProofState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Proven, Self::Refuted, Self::Undecided];

    /// The state's name, as it is kept.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Refuted => "refuted",
            Self::Undecided => "undecided",
        }
    }
}

impl fmt::Display for ProofState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ProofState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| format!("no state {text:?}"))
    }
}

/// A proof, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRecord {
    /// Its place in this home's count: later ones are higher.
    pub place: u64,
    /// The receipt that it is about.
    pub receipt: ReceiptId,
    /// Whose receipt that is.
    pub provider: Did,
    /// When it was looked at, in seconds since the Unix epoch.
    pub at: u64,
    /// What came of it.
    pub state: ProofState,
    /// How many bytes of it are kept: none where it proved nothing, or there was no room.
    pub bytes: u64,
}

type Columns = (i64, String, String, i64, String, i64);

const COLUMNS: &str = "n, receipt, provider, at, state, length(bytes)";

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

fn read((n, receipt, provider, at, state, bytes): Columns) -> Result<ProofRecord, StoreError> {
    let corrupt = |why: &dyn fmt::Display| StoreError::Corrupt {
        what: "proof about",
        id: receipt.clone(),
        why: why.to_string(),
    };
    let number = |n: i64| u64::try_from(n).map_err(|e| corrupt(&e));
    Ok(ProofRecord {
        place: number(n)?,
        receipt: receipt.parse().map_err(|e: actum_model::id::IdError| corrupt(&e))?,
        provider: provider.parse().map_err(|e: actum_model::key::KeyError| corrupt(&e))?,
        at: number(at)?,
        state: state.parse().map_err(|e: String| corrupt(&e))?,
        bytes: number(bytes)?,
    })
}

impl Store {
    /// Remembers what came of the proof about a receipt; the proof itself, without its component, is kept where it holds.
    /// What is proven stays so. On the disk when this returns.
    pub fn put_proof(
        &self,
        receipt: &ReceiptId,
        provider: &Did,
        state: ProofState,
        proof: &[u8],
        at: u64,
    ) -> Result<(), StoreError> {
        let (receipt, provider) = (receipt.to_string(), provider.to_string());
        let proof = if state == ProofState::Proven { proof } else { &[] };
        self.write(|tx| {
            let proven: Option<i64> = tx
                .prepare_cached("SELECT n FROM proofs WHERE receipt = ?1 AND state = 'proven'")?
                .query_row([&receipt], |row| row.get(0))
                .optional()?;
            if proven.is_some() {
                return Ok(());
            }
            // A new place: whoever reads on from a place hears of it.
            tx.prepare_cached("DELETE FROM proofs WHERE receipt = ?1")?.execute([&receipt])?;
            tx.prepare_cached(
                "INSERT INTO proofs (receipt, provider, at, state, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![receipt, provider, column(at), state.name(), proof])?;
            make_room(tx, at)
        })
    }

    /// What came of the proof about a receipt, if one was looked at.
    pub fn proof_of(&self, receipt: &ReceiptId) -> Result<Option<ProofRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM proofs WHERE receipt = ?1");
        let found =
            self.read(|db| db.prepare_cached(&sql)?.query_row([receipt.to_string()], columns).optional())?;
        found.map(read).transpose()
    }

    /// The proof about a receipt, as it was kept: it holds. Its reader checks it all the same.
    pub fn proof_bytes(&self, receipt: &ReceiptId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "SELECT bytes FROM proofs WHERE receipt = ?1 AND state = 'proven' AND length(bytes) > 0",
            )?
            .query_row([receipt.to_string()], |row| row.get(0))
            .optional()
        })
    }

    /// The receipt that proves that this provider has lied, where this home has seen one proven.
    pub fn proven_liar(&self, provider: &Did) -> Result<Option<ReceiptId>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM proofs WHERE provider = ?1 AND state = 'proven' ORDER BY n LIMIT 1"
        );
        let found =
            self.read(|db| db.prepare_cached(&sql)?.query_row([provider.to_string()], columns).optional())?;
        Ok(found.map(read).transpose()?.map(|record| record.receipt))
    }

    /// The proofs that hold and are kept, after a place, in the order in which they came.
    pub fn proofs_after(&self, after: u64, limit: usize) -> Result<Vec<ProofRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM proofs WHERE n > ?1 AND state = 'proven' AND length(bytes) > 0
             ORDER BY n LIMIT ?2"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<Columns> = self.read(|db| {
            db.prepare_cached(&sql)?.query_map(params![column(after), limit], columns)?.collect()
        })?;
        rows.into_iter().map(read).collect()
    }

    /// How many proofs are remembered, of each state in the order of [`ProofState::ALL`].
    pub fn proof_counts(&self) -> Result<[u64; 3], StoreError> {
        let mut counts = [0; 3];
        for (count, state) in counts.iter_mut().zip(ProofState::ALL) {
            let n: i64 = self.read(|db| {
                db.prepare_cached("SELECT count(*) FROM proofs WHERE state = ?1")?
                    .query_row([state.name()], |row| row.get(0))
            })?;
            *count = u64::try_from(n).unwrap_or_default();
        }
        Ok(counts)
    }

    /// Whether this home has had to do with a provider, or knows an offer of its that is alive at `now`, in seconds since
    /// the Unix epoch: whether its lies matter here.
    pub fn deals_with(&self, provider: &Did, now: u64) -> Result<bool, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM receipts WHERE provider = ?1)
                 OR EXISTS (SELECT 1 FROM descriptors WHERE provider = ?1 AND exp > ?2)
                 OR EXISTS (SELECT 1 FROM experiences WHERE provider = ?1)",
            )?
            .query_row(params![provider.to_string(), column(now)], |row| row.get(0))
        })
    }

    /// The place of the last verdict kept; 0 where there is none.
    pub fn last_verdict(&self) -> Result<u64, StoreError> {
        let last: i64 = self.read(|db| {
            db.prepare_cached("SELECT coalesce(max(n), 0) FROM verdicts")?.query_row([], |row| row.get(0))
        })?;
        Ok(u64::try_from(last).unwrap_or_default())
    }

    /// Verdicts kept after a place, in the order in which they were kept, each with its place.
    pub fn verdicts_after(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Signed<Verdict>)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(i64, String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached("SELECT n, id, bytes FROM verdicts WHERE n > ?1 ORDER BY n LIMIT ?2")?
                .query_map(params![column(after), limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let place = |n: i64| u64::try_from(n).unwrap_or_default();
        rows.iter().map(|(n, id, bytes)| Ok((place(*n), envelope("verdict", id, bytes)?))).collect()
    }
}

/// Keeps the table within its bounds.
fn make_room(tx: &Connection, now: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM proofs WHERE state = 'undecided' AND at < ?1")?
        .execute([column(now.saturating_sub(UNDECIDED_KEPT_SECONDS))])?;
    let rows: i64 = tx.prepare_cached("SELECT count(*) FROM proofs")?.query_row([], |row| row.get(0))?;
    let too_many = rows.saturating_sub(i64::try_from(MAX_PROOFS).unwrap_or(i64::MAX));
    if too_many > 0 {
        tx.prepare_cached(&format!(
            "DELETE FROM proofs WHERE n IN (SELECT n FROM proofs ORDER BY {LEAST_WORTH} LIMIT ?1)"
        ))?
        .execute([too_many])?;
    }
    loop {
        let held: i64 = tx
            .prepare_cached("SELECT coalesce(sum(length(bytes)), 0) FROM proofs")?
            .query_row([], |row| row.get(0))?;
        if u64::try_from(held).unwrap_or_default() <= MAX_PROOFS_BYTES {
            return Ok(());
        }
        tx.prepare_cached(&format!(
            "UPDATE proofs SET bytes = x'' WHERE n =
             (SELECT n FROM proofs WHERE length(bytes) > 0 ORDER BY {LEAST_WORTH} LIMIT 1)"
        ))?
        .execute([])?;
    }
}
