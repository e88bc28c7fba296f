//! The HTTP client behind guests' requests: to the origin asked for and nowhere else, once, whole, and in time.
//!
//! Authority was decided before a request comes here. What is decided here is what only the moment of connecting can
//! tell: which address the name stands for (`reach`), how long it takes and how much comes back. No redirect is
//! followed, no proxy of the environment is used, and nothing of this node (no user agent, no cookie) is added.

mod reach;

use actum_model::{Did, permission::Origin};
use actum_sandbox::host::{HttpAnswer, HttpError, HttpRequest, HttpResponse, Landing};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::http;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// The most requests this process has under way at once, whoever asked for them. It bounds threads and sockets.
const MAX_REQUESTS: usize = 64;
/// The most bytes of a response's status line and fields, where the grant does not say less: 64 KiB.
const MAX_HEADER_BYTES: u64 = 64 << 10;
/// How long resolving the name and then connecting may take, each, where the whole may take longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body read at once.
const CHUNK: usize = 16 << 10;

/// The most of them for one requester: the others' guests have requests too.
const MAX_REQUESTS_EACH: usize = 16;

/// The requests under way, by who asked for the action.
static UNDER_WAY: Mutex<BTreeMap<Did, usize>> = Mutex::new(BTreeMap::new());

/// A request's place among those under way, for as long as it lives.
struct Place(Did);

impl Place {
    fn take(requester: Did) -> Option<Self> {
        let mut places = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        let own = places.get(&requester).copied().unwrap_or(0);
        if own >= MAX_REQUESTS_EACH || places.values().sum::<usize>() >= MAX_REQUESTS {
            return None;
        }
        places.insert(requester, own.saturating_add(1));
        Some(Self(requester))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        match places.get_mut(&self.0) {
            Some(own) if *own > 1 => *own = own.saturating_sub(1),
            _ => drop(places.remove(&self.0)),
        }
    }
}

/// Sends a request, of an action that `requester` asked for, from a thread of its own and gives the answer to `landing`,
/// within the request's timeout.
pub fn start(requester: Did, request: HttpRequest, landing: Landing) {
    let Some(place) = Place::take(requester) else {
        return landing.land(Err(HttpError::ConnectionLimitReached));
    };
    // Where there is no thread to be had, the landing is dropped, and says so.
    let started = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        let answer = fetch(request, &|| landing.is_awaited());
        drop(place);
        landing.land(answer);
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for a guest's HTTP request");
    }
}

/// The whole answer, or why there is none. Looks at `is_awaited` between the pieces.
fn fetch(request: HttpRequest, is_awaited: &dyn Fn() -> bool) -> HttpAnswer {
    let max_bytes = request.max_bytes;
    let header_bytes = max_bytes.min(MAX_HEADER_BYTES);
    let agent = agent(&request, usize::try_from(header_bytes).unwrap_or(usize::MAX));
    let sent = convert(request).and_then(|(parts, body)| {
        let sent = match body {
            Some(body) => agent.run(http::Request::from_parts(parts, body)),
            None => agent.run(http::Request::from_parts(parts, ())),
        };
        sent.map_err(told)
    });
    let (parts, body) = sent?.into_parts();
    let headers = parts.headers.iter();
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.as_str().to_owned(), ByteBuf::from(value.as_bytes()))).collect();
    if body.content_length().is_some_and(|length| length > max_bytes) {
        return Err(HttpError::HttpResponseBodySize(max_bytes));
    }
    let body = read(body.into_reader(), max_bytes, is_awaited)?;
    Ok(HttpResponse { status: parts.status.as_u16(), headers, body })
}

fn read(mut from: impl Read, max_bytes: u64, is_awaited: &dyn Fn() -> bool) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).map_err(|error| told(ureq::Error::from(error)))?;
        let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else { return Ok(body) };
        if u64::try_from(body.len().saturating_add(read)).unwrap_or(u64::MAX) > max_bytes {
            return Err(HttpError::HttpResponseBodySize(max_bytes));
        }
        if !is_awaited() {
            return Err(HttpError::InternalError("nobody waits for it any more".to_owned()));
        }
        body.extend_from_slice(piece);
    }
}

/// A client for one request: it keeps no connection and remembers nothing.
fn agent(request: &HttpRequest, header_bytes: usize) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .user_agent("")
        .accept("")
        .accept_encoding("")
        .max_idle_connections(0)
        .max_response_header_size(header_bytes)
        .timeout_global(Some(request.timeout))
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .build();
    let resolver = Reachable { origin: request.origin.clone(), inner: DefaultResolver::default() };
    ureq::Agent::with_parts(config, DefaultConnector::new(), resolver)
}

/// The request in the client's terms; without a body where the method does not call for one and there is none.
fn convert(request: HttpRequest) -> Result<(http::request::Parts, Option<Vec<u8>>), HttpError> {
    let calls_for_body = ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
    let method = http::Method::from_bytes(request.method.as_bytes());
    let method = method.map_err(|_| HttpError::HttpRequestMethodInvalid)?;
    let uri = format!("{}{}", request.origin, request.path).parse::<http::Uri>();
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri.map_err(|_| HttpError::HttpRequestUriInvalid)?;
    for (name, value) in &request.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        let value = http::HeaderValue::from_bytes(value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(HttpError::HttpProtocolError) };
        parts.headers.try_append(name, value).map_err(|_| HttpError::HttpProtocolError)?;
    }
    let body = (calls_for_body || !request.body.is_empty()).then_some(request.body);
    Ok((parts, body))
}

/// Resolves a name once, and gives only those of its addresses that may be reached for this origin.
#[derive(Debug)]
struct Reachable {
    origin: Origin,
    inner: DefaultResolver,
}

/// No address that the name stands for may be reached.
#[derive(Debug, thiserror::Error)]
#[error("no address of it may be reached")]
struct Prohibited;

impl Resolver for Reachable {
    fn resolve(
        &self,
        uri: &http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout).map_err(|error| match error {
            // What the system's resolver says has no kind of its own.
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })?;
        let mut reachable = self.empty();
        for address in found.iter().filter(|a| reach::may_reach(&self.origin, a.ip())) {
            reachable.push(*address);
        }
        if reachable.is_empty() {
            return Err(ureq::Error::Other(Box::new(Prohibited)));
        }
        Ok(reachable)
    }
}

/// The client's error in the guest's terms.
fn told(error: ureq::Error) -> HttpError {
    use ureq::Timeout;
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => HttpError::ConnectionTimeout,
        ureq::Error::Timeout(_) => HttpError::HttpResponseTimeout,
        ureq::Error::HostNotFound => HttpError::DnsError,
        ureq::Error::ConnectionFailed => HttpError::DestinationUnavailable,
        ureq::Error::LargeResponseHeader(_, limit) => {
            HttpError::HttpResponseHeaderSectionSize(u64::try_from(limit).unwrap_or(u64::MAX))
        }
        ureq::Error::Protocol(_) => HttpError::HttpProtocolError,
        ureq::Error::BadUri(_) => HttpError::HttpRequestUriInvalid,
        ureq::Error::Tls(_) | ureq::Error::TlsRequired => HttpError::TlsProtocolError,
        ureq::Error::Rustls(error) => tls(&error.to_string()),
        ureq::Error::Other(error) if error.is::<Prohibited>() => HttpError::DestinationIpProhibited,
        ureq::Error::Io(error) => lost(&error),
        other => HttpError::InternalError(other.to_string()),
    }
}

/// A failed connection.
fn lost(error: &io::Error) -> HttpError {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => HttpError::ConnectionRefused,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::UnexpectedEof => HttpError::ConnectionTerminated,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => HttpError::HttpResponseTimeout,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable
        | ErrorKind::PermissionDenied => HttpError::DestinationUnavailable,
        // The TLS handshake's own errors come so.
        ErrorKind::InvalidData => tls(&error.to_string()),
        _ => HttpError::InternalError(error.to_string()),
    }
}

/// A failed handshake. The text is all there is to tell a bad certificate by: the type is not ours to name.
fn tls(error: &str) -> HttpError {
    if error.contains("certificate") { HttpError::TlsCertificateError } else { HttpError::TlsProtocolError }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

    use super::*;
    use ureq::unversioned::transport::time::Duration as Patience;

    /// What the resolver says where `origin` was granted and its name stands for `address`.
    fn resolved(origin: &str, address: &str) -> Result<Vec<String>, HttpError> {
        let resolver = Reachable { origin: origin.parse().unwrap(), inner: DefaultResolver::default() };
        let uri = format!("http://{address}").parse().unwrap();
        let timeout = NextTimeout {
            after: Patience::NotHappening,
            reason: ureq::Timeout::Resolve,
            ..Default::default()
        };
        let config = ureq::Agent::config_builder().build();
        let found = resolver.resolve(&uri, &config, timeout).map_err(told)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_that_stands_for_a_private_address_is_prohibited() {
        for address in ["127.0.0.1:80", "10.0.0.1:80", "169.254.169.254:80", "[::1]:80", "[::ffff:7f00:1]:80"]
        {
            let told = resolved("http://rebound.example", address);
            assert_eq!(told, Err(HttpError::DestinationIpProhibited), "{address}");
        }
        assert_eq!(resolved("http://public.example", "1.1.1.1:80"), Ok(vec!["1.1.1.1:80".to_owned()]));
        assert_eq!(resolved("http://localhost", "127.0.0.1:81"), Ok(vec!["127.0.0.1:81".to_owned()]));
        assert_eq!(resolved("http://localhost", "10.0.0.1:80"), Err(HttpError::DestinationIpProhibited));
    }

    #[test]
    fn errors_of_a_handshake_are_told_apart() {
        assert_eq!(tls("invalid peer certificate: UnknownIssuer"), HttpError::TlsCertificateError);
        assert_eq!(tls("received corrupt message of type InvalidContentType"), HttpError::TlsProtocolError);
    }
}
