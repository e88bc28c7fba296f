//! Stores receipts behind the work that made them: several in one commit when they come quickly, so that a delegated
//! action does not wait for a disk.

use crate::home::Home;
use actum_model::{Receipt, Signed};
use actum_store::{NewReceipt, StoreError};
use std::{sync::Arc, thread, time::Duration};
use tokio::{sync::mpsc, task::JoinHandle};

/// Receipts waiting to be stored. Full: actions wait for the disk.
const WAITING: usize = 256;
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
    pub(crate) stdio: Option<Vec<u8>>,
}

/// Takes receipts to store.
#[derive(Debug)]
pub(crate) struct Keeper(mpsc::Sender<Kept>);

/// The task behind a [`Keeper`]: it ends once the keeper is gone and everything is stored, with the first failure.
pub(crate) type Keeping = JoinHandle<Result<(), StoreError>>;

impl Keeper {
    pub(crate) fn start(home: Arc<Home>) -> (Self, Keeping) {
        let (sender, inbox) = mpsc::channel(WAITING);
        (Self(sender), tokio::task::spawn_blocking(move || store_all(&home, inbox)))
    }

    /// Hands a receipt over; false when nothing is stored any more.
    pub(crate) async fn keep(&self, kept: Kept) -> bool {
        self.0.send(kept).await.is_ok()
    }
}

fn store_all(home: &Home, mut inbox: mpsc::Receiver<Kept>) -> Result<(), StoreError> {
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
            && let Ok(kept) = inbox.try_recv()
        {
            batch.push(kept);
        }
        let receipts: Vec<_> = batch.iter().map(Kept::as_new).collect();
        result = result.and(store_batch(home, &receipts));
        batch.clear();
    }
    result
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
        Ok(lost) => lost.into_iter().fold(Ok(()), |result, (place, error)| {
            receipts.get(place).into_iter().for_each(|new| say(new, &error));
            result.and(Err(error))
        }),
        Err(error) => {
            receipts.iter().for_each(|new| say(new, &error));
            Err(error)
        }
    }
}

impl Kept {
    fn as_new(&self) -> NewReceipt<'_> {
        NewReceipt {
            receipt: &self.receipt,
            args: &self.args,
            output: self.output.as_deref(),
            journal: &self.journal,
            stdio: self.stdio.as_deref(),
        }
    }
}
