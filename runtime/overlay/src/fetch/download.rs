//! Drives a plan over real sessions.

use super::{
    FetchError, Wanted,
    plan::{Failed, Plan},
};
use crate::{BoxFuture, RefusalCode, Request, RequestError, Response, SessionHandle, defaults};
use actum_model::Did;
use futures::{
    StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// What became of a chunk that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is what the manifest says, and kept.
    Kept,
    /// It is something else, and nothing was written.
    Wrong,
}

/// Where the chunks of one component go.
pub trait Sink: Send {
    /// Whether each chunk is here and verified; asked once, at the beginning.
    fn verified(&self) -> Vec<bool>;

    /// Verifies a chunk against its digest and only then keeps it. An error ends the download: nothing can be kept.
    ///
    /// Chunks come in any order. It may take as long as a disk does, and must not block the task it is polled on.
    fn put(&mut self, index: u32, chunk: Vec<u8>) -> BoxFuture<'_, Result<Put, String>>;
}

/// What happens in a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadEvent {
    /// So many chunks are verified.
    Progress {
        /// Chunks verified, those that were here before included.
        done: u32,
        /// Chunks in all.
        total: u32,
    },
    /// A peer sent what is not the chunk it was asked for; it is asked for nothing more. Faulty or hostile.
    WrongChunk {
        /// The peer.
        peer: Did,
        /// Which chunk, from 0.
        index: u32,
    },
    /// A peer is asked for nothing more, for another reason.
    GivenUp {
        /// The peer.
        peer: Did,
        /// Why.
        why: String,
    },
}

/// What a download took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Chunks that were here before.
    pub before: u32,
    /// Chunks that each peer gave, by the order of the sessions.
    pub given: Vec<u32>,
}

type Answer = (usize, usize, Option<Result<Response, RequestError>>);

struct Download<'a> {
    wanted: &'a Wanted,
    sessions: &'a [SessionHandle],
    plan: Plan,
    out: FuturesUnordered<BoxFuture<'a, Answer>>,
    aborts: BTreeMap<(usize, usize), AbortHandle>,
    began: Instant,
    tried: Vec<(Did, String)>,
    fetched: Fetched,
    total: u32,
}

/// Fetches the chunks that `sink` has not, from all of these peers at once: 4 to 8 at a time from each, 32 in all, so that at
/// most 8 MiB are held here. The first 8 sessions are used.
///
/// A peer that sends a wrong chunk is asked for nothing more; one that is slow or fails loses its chunks to the others. Ends
/// with [`FetchError::NobodyLeft`] when chunks are missing and nobody is left; what was kept stays kept. Whether the
/// whole is the component is the sink's to say: chunks alone do not prove it.
pub async fn download(
    wanted: &Wanted,
    sessions: &[SessionHandle],
    sink: &mut dyn Sink,
    on_event: &mut (dyn FnMut(DownloadEvent) + Send),
) -> Result<Fetched, FetchError> {
    let sessions = sessions.get(..defaults::DOWNLOAD_PEERS).unwrap_or(sessions);
    let mut verified = sink.verified();
    verified.resize(wanted.chunks().len(), false);
    let plan = Plan::new(&verified, sessions.len());
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let download = Download {
        wanted,
        sessions,
        fetched: Fetched { before: count(plan.done()), given: vec![0; sessions.len()] },
        plan,
        out: FuturesUnordered::new(),
        aborts: BTreeMap::new(),
        began: Instant::now(),
        tried: Vec::new(),
        total: count(wanted.chunks().len()),
    };
    download.run(sink, on_event).await
}

impl<'a> Download<'a> {
    async fn run(
        mut self,
        sink: &mut dyn Sink,
        on_event: &mut (dyn FnMut(DownloadEvent) + Send),
    ) -> Result<Fetched, FetchError> {
        if self.plan.done() > 0 {
            on_event(self.progress());
        }
        while !self.plan.is_done() {
            self.ask();
            if self.plan.is_stuck() {
                return Err(FetchError::NobodyLeft {
                    component: self.wanted.component(),
                    done: u32::try_from(self.plan.done()).unwrap_or(u32::MAX),
                    total: self.total,
                    tried: self.tried,
                });
            }
            let wake = self.plan.wake(self.began.elapsed()).map(|at| self.began + at);
            let answer = tokio::select! {
                biased;
                Some(answer) = self.out.next() => answer,
                () = sleep_until(wake) => continue,
            };
            self.on_answer(answer, sink, on_event).await?;
        }
        Ok(self.fetched)
    }

    fn progress(&self) -> DownloadEvent {
        let done = u32::try_from(self.plan.done()).unwrap_or(u32::MAX);
        DownloadEvent::Progress { done, total: self.total }
    }

    /// Asks for all that may be asked for now.
    fn ask(&mut self) {
        while let Some((peer, index)) = self.plan.next(self.began.elapsed()) {
            let Some(session) = self.sessions.get(peer) else { return };
            let (abort, registration) = AbortHandle::new_pair();
            self.aborts.insert((peer, index), abort);
            let component = self.wanted.component();
            let asked = async move {
                let request = Request::Chunk { component, index: u32::try_from(index).unwrap_or(u32::MAX) };
                session.request(&request, defaults::CHUNK).await
            };
            let asked = Abortable::new(asked, registration);
            self.out.push(Box::pin(async move { (peer, index, asked.await.ok()) }));
        }
    }

    async fn on_answer(
        &mut self,
        (peer, index, answer): Answer,
        sink: &mut dyn Sink,
        on_event: &mut (dyn FnMut(DownloadEvent) + Send),
    ) -> Result<(), FetchError> {
        // One that was overtaken: the plan no longer waits for it.
        let Some(answer) = answer else { return Ok(()) };
        self.aborts.remove(&(peer, index));
        let place = u32::try_from(index).unwrap_or(u32::MAX);
        let did = self.sessions.get(peer).map(SessionHandle::peer);
        let (why, failed) = match answer {
            Ok(Response::Chunk { bytes }) => {
                for loser in self.plan.came(peer, index, self.began.elapsed()) {
                    self.aborts.remove(&(loser, index)).iter().for_each(AbortHandle::abort);
                }
                // The network works while this chunk is verified and written.
                self.ask();
                let put = sink.put(place, bytes).await;
                let component = self.wanted.component();
                match put.map_err(|why| FetchError::Sink { component, why })? {
                    Put::Kept => {
                        self.fetched.given.get_mut(peer).into_iter().for_each(|n| *n += 1);
                        on_event(self.progress());
                        return Ok(());
                    }
                    Put::Wrong => {
                        self.plan.was_wrong(index);
                        if let Some(peer) = did {
                            on_event(DownloadEvent::WrongChunk { peer, index: place });
                        }
                        (format!("it sent a wrong chunk {place}"), Failed::ForGood)
                    }
                }
            }
            Ok(Response::Refused { refusal }) if refusal.code == RefusalCode::Busy => {
                let after = Duration::from_millis(refusal.retry_after_ms.unwrap_or(0));
                let rest = after.clamp(Duration::from_millis(10), defaults::CHUNK_BUSY);
                (String::new(), Failed::Busy(self.began.elapsed() + rest))
            }
            Ok(Response::Refused { refusal }) if refusal.code == RefusalCode::Internal => {
                (refusal.to_string(), Failed::Once)
            }
            Ok(Response::Refused { refusal }) => (refusal.to_string(), Failed::ForGood),
            Ok(_) => ("it answered something else".to_owned(), Failed::ForGood),
            Err(e @ (RequestError::TimedOut { .. } | RequestError::NoRoom { .. })) => {
                (e.to_string(), Failed::Once)
            }
            Err(e) => (e.to_string(), Failed::ForGood),
        };
        let Some(others) = self.plan.failed(peer, index, failed) else { return Ok(()) };
        for other in others {
            self.aborts.remove(&(peer, other)).iter().for_each(AbortHandle::abort);
        }
        if let Some(peer) = did {
            on_event(DownloadEvent::GivenUp { peer, why: why.clone() });
            self.tried.push((peer, why));
        }
        Ok(())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
