//! Finds the chains by which a key holds another's authority, among the delegations kept here.
//!
//! Anybody may have made what is kept here, so the search must not be led astray. It first collects, backwards from the
//! holder, the links that could matter: each key's once, so in time linear in their number, which is bounded. Then it
//! follows only links that lead to the root, so that every step is part of a chain that is given. What is found is a
//! suggestion: whether a chain holds is for its verifier to say.

use crate::{
    Store, StoreError,
    db::{column, envelope},
};
use actum_model::{Delegation, Did, Signed, ucan::MAX_CHAIN};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The most delegations that one search looks at: 8,192. What lies nearest to the holder is looked at first.
pub const MAX_LINKS_SEARCHED: usize = 8_192;
/// The most delegations to one key that a search looks at: 1,024. Those by the subject itself are looked at first, then
/// those kept last.
pub const MAX_LINKS_SEARCHED_PER_KEY: usize = 1_024;
/// The most subjects of one search: 256, those first whose root is nearest to the holder.
pub const MAX_SUBJECTS: usize = 256;
/// The most steps of putting chains together: 65,536. Only cycles of links that all lead to the root come near it.
const MAX_STEPS: usize = 65_536;

/// What a search needs of a delegation.
struct Link {
    id: String,
    iss: String,
    aud: String,
    sub: Option<String>,
}

impl Store {
    /// The chains by which `holder` has the authority of `sub` (of anyone, where that is `None`), each root first: the
    /// root is issued by the subject itself and names it, every next one is issued by whom the one before is for, names
    /// the same subject or none, and the last is for `holder`. Shortest chains first, at most `max`, each of at most
    /// [`MAX_CHAIN`].
    ///
    /// Chains with a delegation that ended before `now` (seconds since the Unix epoch) are left out; commands, policies
    /// and revocations are for the caller to look at. No chain comes by the same key twice.
    ///
    /// It looks at most at [`MAX_LINKS_SEARCHED`] delegations, and at [`MAX_LINKS_SEARCHED_PER_KEY`] for each key,
    /// and at [`MAX_SUBJECTS`]: beyond,
    /// chains may be missed.
    pub fn chains_to(
        &self,
        holder: &Did,
        sub: Option<&Did>,
        now: u64,
        max: usize,
    ) -> Result<Vec<Vec<Signed<Delegation>>>, StoreError> {
        let (holder, sub) = (holder.to_string(), sub.map(Did::to_string));
        let chains: Vec<Vec<(String, Vec<u8>)>> = self.read(|db| {
            let tx = db.unchecked_transaction()?; // one snapshot; it changes nothing, so it need not commit
            let links = collect(&tx, &holder, sub.as_deref(), now)?;
            let mut bytes = tx.prepare_cached("SELECT bytes FROM delegations WHERE id = ?1")?;
            let mut loaded = Vec::new();
            for chain in put_together(&links, &holder, sub.as_deref(), max) {
                let mut whole = Vec::with_capacity(chain.len());
                for link in chain {
                    if let Some(bytes) = bytes.query_row([&link.id], |row| row.get(0)).optional()? {
                        whole.push((link.id.clone(), bytes));
                    }
                }
                loaded.push(whole);
            }
            Ok(loaded)
        })?;
        let read = |chain: &Vec<(String, Vec<u8>)>| {
            chain.iter().map(|(id, bytes)| envelope("delegation", id, bytes)).collect()
        };
        chains.iter().map(read).collect()
    }
}

/// The links that may be part of a chain to the holder.
fn collect(db: &Connection, holder: &str, sub: Option<&str>, now: u64) -> rusqlite::Result<Vec<Link>> {
    let mut to = db.prepare_cached(
        "SELECT id, iss, aud, sub FROM delegations
         WHERE aud = ?1 AND (?2 IS NULL OR sub IS NULL OR sub = ?2) AND (exp IS NULL OR exp >= ?3)
         ORDER BY coalesce(iss = sub, 0) DESC, n DESC LIMIT ?4",
    )?;
    let mut links: Vec<Link> = Vec::new();
    let mut seen = BTreeSet::from([holder.to_owned()]);
    let mut waiting = VecDeque::from([(holder.to_owned(), 1)]);
    while let Some((key, depth)) = waiting.pop_front() {
        let room = MAX_LINKS_SEARCHED.saturating_sub(links.len()).min(MAX_LINKS_SEARCHED_PER_KEY);
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        let rows = to.query_map(params![key, sub, column(now), limit], |row| {
            Ok(Link { id: row.get(0)?, iss: row.get(1)?, aud: row.get(2)?, sub: row.get(3)? })
        })?;
        for link in rows {
            let link = link?;
            if depth < MAX_CHAIN && seen.insert(link.iss.clone()) {
                waiting.push_back((link.iss.clone(), depth + 1));
            }
            links.push(link);
        }
    }
    Ok(links)
}

/// What a search of one subject knows: links by whom they are for, and how far each key is from the subject.
struct Search<'m, 'a> {
    to: &'m BTreeMap<&'a str, Vec<&'a Link>>,
    subject: &'a str,
    /// The fewest links by which a key holds the subject's authority.
    distance: BTreeMap<&'a str, usize>,
}

fn put_together<'a>(links: &'a [Link], holder: &str, sub: Option<&str>, max: usize) -> Vec<Vec<&'a Link>> {
    let (mut to, mut by) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
    for link in links {
        to.entry(link.aud.as_str()).or_default().push(link);
        by.entry(link.iss.as_str()).or_default().push(link);
    }
    let roots = links.iter().filter(|l| l.sub.as_deref() == Some(&l.iss)).map(|l| l.iss.as_str());
    let mut subjects: Vec<&str> = Vec::new();
    for iss in roots.filter(|iss| *iss != holder && sub.is_none_or(|sub| sub == *iss)) {
        if subjects.len() < MAX_SUBJECTS && !subjects.contains(&iss) {
            subjects.push(iss);
        }
    }
    let searches: Vec<Search<'_, '_>> = subjects
        .into_iter()
        .map(|subject| Search { to: &to, subject, distance: distances(&by, subject) })
        .collect();
    let (mut found, mut steps) = (Vec::new(), MAX_STEPS);
    for length in 1..=MAX_CHAIN {
        for search in &searches {
            let mut path = Vec::with_capacity(length);
            search.extend(holder, holder, length, &mut path, &mut steps, max, &mut found);
        }
    }
    found
}

fn distances<'a>(by: &BTreeMap<&'a str, Vec<&'a Link>>, subject: &'a str) -> BTreeMap<&'a str, usize> {
    let mut distance = BTreeMap::new();
    let mut waiting = VecDeque::from([(subject, 0)]);
    while let Some((key, so_far)) = waiting.pop_front() {
        for link in by.get(key).into_iter().flatten() {
            let fits = match link.sub.as_deref() {
                Some(sub) => sub == subject,
                None => so_far > 0,
            };
            if fits && link.aud != subject && !distance.contains_key(link.aud.as_str()) {
                distance.insert(link.aud.as_str(), so_far + 1);
                waiting.push_back((link.aud.as_str(), so_far + 1));
            }
        }
    }
    distance
}

impl<'a> Search<'_, 'a> {
    /// Puts links before `path` (which is kept leaf first) until the chain to `key` has `left` more of them and begins
    /// with the subject.
    #[allow(clippy::too_many_arguments, reason = "what a recursion carries along")]
    fn extend(
        &self,
        holder: &str,
        key: &str,
        left: usize,
        path: &mut Vec<&'a Link>,
        steps: &mut usize,
        max: usize,
        found: &mut Vec<Vec<&'a Link>>,
    ) {
        for link in self.to.get(key).into_iter().flatten().copied() {
            if found.len() >= max || *steps == 0 {
                return;
            }
            let root = link.iss == self.subject;
            let fits = match link.sub.as_deref() {
                Some(sub) => sub == self.subject,
                None => !root,
            };
            let near = || self.distance.get(link.iss.as_str()).is_some_and(|d| *d < left);
            let again = || link.iss == holder || path.iter().any(|l| l.iss == link.iss);
            if !fits || root != (left == 1) || (!root && (!near() || again())) {
                continue;
            }
            *steps -= 1;
            path.push(link);
            if root {
                found.push(path.iter().rev().copied().collect());
            } else {
                self.extend(holder, &link.iss, left - 1, path, steps, max, found);
            }
            path.pop();
        }
    }
}
