//! The real world behind the host interfaces: what the sandbox asks of whoever embeds it.
//!
//! The sandbox decides what the guest may ask, from the action alone, and journals what it is told. A [`Host`] has the
//! effects. It is asked only for what was granted, only while recording: a replay reaches out to nothing.

use crate::execute::CancelToken;
use actum_model::{BlobId, Withdrawal, permission::Delegate, permission::Origin};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The effects behind the host interfaces, for one action. Calls block the action's thread; [`Host::http`] does not.
///
/// Every method has a default that says there is no such thing here, in the interface's own terms.
pub trait Host: Send + Sync {
    /// Starts an HTTP request and returns. The answer goes to `landing`, from any thread, within
    /// [`HttpRequest::timeout`].
    ///
    /// The implementation checks the address it connects to, follows no redirect, and gives
    /// [`HttpError::HttpResponseBodySize`] for an answer over [`HttpRequest::max_bytes`].
    fn http(&self, request: HttpRequest, landing: Landing) {
        let _ = request;
        landing.land(Err(HttpError::DestinationUnavailable));
    }

    /// Reads or changes a bucket.
    ///
    /// # Errors
    /// What went wrong, for the guest to read.
    fn keyvalue(&self, bucket: &str, ask: KeyvalueAsk) -> Result<KeyvalueTold, String> {
        let _ = (bucket, ask);
        Err("this host has no key-value store".to_owned())
    }

    /// The bytes of a content-addressed block, at most so many. The caller checks them against the id.
    ///
    /// # Errors
    /// Why it is not to be had.
    fn block(&self, id: &BlobId, max_bytes: u64) -> Result<Vec<u8>, String> {
        let _ = max_bytes;
        Err(format!("this host does not have {id}"))
    }

    /// Whether the authority that the action runs by has ended, and how. Default: it lasts.
    ///
    /// Asked before every other question, and every 20 ms while a guest waits for an answer: it must return at once. Once
    /// it says so, the guest's question has no effect and the action ends as [`Outcome::Withdrawn`]. A host that runs an
    /// action for another's guest asks what that one's host asks, since the call goes no further than the caller.
    ///
    /// [`Outcome::Withdrawn`]: actum_model::Outcome::Withdrawn
    fn withdrawn(&self) -> Option<Withdrawal> {
        None
    }

    /// Runs another component's function as an action of its own.
    fn delegate(&self, ask: DelegateAsk<'_>) -> DelegateTold {
        let _ = ask;
        Err(DelegateError::Unavailable("this host runs nothing for a guest".to_owned()))
    }
}

/// The host that has nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {}

/// An HTTP request that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The method, in upper case.
    pub method: String,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// The fields, in the guest's order. None of them concerns the connection, and none is `content-length`: that follows
    /// from the body.
    pub headers: Vec<(String, ByteBuf)>,
    /// The body.
    pub body: Vec<u8>,
    /// The most bytes of the response's body, and of its headers.
    pub max_bytes: u64,
    /// How long it may take, from connecting to the last byte.
    pub timeout: Duration,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The fields, names in lower case.
    pub headers: Vec<(String, ByteBuf)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a request has no response: those cases of `wasi:http/types.error-code` that this host tells apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpError {
    /// No grant covers it. Nothing was sent.
    HttpRequestDenied,
    /// The name resolves only to addresses that are private, loopback or otherwise not to be reached.
    DestinationIpProhibited,
    /// The name does not resolve.
    DnsError,
    /// There is no host to ask.
    DestinationUnavailable,
    /// Nobody listens there.
    ConnectionRefused,
    /// The connection ended before the response did.
    ConnectionTerminated,
    /// Connecting took too long.
    ConnectionTimeout,
    /// The whole took too long.
    HttpResponseTimeout,
    /// Too many requests are under way.
    ConnectionLimitReached,
    /// The TLS handshake failed.
    TlsProtocolError,
    /// The certificate is not trusted.
    TlsCertificateError,
    /// The request's body is over the grant's bound, in bytes.
    HttpRequestBodySize(u64),
    /// The request's trailers are over the bound, in bytes, which is none.
    HttpRequestTrailerSectionSize(u64),
    /// The method is not one that can be asked for.
    HttpRequestMethodInvalid,
    /// Scheme, authority or path are not those of a URI.
    HttpRequestUriInvalid,
    /// The response's body is over the grant's bound, in bytes.
    HttpResponseBodySize(u64),
    /// The response's headers are over the grant's bound, in bytes.
    HttpResponseHeaderSectionSize(u64),
    /// It is not HTTP.
    HttpProtocolError,
    /// Anything else.
    InternalError(String),
}

/// The answer to a request.
pub type HttpAnswer = Result<HttpResponse, HttpError>;

/// Where the answer to one request goes. One that is dropped without an answer says so to the guest.
#[derive(Debug)]
pub struct Landing {
    number: u64,
    /// Gone once the action has ended.
    field: Weak<Airfield>,
    landed: bool,
}

impl Landing {
    /// Gives the answer.
    pub fn land(mut self, answer: HttpAnswer) {
        self.give(answer);
    }

    /// Whether anybody still waits for the answer. Where not, the request may as well be given up.
    pub fn is_awaited(&self) -> bool {
        self.field.upgrade().is_some_and(|field| field.lock().aloft.get(&self.number) == Some(&true))
    }

    fn give(&mut self, answer: HttpAnswer) {
        self.landed = true;
        if let Some(field) = self.field.upgrade() {
            let mut state = field.lock();
            if state.aloft.remove(&self.number) == Some(true) {
                state.answers.insert(self.number, answer);
            }
            drop(state);
            field.landed.notify_all();
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.landed {
            self.give(Err(HttpError::InternalError("the host lost the request".to_owned())));
        }
    }
}

/// The requests under way and the answers that came in, as they really are: nothing the guest observes before the tape
/// says so. While replaying it stays empty.
#[derive(Debug, Default)]
pub(crate) struct Airfield {
    state: Mutex<Sky>,
    landed: Condvar,
}

#[derive(Debug, Default)]
struct Sky {
    /// Requests the host has not answered, and whether the guest still wants the answer.
    aloft: BTreeMap<u64, bool>,
    /// Answers the guest has not taken.
    answers: BTreeMap<u64, HttpAnswer>,
}

impl Airfield {
    fn lock(&self) -> MutexGuard<'_, Sky> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request depart, unless so many are aloft or not taken. Those the guest has dropped count until the host
    /// has done with them.
    pub(crate) fn depart(
        self: &Arc<Self>,
        at_most: usize,
        number: u64,
        send: impl FnOnce(Landing),
    ) -> Result<(), HttpError> {
        let mut state = self.lock();
        if state.aloft.len().saturating_add(state.answers.len()) >= at_most {
            return Err(HttpError::ConnectionLimitReached);
        }
        state.aloft.insert(number, true);
        drop(state);
        send(Landing { number, field: Arc::downgrade(self), landed: false });
        Ok(())
    }

    /// Which of these have an answer now.
    pub(crate) fn ready(&self, numbers: &[u64]) -> Vec<u64> {
        let state = self.lock();
        numbers.iter().filter(|n| state.answers.contains_key(n)).copied().collect()
    }

    /// Waits until one of these has an answer, at most so long.
    pub(crate) fn wait(&self, numbers: &[u64], at_most: Duration) {
        let state = self.lock();
        let none = |state: &mut Sky| !numbers.iter().any(|n| state.answers.contains_key(n));
        drop(self.landed.wait_timeout_while(state, at_most, none));
    }

    pub(crate) fn take(&self, number: u64) -> Option<HttpAnswer> {
        self.lock().answers.remove(&number)
    }

    /// Notes that nobody wants an answer any more.
    pub(crate) fn forget(&self, number: u64) {
        let mut state = self.lock();
        state.answers.remove(&number);
        if let Some(wanted) = state.aloft.get_mut(&number) {
            *wanted = false;
        }
    }
}

/// What a guest asks of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyvalueAsk {
    /// The values of these keys. Told: [`KeyvalueTold::Values`].
    Get(Vec<String>),
    /// Sets these keys, all or none. Told: [`KeyvalueTold::Done`].
    Set(Vec<(String, ByteBuf)>),
    /// Deletes these keys, all or none. Told: [`KeyvalueTold::Done`].
    Delete(Vec<String>),
    /// The keys that begin so, in the order of their bytes, from this place on. Told: [`KeyvalueTold::Keys`].
    List {
        /// What they begin with. None: any key. A key that does not is not shown to the guest, whoever tells it.
        prefix: Option<String>,
        /// Where an earlier answer said that the next ones begin. None: at the first.
        cursor: Option<u64>,
    },
    /// Adds to a number in decimal digits, absent meaning 0. Told: [`KeyvalueTold::Number`].
    Increment(String, u64),
}

/// What a guest is told of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyvalueTold {
    /// A value for each key asked for.
    Values(Vec<Option<Vec<u8>>>),
    /// It is done.
    Done,
    /// Keys, and where the next ones begin.
    Keys(Vec<String>, Option<u64>),
    /// The sum.
    Number(u64),
}

/// A call that a guest asks for.
#[derive(Clone, Debug)]
pub struct DelegateAsk<'a> {
    /// How many calls this guest made before: with the action's id it names the call, for ever.
    pub number: u64,
    /// What was granted.
    pub granted: &'a Delegate,
    /// The function.
    pub function: &'a str,
    /// The arguments as JSON.
    pub args: &'a str,
    /// The most fuel the call and all it calls may burn.
    pub fuel: u64,
    /// When the caller's own wall-clock protection ends it.
    pub deadline: Instant,
    /// Set when nobody waits for the caller any more.
    pub cancel: CancelToken,
}

/// How a call ended.
pub type DelegateTold = Result<DelegateAnswer, DelegateError>;

/// A call that returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegateAnswer {
    /// The result as JSON.
    pub output: String,
    /// The id of its receipt.
    pub receipt: String,
    /// The fuel it burned, nested calls apart.
    pub fuel: u64,
    /// The fuel it burned with all it called.
    pub total_fuel: u64,
}

/// A call that did not return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DelegateError {
    /// No grant names the target.
    Denied(String),
    /// What was granted is used up.
    Exhausted(String),
    /// No such function, or arguments that do not fit.
    Invalid(String),
    /// It ran and ended otherwise.
    Failed {
        /// The outcome's code.
        outcome: String,
        /// The id of its receipt.
        receipt: String,
        /// The fuel it burned, nested calls apart.
        fuel: u64,
        /// The fuel it burned with all it called.
        total_fuel: u64,
    },
    /// It could not be run.
    Unavailable(String),
}
