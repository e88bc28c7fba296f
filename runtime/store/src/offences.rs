//! What peers were caught at: sending what is not what they were asked for. Remembered for a while, so that a peer that lies
//! is asked last.

use crate::{Store, StoreError, db::column};
use actum_model::Did;
use rusqlite::params;
use std::{fmt, str::FromStr};

/// The most offences remembered: 10,000, about 2 MB. When full, the oldest make room: identities are free, and an offence
/// of one that never comes back is worth nothing.
pub const MAX_OFFENCES: usize = 10_000;
/// The most offences remembered of one peer: 32, its newest.
pub const MAX_OFFENCES_PER_PEER: usize = 32;

/// What a peer did that no honest, sound peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// It sent bytes as a chunk that are not that chunk.
    WrongChunk,
    /// It sent bytes as a manifest that its id does not name.
    WrongManifest,
    /// It sent another release than the one asked for.
    WrongRelease,
    /// It answered a query with what is no answer to it, or with an offer that nobody signed.
    WrongPage,
    /// It left out of an answer what it had room for and time to hear of.
    Omission,
    /// It accused a provider of a lie that was none, or with what is no proof.
    WrongProof,
}

impl Offence {
    /// Every offence.
    pub const ALL: [Self; 6] = [
        Self::WrongChunk,
        Self::WrongManifest,
        Self::WrongRelease,
        Self::WrongPage,
        Self::Omission,
        Self::WrongProof,
    ];

    /// Whether it is a registry's: it bears on whom to ask, not on whom to have things done by.
    pub fn is_of_a_registry(self) -> bool {
        matches!(self, Self::WrongPage | Self::Omission)
    }

    /// The offence's name, as it is kept.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongChunk => "wrong-chunk",
            Self::WrongManifest => "wrong-manifest",
            Self::WrongRelease => "wrong-release",
            Self::WrongPage => "wrong-page",
            Self::Omission => "omission",
            Self::WrongProof => "wrong-proof",
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Offence {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|o| o.name() == text).ok_or_else(|| format!("no offence {text:?}"))
    }
}

/// An offence, and when it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffenceRecord {
    /// What.
    pub offence: Offence,
    /// When, in seconds since the Unix epoch.
    pub at: u64,
}

impl Store {
    /// Remembers what a peer was caught at, at a time in seconds since the Unix epoch. Survives a killed process.
    pub fn put_offence(&self, peer: &Did, offence: Offence, at: u64) -> Result<(), StoreError> {
        let did = peer.to_string();
        self.write_soft(|tx| {
            tx.prepare_cached("INSERT INTO offences (did, kind, at) VALUES (?1, ?2, ?3)")?
                .execute(params![did, offence.name(), column(at)])?;
            tx.prepare_cached(
                "DELETE FROM offences WHERE n IN
                 (SELECT n FROM offences WHERE did = ?1 ORDER BY at DESC, n DESC LIMIT -1 OFFSET ?2)",
            )?
            .execute(params![did, MAX_OFFENCES_PER_PEER as i64])?;
            tx.prepare_cached(
                "DELETE FROM offences WHERE n <= (SELECT n FROM offences ORDER BY n DESC LIMIT 1 OFFSET ?1)",
            )?
            .execute([MAX_OFFENCES as i64])?;
            Ok(())
        })
    }

    /// What a peer was caught at since then (seconds since the Unix epoch), newest first.
    pub fn offences_of(&self, peer: &Did, since: u64) -> Result<Vec<OffenceRecord>, StoreError> {
        let did = peer.to_string();
        let rows: Vec<(String, i64)> = self.read(|db| {
            db.prepare_cached(
                "SELECT kind, at FROM offences WHERE did = ?1 AND at >= ?2 ORDER BY at DESC, n DESC",
            )?
            .query_map(params![did, column(since)], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })?;
        let read = |(kind, at): (String, i64)| {
            let corrupt = |why| StoreError::Corrupt { what: "offence of", id: did.clone(), why };
            let offence = kind.parse().map_err(corrupt)?;
            let at = u64::try_from(at).map_err(|e| corrupt(e.to_string()))?;
            Ok(OffenceRecord { offence, at })
        };
        rows.into_iter().map(read).collect()
    }
}
