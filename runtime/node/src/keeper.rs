//! Stores receipts behind the work that made them: several in one commit when they come quickly, so that a delegated
//! action does not wait for a disk.

use crate::{flights::Flight, home::Home};
use actum_model::{BlobId, Bodies, InvocationId, Receipt, Signed, ucan::Proof};
use actum_store::{NewReceipt, StoreError};
use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
};

/// Receipts waiting to be stored. Full: actions wait for the disk.
const WAITING: usize = 256;
/// What the waiting receipts and the bytes they name may take, in KiB: 256 MiB. Full: actions wait for the disk.
const WAITING_KIB: u32 = 256 << 10;
/// The most receipts in one commit.
const A_COMMIT: usize = 64;
/// How long a receipt waits for others to share its commit, in looks: a commit of one costs the processor, and a disk
/// its sync, what a commit of many costs.
const LOOKS: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How often receipts are tried again while another process holds the database. Each try waits
/// [`actum_store::BUSY_TIMEOUT`], so that receipts are given up after a minute.
const BUSY_RETRIES: u32 = 5;

/// A receipt with the bytes it names.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) receipt: Signed<Receipt>,
    pub(crate) args: Vec<u8>,
    pub(crate) output: Option<Vec<u8>>,
    pub(crate) journal: Vec<u8>,
    pub(crate) bodies: Bodies,
    pub(crate) stdio: Option<Vec<u8>>,
    /// The signed request it answers, where there was one, with its proofs.
    pub(crate) invocation: Option<Vec<u8>>,
    pub(crate) proofs: Vec<Proof>,
    /// At a provider, the action it is of, which is under way until this is stored.
    pub(crate) flight: Option<Flight>,
    /// At a requester, whether the call is remembered as unanswered, until this is stored.
    pub(crate) remembered: bool,
}

/// Takes receipts to store.
#[derive(Debug)]
pub(crate) struct Keeper {
    inbox: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// A receipt on its way, and the room it takes until it is stored.
struct Waiting {
    kept: Kept,
    _room: OwnedSemaphorePermit,
}

/// The task behind a [`Keeper`]: it ends once the keeper is gone and everything is stored, with the first failure.
pub(crate) type Keeping = JoinHandle<Result<(), StoreError>>;

impl Keeper {
    pub(crate) fn start(home: Arc<Home>) -> (Self, Keeping) {
        let (sender, inbox) = mpsc::channel(WAITING);
        let room = Arc::new(Semaphore::new(WAITING_KIB as usize));
        (Self { inbox: sender, room }, tokio::task::spawn_blocking(move || store_all(&home, inbox)))
    }

    /// Hands a receipt over; false when nothing is stored any more.
    pub(crate) async fn keep(&self, kept: Kept) -> bool {
        let Ok(_room) = self.room.clone().acquire_many_owned(kept.kib()).await else { return false };
        self.inbox.send(Waiting { kept, _room }).await.is_ok()
    }
}

fn store_all(home: &Home, mut inbox: mpsc::Receiver<Waiting>) -> Result<(), StoreError> {
    let (mut batch, mut result) = (Vec::with_capacity(A_COMMIT), Ok(()));
    while inbox.blocking_recv_many(&mut batch, A_COMMIT) > 0 {
        for _ in 0..LOOKS {
            // Nothing more will come to a closed inbox: whoever stops does not wait.
            if inbox.is_closed() || batch.len().saturating_add(inbox.len()) >= A_COMMIT {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        while batch.len() < A_COMMIT
            && let Ok(waiting) = inbox.try_recv()
        {
            batch.push(waiting);
        }
        let proofs = batch.iter().flat_map(|w| &w.kept.proofs).map(|p| (p.id(), p));
        for proof in proofs.collect::<BTreeMap<_, _>>().into_values() {
            if let Err(error) = keep_proof(home, proof) {
                tracing::error!(%error, "what some receipts ran by could not be stored");
            }
        }
        let receipts: Vec<_> = batch.iter().map(|w| w.kept.as_new()).collect();
        let stored = store_batch(home, &receipts);
        if stored.is_ok() {
            batch.iter().for_each(|waiting| forget_call(home, &waiting.kept));
        }
        result = result.and(stored);
        batch.clear();
    }
    result
}

/// The answer is here: nothing has to be asked for again.
fn forget_call(home: &Home, kept: &Kept) {
    let Some(invocation) = kept.invocation.as_ref().filter(|_| kept.remembered) else { return };
    if let Err(error) = home.store().remove_unanswered(&InvocationId::of(invocation)) {
        tracing::warn!(%error, "an answered call is still remembered as unanswered");
    }
}

/// Keeps a proof as evidence, where it is not kept: as a block, not among the delegations that this home's owner made or
/// took.
fn keep_proof(home: &Home, proof: &Proof) -> Result<(), StoreError> {
    let known = home.store().delegation(proof.id())?.is_some()
        || home.store().get(&BlobId::of(proof.bytes()))?.is_some();
    if !known {
        let _: BlobId = home.store().put(proof.bytes())?;
    }
    Ok(())
}

/// Stores what can be stored, and says of each receipt that cannot which it is; gives the first failure.
fn store_batch(home: &Home, receipts: &[NewReceipt<'_>]) -> Result<(), StoreError> {
    let mut retries = 0;
    let lost = loop {
        match home.store().put_receipts_each(receipts) {
            Err(StoreError::Busy { .. }) if retries < BUSY_RETRIES => retries += 1,
            other => break other,
        }
    };
    let say = |new: &NewReceipt<'_>, error: &StoreError| {
        tracing::error!(receipt = %new.receipt.id(), %error, "a receipt could not be stored");
    };
    match lost {
        Ok(lost) => {
            let mut first = Ok(());
            for (place, error) in lost {
                receipts.get(place).into_iter().for_each(|new| say(new, &error));
                first = first.and(Err(error));
            }
            first
        }
        Err(error) => {
            receipts.iter().for_each(|new| say(new, &error));
            Err(error)
        }
    }
}

impl Kept {
    /// The bytes that came and went: arguments, output, journal, and what the guest wrote.
    pub(crate) fn bytes(&self) -> usize {
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let parts = [self.args.len(), optional(&self.output), self.journal.len(), optional(&self.stdio)];
        parts.into_iter().chain(self.bodies.values().map(Vec::len)).sum()
    }

    /// The room it takes, in KiB, never more than there is.
    fn kib(&self) -> u32 {
        u32::try_from(self.bytes() / 1024 + 1).unwrap_or(WAITING_KIB).min(WAITING_KIB)
    }

    fn as_new(&self) -> NewReceipt<'_> {
        NewReceipt {
            receipt: &self.receipt,
            args: &self.args,
            output: self.output.as_deref(),
            journal: &self.journal,
            bodies: &self.bodies,
            stdio: self.stdio.as_deref(),
            invocation: self.invocation.as_deref(),
        }
    }
}
