//! Invocations served, once each, and what each delegation has spent.

use super::{Ledger, corrupt, count, forget, seconds, take_room};
use crate::{StoreError, db::column};
use actum_model::{
    DelegationId, Did,
    ucan::{MAX_CHAIN, MAX_NONCE_BYTES},
};
use rusqlite::{Connection, OptionalExtension, params};

/// The most live invocations remembered as served: 1,000,000, about 200 MB.
pub const MAX_SERVED: usize = 1_000_000;
/// The most live invocations remembered as served of one requester: 100,000.
pub const MAX_SERVED_PER_REQUESTER: usize = 100_000;
/// The most delegations with totals: 1,000,000.
pub const MAX_SPENT: usize = 1_000_000;
/// The most delegations with totals below one root delegation: 10,000. Whoever holds a grant can hand on as many
/// parts of it as they like; those take the room of that grant and of no other.
pub const MAX_SPENT_PER_ROOT: usize = 10_000;

/// How many expired invocations one admission forgets: more than the one it adds.
const PRUNED_SERVED: usize = 4;
/// How many expired totals one admission forgets.
const PRUNED_SPENT: usize = 2;

const SERVED: &str = "served";
const SPENT: &str = "spent";

/// What a delegation has spent. Each saturates at 2^63 - 1; fuel that has come to it stays there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Actions admitted.
    pub actions: u64,
    /// Fuel: of settled actions what they used, of others what was reserved for them.
    pub fuel: u64,
}

/// A delegation whose totals are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which one.
    pub id: DelegationId,
    /// When it or something above it in the chain first ends, with the clock skew allowed, in seconds since the Unix
    /// epoch; its totals are forgotten afterwards. `None`: kept for ever, and its room with them.
    pub until: Option<u64>,
}

/// An invocation that asks to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// Who asks.
    pub requester: &'a Did,
    /// The invocation's nonce, at most [`MAX_NONCE_BYTES`].
    pub nonce: &'a [u8],
    /// When it ends, with the clock skew allowed, in seconds since the Unix epoch; it is remembered until then.
    pub until: u64,
    /// The time, in seconds since the Unix epoch.
    pub now: u64,
    /// The root of its chain, which gives the totals below it their room; `None` without a chain.
    pub root: Option<&'a DelegationId>,
    /// The delegations of its chain whose totals are to be kept, at most [`MAX_CHAIN`].
    pub delegations: &'a [Counted],
    /// The most fuel it can use, which is reserved.
    pub fuel: u64,
}

/// Why an invocation was not admitted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdmitted<E> {
    /// This requester's invocation of this nonce was served before.
    AlreadyServed,
    /// It, or one of its delegations, has ended, or ends before what the ledger has forgotten: after the clock was set
    /// back, nobody knows whether it was served or what was spent.
    Stale,
    /// As many as are kept. Trying again later may succeed.
    Full {
        /// What of: invocations, or totals, and whose.
        what: &'static str,
        /// How many are kept.
        limit: usize,
    },
    /// The caller's decision.
    Refused(E),
}

/// Whether an invocation is served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It is, and never again.
    Now,
    /// It was before.
    AlreadyServed,
    /// As [`NotAdmitted::Stale`].
    Stale,
    /// As [`NotAdmitted::Full`].
    Full,
}

/// Whether an invocation was served before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasServed {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// It ended before what the ledger has forgotten: nobody knows.
    Forgotten,
}

/// What an admission counted: give it to [`Ledger::settle`] with what was used, or to [`Ledger::take_back`] if nothing
/// was begun. Dropped, it stays counted in full.
#[must_use = "unsettled, the whole reservation stays counted"]
#[derive(Debug, PartialEq, Eq)]
pub struct Reservation {
    requester: Did,
    nonce: Vec<u8>,
    delegations: Vec<DelegationId>,
    fuel: u64,
}

impl Reservation {
    /// The fuel reserved.
    pub fn fuel(&self) -> u64 {
        self.fuel
    }
}

impl Ledger {
    /// Admits an invocation: remembers it as served, counts one action and its fuel for each delegation, and lets
    /// `decide` judge the totals *with it*, in the order of `delegations`; all in one transaction, which is undone when
    /// `decide` refuses. A delegation named twice is counted once.
    ///
    /// `decide` runs while every other admission of this home waits: it judges and does nothing slow, and must not use
    /// this ledger. Refuses a nonce or a list over its bound as [`StoreError::TooLarge`].
    pub fn admit<E>(
        &self,
        admission: &Admission<'_>,
        decide: impl FnOnce(&[Spent]) -> Result<(), E>,
    ) -> Result<Result<Reservation, NotAdmitted<E>>, StoreError> {
        let Admission { requester, nonce, delegations, fuel, .. } = *admission;
        check("nonce", nonce.len(), MAX_NONCE_BYTES)?;
        check("list of delegations", delegations.len(), MAX_CHAIN)?;
        let root = admission.root.or(delegations.first().map(|d| &d.id)).map(DelegationId::to_string);
        let counted: Vec<_> = delegations.iter().map(|d| (d.id.to_string(), seconds(d.until))).collect();
        let caller = requester.to_string();
        let done = self.write_unless_refused(|tx| {
            if let Err(no) = serve(tx, &caller, admission)? {
                return Ok(Err(no));
            }
            let mut totals: Vec<Spent> = Vec::with_capacity(counted.len());
            prune_spent(tx, admission.now, PRUNED_SPENT)?;
            for (place, (id, until)) in counted.iter().enumerate() {
                let before = counted.iter().take(place).position(|(other, _)| other == id);
                let spent = match before.and_then(|at| totals.get(at)) {
                    Some(same) => *same,
                    None => match add(tx, id, root.as_deref().unwrap_or_default(), *until, admission)? {
                        Ok(spent) => spent,
                        Err(no) => return Ok(Err(no)),
                    },
                };
                totals.push(spent);
            }
            Ok(decide(&totals).map_err(NotAdmitted::Refused))
        })?;
        Ok(done.map(|()| {
            let mut delegations: Vec<_> = delegations.iter().map(|d| d.id).collect();
            delegations.sort_unstable();
            delegations.dedup();
            Reservation { requester: *requester, nonce: nonce.to_vec(), delegations, fuel }
        }))
    }

    /// Remembers an invocation as served: [`Ledger::admit`] without delegations.
    pub fn serve(&self, requester: &Did, nonce: &[u8], until: u64, now: u64) -> Result<Served, StoreError> {
        let admission = Admission { requester, nonce, until, now, root: None, delegations: &[], fuel: 0 };
        Ok(match self.admit(&admission, |_| Ok::<(), std::convert::Infallible>(()))? {
            Ok(_) => Served::Now,
            Err(NotAdmitted::AlreadyServed) => Served::AlreadyServed,
            Err(NotAdmitted::Stale) => Served::Stale,
            Err(NotAdmitted::Full { .. }) => Served::Full,
            Err(NotAdmitted::Refused(never)) => match never {},
        })
    }

    /// Whether an invocation that ends at `until`, with the clock skew allowed, was served, as far as is known.
    pub fn was_served(&self, requester: &Did, nonce: &[u8], until: u64) -> Result<WasServed, StoreError> {
        let caller = requester.to_string();
        self.read(|db| {
            let known: bool = db
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM served WHERE nonce = ?2
                         AND caller = (SELECT n FROM callers WHERE did = ?1))",
                )?
                .query_row(params![caller, nonce], |row| row.get(0))?;
            Ok(match known {
                true => WasServed::Yes,
                false if column(until) <= forgotten(db, SERVED)? => WasServed::Forgotten,
                false => WasServed::No,
            })
        })
    }

    /// Counts the fuel that was used in place of what was reserved. More than was reserved counts too.
    pub fn settle(&self, reservation: Reservation, fuel: u64) -> Result<(), StoreError> {
        if fuel == reservation.fuel || reservation.delegations.is_empty() {
            return Ok(());
        }
        let (back, more) = (reservation.fuel.saturating_sub(fuel), fuel.saturating_sub(reservation.fuel));
        self.write(|tx| {
            for id in &reservation.delegations {
                change(tx, &id.to_string(), 0, back, more)?;
            }
            Ok(())
        })
    }

    /// Undoes an admission of which nothing was begun: it was not served, and spent nothing.
    pub fn take_back(&self, reservation: Reservation) -> Result<(), StoreError> {
        self.write(|tx| {
            for id in &reservation.delegations {
                change(tx, &id.to_string(), 1, reservation.fuel, 0)?;
            }
            let caller: Option<i64> = tx
                .prepare_cached("SELECT n FROM callers WHERE did = ?1")?
                .query_row([reservation.requester.to_string()], |row| row.get(0))
                .optional()?;
            match caller {
                Some(caller) => unserve(tx, caller, &reservation.nonce).map(drop),
                None => Ok(()),
            }
        })
    }

    /// What a delegation has spent, in all; nothing where it is not known.
    pub fn spent(&self, id: &DelegationId) -> Result<Spent, StoreError> {
        let id = id.to_string();
        let found = self.read(|db| {
            db.prepare_cached("SELECT actions, fuel FROM spent WHERE delegation = ?1")?
                .query_row([&id], spent_of)
                .optional()
        })?;
        match found {
            None => Ok(Spent::default()),
            Some(Some(spent)) => Ok(spent),
            Some(None) => Err(corrupt("total of", &id, "a total is negative")),
        }
    }
}

pub(super) fn check(what: &'static str, actual: usize, limit: usize) -> Result<(), StoreError> {
    if actual > limit { Err(StoreError::TooLarge { what, actual, limit }) } else { Ok(()) }
}

fn spent_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Spent>> {
    let (actions, fuel): (i64, i64) = (row.get(0)?, row.get(1)?);
    Ok(u64::try_from(actions)
        .ok()
        .zip(u64::try_from(fuel).ok())
        .map(|(actions, fuel)| Spent { actions, fuel }))
}

type Refusable<T, E> = super::Refusable<T, NotAdmitted<E>>;

/// Up to when everything of a kind may have been forgotten; -1 when nothing was.
fn forgotten(tx: &Connection, what: &str) -> rusqlite::Result<i64> {
    let found = tx
        .prepare_cached("SELECT forgotten FROM room WHERE what = ?1")?
        .query_row([what], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(-1))
}

fn serve<E>(tx: &Connection, caller: &str, admission: &Admission<'_>) -> Refusable<(), E> {
    let Admission { nonce, until, now, .. } = *admission;
    prune_served(tx, now, PRUNED_SERVED)?;
    if until < now || column(until) <= forgotten(tx, SERVED)? {
        return Ok(Err(NotAdmitted::Stale));
    }
    let (n, of_caller): (i64, i64) = tx
        .prepare_cached(
            "INSERT INTO callers (did, served) VALUES (?1, 1)
             ON CONFLICT (did) DO UPDATE SET served = served + 1 RETURNING n, served",
        )?
        .query_row([caller], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let new = tx
        .prepare_cached("INSERT OR IGNORE INTO served (caller, nonce, until) VALUES (?1, ?2, ?3)")?
        .execute(params![n, nonce, column(until)])?;
    if new == 0 {
        return Ok(Err(NotAdmitted::AlreadyServed));
    }
    if of_caller > count(MAX_SERVED_PER_REQUESTER) {
        let what = "live invocations of one requester";
        return Ok(Err(NotAdmitted::Full { what, limit: MAX_SERVED_PER_REQUESTER }));
    }
    if take_room(tx, SERVED, 1, 0)?.0 > count(MAX_SERVED) {
        return Ok(Err(NotAdmitted::Full { what: "live invocations", limit: MAX_SERVED }));
    }
    Ok(Ok(()))
}

/// Adds an action to a delegation's totals.
fn add<E>(
    tx: &Connection,
    id: &str,
    root: &str,
    until: Option<i64>,
    admission: &Admission<'_>,
) -> Refusable<Spent, E> {
    if until.is_some_and(|until| until < column(admission.now)) {
        return Ok(Err(NotAdmitted::Stale));
    }
    let grown = tx
        .prepare_cached(
            "UPDATE spent SET actions = min(actions, 9223372036854775806) + 1,
                 fuel = fuel + min(?2, 9223372036854775807 - fuel),
                 until = CASE WHEN until IS NULL OR ?3 IS NULL THEN NULL ELSE max(until, ?3) END
             WHERE delegation = ?1 RETURNING actions, fuel",
        )?
        .query_row(params![id, column(admission.fuel), until], spent_of)
        .optional()?
        .flatten();
    if let Some(spent) = grown {
        return Ok(Ok(spent));
    }
    if until.is_some() && until <= Some(forgotten(tx, SPENT)?) {
        return Ok(Err(NotAdmitted::Stale));
    }
    let of_root: i64 = tx
        .prepare_cached(
            "INSERT INTO spent_roots (root, used) VALUES (?1, 1)
             ON CONFLICT (root) DO UPDATE SET used = used + 1 RETURNING used",
        )?
        .query_row([root], |row| row.get(0))?;
    if of_root > count(MAX_SPENT_PER_ROOT) {
        let what = "delegations with totals below one root";
        return Ok(Err(NotAdmitted::Full { what, limit: MAX_SPENT_PER_ROOT }));
    }
    if take_room(tx, SPENT, 1, 0)?.0 > count(MAX_SPENT) {
        return Ok(Err(NotAdmitted::Full { what: "delegations with totals", limit: MAX_SPENT }));
    }
    let fuel = admission.fuel.min(i64::MAX.unsigned_abs());
    tx.prepare_cached(
        "INSERT INTO spent (delegation, root, actions, fuel, until) VALUES (?1, ?2, 1, ?3, ?4)",
    )?
    .execute(params![id, root, column(fuel), until])?;
    Ok(Ok(Spent { actions: 1, fuel }))
}

/// Takes back actions and fuel, or adds fuel. A total that came to the largest stays: nobody knows what is above it.
fn change(tx: &Connection, id: &str, actions: u64, back: u64, more: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE spent SET actions = max(actions - ?2, 0),
             fuel = CASE WHEN fuel = 9223372036854775807 THEN fuel
                    ELSE max(fuel - ?3, 0) + min(?4, 9223372036854775807 - max(fuel - ?3, 0)) END
         WHERE delegation = ?1",
    )?
    .execute(params![id, column(actions), column(back), column(more)])?;
    Ok(())
}

/// Removes an invocation and gives its room back.
fn unserve(tx: &Connection, caller: i64, nonce: &[u8]) -> rusqlite::Result<bool> {
    let gone = tx
        .prepare_cached("DELETE FROM served WHERE caller = ?1 AND nonce = ?2")?
        .execute(params![caller, nonce])?;
    if gone == 0 {
        return Ok(false);
    }
    take_room(tx, SERVED, -1, 0)?;
    let left: i64 = tx
        .prepare_cached("UPDATE callers SET served = served - 1 WHERE n = ?1 RETURNING served")?
        .query_row([caller], |row| row.get(0))?;
    if left <= 0 {
        tx.prepare_cached("DELETE FROM callers WHERE n = ?1")?.execute([caller])?;
    }
    Ok(true)
}

/// Forgets invocations that have ended, those first that ended first.
pub(super) fn prune_served(tx: &Connection, now: u64, limit: usize) -> rusqlite::Result<usize> {
    let ended: Vec<(i64, Vec<u8>, i64)> = tx
        .prepare_cached("SELECT caller, nonce, until FROM served WHERE until < ?1 ORDER BY until LIMIT ?2")?
        .query_map(params![column(now), count(limit)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (caller, nonce, _) in &ended {
        unserve(tx, *caller, nonce)?;
    }
    if let Some((_, _, until)) = ended.last() {
        forget(tx, SERVED, *until)?;
    }
    Ok(ended.len())
}

/// Forgets the totals of delegations that have ended, those first that ended first.
pub(super) fn prune_spent(tx: &Connection, now: u64, limit: usize) -> rusqlite::Result<usize> {
    let ended: Vec<(String, String, i64)> = tx
        .prepare_cached(
            "SELECT delegation, root, until FROM spent WHERE until IS NOT NULL AND until < ?1 ORDER BY until LIMIT ?2",
        )?
        .query_map(params![column(now), count(limit)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, root, _) in &ended {
        tx.prepare_cached("DELETE FROM spent WHERE delegation = ?1")?.execute([id])?;
        take_room(tx, SPENT, -1, 0)?;
        let left: i64 = tx
            .prepare_cached("UPDATE spent_roots SET used = used - 1 WHERE root = ?1 RETURNING used")?
            .query_row([root], |row| row.get(0))?;
        if left <= 0 {
            tx.prepare_cached("DELETE FROM spent_roots WHERE root = ?1")?.execute([root])?;
        }
    }
    if let Some((_, _, until)) = ended.last() {
        forget(tx, SPENT, *until)?;
    }
    Ok(ended.len())
}
