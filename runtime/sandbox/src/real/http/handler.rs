//! Sending: authority first, then the bounds, then the effect, all inside one question of the tape.

use super::super::bindings::wasi::http::outgoing_handler;
use super::super::{Real, RealView};
use super::body::{Draft, Waiting};
use super::fields::Field;
use super::request::{OutgoingRequest, RequestOptions};
use super::response::{Failure, FutureIncomingResponse};
use super::{Code, MAX_IN_FLIGHT};
use crate::host::{HttpError, HttpRequest};
use actum_model::{Body, Granted, permission};
use serde::Serialize;
use std::time::Duration;
use wasmtime::component::Resource;

/// A request, as the journal has it.
#[derive(Serialize)]
struct Question<'a> {
    /// Polls and answers name it by this.
    number: u64,
    method: &'a str,
    url: &'a str,
    headers: &'a [Field],
    /// None while the body is still written: it follows with `outgoing-body.finish`.
    body: Option<Body>,
    /// What the guest's own options bound it to, in nanoseconds.
    timeout: Option<u64>,
}

/// A granted request that lacks nothing but its body.
#[derive(Debug)]
pub(super) struct Departure {
    request: HttpRequest,
    /// What its `content-length` says, where it has one.
    promised: Option<u64>,
    /// The most bytes of its body.
    body_bytes: u64,
}

/// What the fields say of the body's length.
fn promised(headers: &[Field]) -> Result<Option<u64>, HttpError> {
    let mut promised = None;
    for (_, value) in headers.iter().filter(|(name, _)| name == "content-length") {
        let digits = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
        let length = digits.and_then(|v| v.parse().ok()).ok_or(HttpError::HttpProtocolError)?;
        if promised.replace(length).is_some_and(|other| other != length) {
            return Err(HttpError::HttpProtocolError);
        }
    }
    Ok(promised)
}

impl Departure {
    /// The request with its body.
    fn load(mut self, body: Vec<u8>) -> Result<HttpRequest, HttpError> {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if length > self.body_bytes {
            return Err(HttpError::HttpRequestBodySize(self.body_bytes));
        }
        if self.promised.is_some_and(|promised| promised != length) {
            return Err(HttpError::HttpRequestBodySize(length));
        }
        self.request.body = body;
        Ok(self.request)
    }
}

impl Real {
    fn granted_http(&self, request: &OutgoingRequest) -> Result<&permission::Http, HttpError> {
        let origin = request.origin()?;
        let found = self.granted.iter().find_map(|granted| match granted {
            Granted::Http(http) if http.origin == origin && http.methods.contains(request.method()) => {
                Some(http)
            }
            _ => None,
        });
        found.ok_or(HttpError::HttpRequestDenied)
    }

    /// Whether the action's permissions cover a request; with them come its bounds.
    fn clear(&self, request: &OutgoingRequest, timeout: Option<u64>) -> Result<Departure, HttpError> {
        if request.method() == "CONNECT" {
            return Err(HttpError::HttpRequestMethodInvalid);
        }
        let granted = self.granted_http(request)?;
        let fields = request.headers.entries();
        let own = timeout.map_or(Duration::MAX, Duration::from_nanos);
        let request = HttpRequest {
            origin: granted.origin.clone(),
            method: request.method().to_owned(),
            path: request.path(),
            headers: fields.iter().filter(|(name, _)| name != "content-length").cloned().collect(),
            body: Vec::new(),
            // More could not be journalled.
            max_bytes: granted.body_bytes.min(self.tape.limit()),
            timeout: own.min(Duration::from_millis(granted.timeout_ms)),
        };
        Ok(Departure { request, promised: promised(fields)?, body_bytes: granted.body_bytes })
    }

    /// Asks whether a request is taken, and sends it if its body is whole.
    fn send(
        &mut self,
        request: &OutgoingRequest,
        timeout: Option<u64>,
        failure: &Failure,
    ) -> wasmtime::Result<Result<u64, HttpError>> {
        let number = self.requests;
        let draft = request.body.clone();
        let body = draft.as_ref().map_or_else(|| Ok(Some(Vec::new())), Draft::take);
        let question = Question {
            number,
            method: request.method(),
            url: &request.url(),
            headers: request.headers.entries(),
            body: body.as_ref().ok().and_then(|body| body.as_ref()).map(|body| self.tape.keep(body)),
            timeout,
        };
        let cleared = self.clear(request, timeout).and_then(|departure| Ok((departure, body?)));
        let (loaded, waiting) = match cleared {
            Ok((departure, Some(body))) => (departure.load(body).map(Some), None),
            Ok((departure, None)) => (Ok(None), Some(departure)),
            Err(error) => (Err(error), None),
        };
        let told = self.depart("wasi:http/outgoing-handler#handle", &question, number, loaded)?;
        if let Err(error) = told {
            return Ok(Err(error));
        }
        self.requests = number.saturating_add(1);
        if let Some((draft, departure)) = draft.zip(waiting) {
            draft.precede(Waiting { number, departure, failure: failure.clone() });
        }
        Ok(Ok(number))
    }

    /// Sends a request that waited for its body.
    pub(super) fn send_body(
        &mut self,
        number: u64,
        departure: Departure,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<(), HttpError>> {
        if self.flights.has_landed(number) {
            return Ok(Ok(())); // Nobody waits for the answer any more.
        }
        let question = (number, self.tape.keep(&body));
        let loaded = departure.load(body).map(Some);
        self.depart("wasi:http/types#outgoing-body.finish", &question, number, loaded)
    }

    /// Asks with a request that is refused by rule, is to be sent, or has its body to come.
    ///
    /// What the rules say follows from the action and the guest, so a journal that says otherwise is left here: no
    /// recorded answer makes a request out of one that was not granted.
    fn depart<Q: Serialize>(
        &mut self,
        function: &str,
        question: &Q,
        number: u64,
        loaded: Result<Option<HttpRequest>, HttpError>,
    ) -> wasmtime::Result<Result<(), HttpError>> {
        let rule = loaded.as_ref().err().cloned();
        let sends = matches!(loaded, Ok(Some(_)));
        let (host, field) = (&self.host, &self.airfield);
        let told: Result<(), HttpError> = self.tape.ask_within(64, function, question, |_| {
            Ok(match loaded {
                Ok(Some(request)) => {
                    field.depart(MAX_IN_FLIGHT, number, |landing| host.http(request, landing))
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            })
        })?;
        let fits = match (&told, &rule) {
            (told, Some(rule)) => told.as_ref().err() == Some(rule),
            (Ok(()), None) => true,
            // Which depends on when the host was done with others.
            (Err(error), None) => sends && *error == HttpError::ConnectionLimitReached,
        };
        if !fits {
            let rule = rule.map_or_else(|| "that it is granted".to_owned(), |rule| format!("{rule:?}"));
            return Err(self.tape.refuse(format!("the rules say {rule}")));
        }
        if sends && told.is_ok() {
            self.flights.depart(number);
        }
        Ok(told)
    }
}

impl outgoing_handler::Host for RealView<'_> {
    fn handle(
        &mut self,
        request: Resource<OutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> wasmtime::Result<Result<Resource<FutureIncomingResponse>, Code>> {
        let request = self.table.delete(request)?;
        let options = options.map(|options| self.table.delete(options)).transpose()?;
        let timeout = options.and_then(|options| options.bound());
        let failure = Failure::default();
        Ok(match self.real.send(&request, timeout, &failure)? {
            Ok(number) => Ok(self.table.push(FutureIncomingResponse::new(number, failure))?),
            Err(error) => Err(error.into()),
        })
    }
}
