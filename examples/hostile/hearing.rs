//! When a lie was found out, and when everybody had heard of it.

use actum_model::Did;
use actum_node::{Home, HomeError};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long after the last action a lie may still be found out, by what is replayed behind the answers.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
/// How long after the last action others may still hear of it: who missed what it was told asks again after five minutes.
const HEARD_WITHIN: Duration = Duration::from_secs(360);

/// When things happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// Hostile providers of which the requester's home held that they had lied.
    pub(crate) convicted: usize,
    /// After the first action: when it held so of the first of them.
    pub(crate) caught: Option<Duration>,
    /// After it held so of each: when every honest node held it proven, of the one of which that took longest. None where
    /// some never did.
    pub(crate) network: Option<Duration>,
}

/// Looks at homes, from a thread of its own.
pub(crate) struct Hearing {
    /// Set once all actions are over.
    over: Arc<AtomicBool>,
    /// Whether there is anything to wait for then.
    provable: Arc<AtomicBool>,
    looking: JoinHandle<Result<Heard, HomeError>>,
}

impl Hearing {
    /// Begins to look, at the requester's home and those of all other honest nodes.
    pub(crate) fn start(you: PathBuf, witnesses: Vec<PathBuf>, hostile: BTreeSet<Did>) -> Self {
        let (over, provable) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let looking = Looking { over: over.clone(), provable: provable.clone(), hostile };
        Self { over, provable, looking: thread::spawn(move || looking.run(you, witnesses)) }
    }

    /// The actions are over: waits for news as long as some may come.
    pub(crate) fn end(self, provable: bool) -> Heard {
        self.provable.store(provable, Ordering::Relaxed);
        self.over.store(true, Ordering::Release);
        match self.looking.join() {
            Ok(Ok(heard)) => heard,
            Ok(Err(error)) => {
                eprintln!("what was heard cannot be read: {error}");
                Heard::default()
            }
            Err(_) => Heard::default(),
        }
    }
}

struct Looking {
    over: Arc<AtomicBool>,
    provable: Arc<AtomicBool>,
    hostile: BTreeSet<Did>,
}

/// One that was caught: when, and how much later everybody knew.
struct Caught {
    at: Duration,
    known_after: Option<Duration>,
}

impl Looking {
    fn run(self, you: PathBuf, witnesses: Vec<PathBuf>) -> Result<Heard, HomeError> {
        let you = Home::open(&you)?;
        let witnesses = witnesses.iter().map(|root| Home::open(root)).collect::<Result<Vec<_>, _>>()?;
        let (began, mut ended) = (Instant::now(), None);
        let mut caught: BTreeMap<Did, Caught> = BTreeMap::new();
        loop {
            for did in &self.hostile {
                if !caught.contains_key(did) && is_caught(&you, did)? {
                    caught.insert(*did, Caught { at: began.elapsed(), known_after: None });
                }
            }
            for (did, one) in caught.iter_mut().filter(|(_, one)| one.known_after.is_none()) {
                if is_proven(&witnesses, did)? {
                    one.known_after = Some(began.elapsed().saturating_sub(one.at));
                }
            }
            if self.over.load(Ordering::Acquire) {
                let since = ended.get_or_insert_with(Instant::now).elapsed();
                let waits = match caught.values().any(|one| one.known_after.is_none()) {
                    true => since < HEARD_WITHIN,
                    false => caught.is_empty() && since < FOUND_WITHIN,
                };
                if !waits || !self.provable.load(Ordering::Relaxed) {
                    break;
                }
            }
            thread::sleep(LOOK_EVERY);
        }
        let known: Option<Vec<Duration>> = caught.values().map(|one| one.known_after).collect();
        Ok(Heard {
            convicted: caught.len(),
            caught: caught.values().map(|one| one.at).min(),
            network: known.and_then(|known| known.into_iter().max()),
        })
    }
}

fn is_caught(you: &Home, did: &Did) -> Result<bool, HomeError> {
    // What condemns comes first.
    let newest = you.store().experiences_with(did, 1)?;
    Ok(newest.iter().any(|one| one.kind == "diverged") || you.store().proven_liar(did)?.is_some())
}

fn is_proven(witnesses: &[Home], did: &Did) -> Result<bool, HomeError> {
    for witness in witnesses {
        if witness.store().proven_liar(did)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
