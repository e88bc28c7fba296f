//! What becomes of a call whose session is lost: the requester comes back to the same provider and asks for the answer,
//! and asks nobody else unless that provider says that it never admitted the call.

use super::{Answered, CallProgress, Called, Requester, checks::judge_with};
use crate::{clock, failure::CallError, node::multiaddrs, wallet::Calling};
use actum_model::{Claim, Did, Invocation, InvocationId, Judgement, Release, RunArgs, Signed, ucan::Proof};
use actum_overlay::{
    ConnectError, Event, Multiaddr, Refusal, RefusalCode, Request, RequestError, Response, SessionHandle,
};
use actum_store::{StoreError, Unanswered};
use actum_trust::Experience;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// A call not answered by then is remembered, so that its answer can be had even if this process is killed. One that is
/// killed sooner has nothing to remember: most calls are over by then, and a write for each would cost them more than all
/// the rest.
const REMEMBER_AFTER: Duration = Duration::from_millis(20);
/// How soon a lost provider is tried again, at first; each time twice as long...
const BACKOFF: Duration = Duration::from_millis(100);
/// ...up to this.
const BACKOFF_MOST: Duration = Duration::from_secs(5);
/// How long reaching a provider may take, at one try.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A call as it was sent, and to whom.
pub(super) struct Sent<'a> {
    pub(super) invocation: &'a Signed<Invocation>,
    pub(super) provider: Did,
    pub(super) addresses: &'a [Multiaddr],
    /// Whether it is remembered until it is answered.
    pub(super) remembers: bool,
}

/// What a provider said when it was asked for a lost answer.
enum Resumed {
    Answer(Response),
    /// Nothing yet, for this reason; perhaps not before a while.
    Later(String, Option<Duration>),
}

fn shown(progress: &mut (dyn FnMut(CallProgress) + Send), event: Event) {
    progress(match event {
        Event::Queued { ahead } => CallProgress::Queued { ahead },
        Event::Fetching { chunks_done: done, chunks_total: total } => CallProgress::Fetching { done, total },
        Event::Running => CallProgress::Running,
    });
}

impl Requester {
    pub(crate) async fn session_at(
        &self,
        provider: &Did,
        addresses: &[Multiaddr],
    ) -> Result<SessionHandle, ConnectError> {
        self.session_within(provider, addresses, CONNECT_DEADLINE).await
    }

    /// The same, in no more than so much time.
    pub(super) async fn session_within(
        &self,
        provider: &Did,
        addresses: &[Multiaddr],
        within: Duration,
    ) -> Result<SessionHandle, ConnectError> {
        let after = within.min(CONNECT_DEADLINE);
        let connect = self.overlay.connect_named(provider, addresses);
        tokio::time::timeout(after, connect).await.unwrap_or(Err(ConnectError::TimedOut { after }))
    }

    /// Sends a call and sees it through lost sessions until the deadline. Says whether it was remembered as unanswered.
    pub(super) async fn see_through(
        &self,
        session: &SessionHandle,
        sent: &Sent<'_>,
        call: &Request,
        release: &Signed<Release>,
        deadline: Duration,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<(Response, bool), CallError> {
        let until = Instant::now() + deadline;
        let (provider, mut remembering) = (sent.provider, None);
        let answer = {
            let asked = session.request_with_progress(call, deadline, |event| shown(progress, event));
            tokio::pin!(asked);
            match tokio::time::timeout(REMEMBER_AFTER, &mut asked).await {
                Ok(answer) => answer,
                Err(_) => {
                    remembering = sent.remembers.then(|| self.remember(sent, call, release));
                    asked.await
                }
            }
        };
        let reason = match answer {
            Ok(response) => return Ok((response, remembered(remembering).await)),
            // An answer that had no room here is kept there.
            Err(source @ (RequestError::LostWhileWaiting { .. } | RequestError::NoRoom { .. })) => {
                source.to_string()
            }
            Err(source) => {
                let sent_it = matches!(source, RequestError::TimedOut { may_have_run: true, .. });
                if remembered(remembering).await && !sent_it {
                    self.forget(sent.invocation.id()).await;
                }
                return Err(CallError::Lost { provider, source });
            }
        };
        // Whatever happens now, the answer can be asked for later.
        let remembering = remembering.or_else(|| sent.remembers.then(|| self.remember(sent, call, release)));
        let remembered = remembered(remembering).await;
        tracing::debug!(%provider, reason, "the session was lost; asking for the answer again");
        progress(CallProgress::Resuming { provider });
        self.resume_until(sent, false, until, reason, progress).await.map(|response| (response, remembered))
    }

    /// Asks for a lost answer until it comes, or nobody can have it, or the time is over: then the action is cancelled, or
    /// with `leaves` goes on.
    async fn resume_until(
        &self,
        sent: &Sent<'_>,
        leaves: bool,
        until: Instant,
        mut why: String,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Response, CallError> {
        let (mut backoff, mut wait) = (BACKOFF, Duration::ZERO);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left <= wait {
                let invocation = sent.invocation.id();
                return Err(CallError::Unanswered { provider: sent.provider, invocation, why });
            }
            tokio::time::sleep(wait).await;
            match self.resume_once(sent, leaves, left.saturating_sub(wait), progress).await? {
                Resumed::Answer(response) => return Ok(response),
                Resumed::Later(reason, after) => {
                    why = reason;
                    wait = after.unwrap_or(Duration::ZERO).max(backoff).min(BACKOFF_MOST);
                    backoff = (backoff * 2).min(BACKOFF_MOST);
                }
            }
        }
    }

    async fn resume_once(
        &self,
        sent: &Sent<'_>,
        leaves: bool,
        left: Duration,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Resumed, CallError> {
        let (provider, invocation) = (sent.provider, sent.invocation.id());
        let session = match self.session_within(&provider, sent.addresses, left).await {
            Ok(session) => session,
            Err(e) => return Ok(Resumed::Later(e.to_string(), None)),
        };
        let request = Request::Resume { invocation: sent.invocation.bytes().to_vec(), leaves };
        let answer = session.request_with_progress(&request, left, |event| shown(progress, event)).await;
        let refusal: Refusal = match answer {
            Ok(response @ Response::Done { .. }) => return Ok(Resumed::Answer(response)),
            Ok(Response::Refused { refusal }) => refusal,
            Ok(_) => {
                return Err(CallError::BadAnswer { provider, what: "another kind of message".to_owned() });
            }
            // The peer was told to stop, and with it the action. Whether this request came to it or not, the call may have.
            Err(RequestError::TimedOut { after, .. }) if !leaves => {
                let source = RequestError::TimedOut { after, may_have_run: true };
                return Err(CallError::Lost { provider, source });
            }
            Err(e) => return Ok(Resumed::Later(e.to_string(), None)),
        };
        match refusal.code {
            // What fails there now says nothing of what became of the call.
            RefusalCode::Busy | RefusalCode::ShuttingDown | RefusalCode::Internal => {
                let after = refusal.retry_after_ms.map(Duration::from_millis);
                Ok(Resumed::Later(refusal.to_string(), after))
            }
            // It was admitted, and ended before it was begun: its component was to come from here, on the session that was
            // lost. It counts for as little.
            RefusalCode::UnknownInvocation | RefusalCode::UnknownComponent => {
                self.forget(invocation).await;
                Err(CallError::NotAdmitted { provider })
            }
            RefusalCode::Gone => {
                self.forget(invocation).await;
                Err(CallError::Gone { provider, invocation })
            }
            // It does not say what became of the call, which may have run: nobody else is asked.
            _ => Err(CallError::Unanswered { provider, invocation, why: refusal.to_string() }),
        }
    }

    /// Remembers a call that has no answer yet, its arguments too, behind the caller. It is no reason to fail the call that
    /// this fails.
    fn remember(&self, sent: &Sent<'_>, call: &Request, release: &Signed<Release>) -> JoinHandle<bool> {
        let args = match call {
            Request::Call { args, .. } => args.clone(),
            _ => Vec::new(),
        };
        let unanswered = Unanswered {
            invocation: sent.invocation.clone(),
            release: release.id(),
            addrs: sent.addresses.iter().map(ToString::to_string).collect(),
            at: clock::now_secs(),
        };
        let home = self.home.clone();
        tokio::task::spawn_blocking(move || {
            let store = home.store();
            let kept = store.put_blob(&args).and_then(|_| store.put_unanswered(&unanswered));
            kept.inspect_err(|error| tracing::warn!(%error, "a call could not be remembered")).is_ok()
        })
    }

    pub(super) async fn forget(&self, invocation: InvocationId) {
        let home = self.home.clone();
        let forget = move || home.store().remove_unanswered(&invocation);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(forget).await {
            tracing::warn!(%error, "a call that needs no answer any more is still remembered");
        }
    }

    /// Asks the provider of a call that was never answered for its answer, checks that, and keeps it: as
    /// [`Requester::call`] would have. [`Home::store`](crate::Home::store) lists such calls, as `all_unanswered`; a call
    /// is among them once it was not answered within 20 ms, until it is, for a week.
    ///
    /// [`CallError::NotAdmitted`]: it did not run, and never will. [`CallError::Gone`]: it may have run, and there is no
    /// answer. [`CallError::Unanswered`]: there was no answer by the deadline; the action goes on where it runs, so ask
    /// again.
    pub async fn resume(
        &self,
        id: &InvocationId,
        deadline: Duration,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Called, CallError> {
        let store = self.home.store();
        let nothing = || CallError::NothingToResume { invocation: *id };
        let Unanswered { invocation, release, addrs, .. } = store.unanswered(id)?.ok_or_else(nothing)?;
        let said = invocation.payload();
        let lost = |what: &'static str, id: String| StoreError::Corrupt {
            what,
            id,
            why: "an unanswered call names it and it is gone".to_owned(),
        };
        let (action, claim): (_, Claim) = RunArgs::read(said).map_err(|e| lost("call", e.to_string()))?;
        let release = store.release(&release)?.ok_or_else(|| lost("release", release.to_string()))?;
        let function = release.payload().function(&action.function.to_string())?.clone();
        let args = store.get(&action.args)?.ok_or_else(|| lost("arguments", action.args.to_string()))?;
        let proof = |id| match store.delegation(id) {
            Ok(Some(delegation)) => Ok(Proof::from(delegation)),
            Ok(None) => Err(lost("grant", id.to_string())),
            Err(e) => Err(e),
        };
        let proofs = said.prf.iter().map(proof).collect::<Result<Vec<_>, _>>()?;
        let provider = said.aud.ok_or_else(nothing)?;
        let addresses = multiaddrs(&addrs);
        let sent = Sent { invocation: &invocation, provider, addresses: &addresses, remembers: true };
        progress(CallProgress::Resuming { provider });
        let until = Instant::now() + deadline;
        let response =
            self.resume_until(&sent, true, until, "it was not asked yet".to_owned(), progress).await?;
        let fixed = BTreeSet::new();
        let calling = Calling {
            provider,
            action: &action,
            fixed: &fixed,
            claim: &claim,
            function: &function,
            args: &args,
            exp: said.exp.unwrap_or(0),
            iat: said.iat.unwrap_or(0),
        };
        let answered = Answered { invocation: invocation.clone(), proofs, response, remembered: true };
        self.keep(&calling, &release, answered).await
    }

    /// As [`Requester::resume`], for an answer that is to be believed. What checks were to go with the call is not remembered,
    /// so it is run again here first, whatever they were. [`CallError::Lied`]: it is a lie. [`CallError::Unverified`]: it
    /// could not be run again. A failure that nobody can check is given all the same: it claims no output.
    pub async fn resume_checked(
        &self,
        id: &InvocationId,
        deadline: Duration,
        progress: &mut (dyn FnMut(CallProgress) + Send),
    ) -> Result<Called, CallError> {
        let called = self.resume(id, deadline, progress).await?;
        let provider = called.receipt.payload().iss;
        let unverified = |why: String| CallError::Unverified { provider, why };
        let peers = std::iter::once(&provider).chain(self.asked.iter().filter(|peer| **peer != provider));
        let sessions: Vec<_> = peers.filter_map(|peer| self.overlay.session_with(peer)).collect();
        let local = match self.local_from(&called.release, sessions).await {
            Ok(local) => local,
            Err(error @ (CallError::Untrue { .. } | CallError::Home(_) | CallError::Store(_))) => {
                return Err(error);
            }
            Err(error) => return Err(unverified(error.to_string())),
        };
        match judge_with(&self.home, &local, &called).await? {
            Judgement::Identical => self.noted(&called, Experience::Identical)?,
            Judgement::Diverged(divergence) => return Err(self.condemn(&called, divergence)?),
            Judgement::NotReplayable(why) => {
                self.noted(&called, Experience::NotReplayable)?;
                if called.output.is_some() {
                    return Err(unverified(why));
                }
            }
        }
        Ok(called)
    }
}

async fn remembered(remembering: Option<JoinHandle<bool>>) -> bool {
    match remembering {
        Some(remembering) => remembering.await.unwrap_or(false),
        None => false,
    }
}
