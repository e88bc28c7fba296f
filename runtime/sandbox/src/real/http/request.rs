//! A request before it is sent, and how long it may take.

use super::super::RealView;
use super::super::bindings::wasi::http::types::{self, Method, Scheme};
use super::body::{Draft, OutgoingBody};
use super::fields::Fields;
use crate::host::HttpError;
use actum_model::permission::Origin;
use wasmtime::component::Resource;

/// The most bytes of path and query: 8 KiB.
pub(super) const MAX_PATH_BYTES: usize = 8 << 10;
/// The most bytes of an authority: a name, brackets and a port.
pub(super) const MAX_AUTHORITY_BYTES: usize = 320;
/// The most letters of a method or a scheme.
pub(super) const MAX_WORD_BYTES: usize = 16;

/// A request as far as it is written.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct OutgoingRequest {
    method: Method,
    path: Option<String>,
    scheme: Option<Scheme>,
    authority: Option<String>,
    pub(super) headers: Fields,
    /// The body, once the guest has taken it.
    pub(super) body: Option<Draft>,
}

impl OutgoingRequest {
    pub(super) fn method(&self) -> &str {
        match &self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(name) => name,
        }
    }

    /// The scheme; WASI's default is HTTPS.
    fn scheme(&self) -> &str {
        match &self.scheme {
            Some(Scheme::Http) => "http",
            None | Some(Scheme::Https) => "https",
            Some(Scheme::Other(name)) => name,
        }
    }

    fn authority(&self) -> &str {
        self.authority.as_deref().unwrap_or_default()
    }

    /// Path and query, beginning with `/`.
    pub(super) fn path(&self) -> String {
        let path = self.path.as_deref().unwrap_or_default();
        if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
    }

    pub(super) fn origin(&self) -> Result<Origin, HttpError> {
        Origin::new(self.scheme(), self.authority()).map_err(|_| HttpError::HttpRequestUriInvalid)
    }

    /// The whole address: in its one spelling where it is one, else as the guest spelled it.
    pub(super) fn url(&self) -> String {
        match self.origin() {
            Ok(origin) => format!("{origin}{}", self.path()),
            Err(_) => format!("{}://{}{}", self.scheme(), self.authority(), self.path()),
        }
    }
}

/// How long a request may take. The whole of it is bounded by the smaller of both, since nothing of an answer is seen
/// before all of it is there.
#[derive(Debug, Default)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct RequestOptions {
    connect: Option<u64>,
    first_byte: Option<u64>,
}

impl RequestOptions {
    /// The bound, in nanoseconds.
    pub(super) fn bound(&self) -> Option<u64> {
        [self.connect, self.first_byte].into_iter().flatten().min()
    }
}

/// A part of a request that WASI lets us refuse.
type Part = wasmtime::Result<Result<(), ()>>;

impl RealView<'_> {
    /// Sets a part if it fits, and counts it as written.
    fn put(
        &mut self,
        it: &Resource<OutgoingRequest>,
        (bytes, fits): (usize, bool),
        set: impl FnOnce(&mut OutgoingRequest),
    ) -> Part {
        let request = self.table.get_mut(it)?;
        if !fits {
            return Ok(Err(()));
        }
        self.real.written.take(bytes)?;
        set(request);
        Ok(Ok(()))
    }
}

fn word(text: &str, more: &[u8]) -> (usize, bool) {
    let fits = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
    (text.len(), (1..=MAX_WORD_BYTES).contains(&text.len()) && text.bytes().all(fits))
}

impl types::HostOutgoingRequest for RealView<'_> {
    fn new(&mut self, headers: Resource<Fields>) -> wasmtime::Result<Resource<OutgoingRequest>> {
        let headers = self.table.delete(headers)?.view();
        let request = OutgoingRequest {
            method: Method::Get,
            path: None,
            scheme: None,
            authority: None,
            headers,
            body: None,
        };
        Ok(self.table.push(request)?)
    }

    fn body(
        &mut self,
        it: Resource<OutgoingRequest>,
    ) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        let request = self.table.get_mut(&it)?;
        if request.body.is_some() {
            return Ok(Err(()));
        }
        let draft = Draft::default();
        request.body = Some(draft.clone());
        Ok(Ok(self.table.push(OutgoingBody::new(draft))?))
    }

    fn method(&mut self, it: Resource<OutgoingRequest>) -> wasmtime::Result<Method> {
        Ok(self.table.get(&it)?.method.clone())
    }

    fn set_method(&mut self, it: Resource<OutgoingRequest>, method: Method) -> Part {
        let cost = match &method {
            Method::Other(name) => word(name, b"-_"),
            _ => (0, true),
        };
        self.put(&it, cost, |request| request.method = method)
    }

    fn path_with_query(&mut self, it: Resource<OutgoingRequest>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&it)?.path.clone())
    }

    fn set_path_with_query(&mut self, it: Resource<OutgoingRequest>, path: Option<String>) -> Part {
        let text = path.as_deref().unwrap_or_default();
        // RFC 3986, section 3.3 and 3.4; and what everyone sends besides.
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?[]|".contains(&b);
        let begins = text.is_empty() || text.starts_with(['/', '?']);
        let fits = begins && text.len() <= MAX_PATH_BYTES && text.bytes().all(fits);
        self.put(&it, (text.len(), fits), |request| request.path = path)
    }

    fn scheme(&mut self, it: Resource<OutgoingRequest>) -> wasmtime::Result<Option<Scheme>> {
        Ok(self.table.get(&it)?.scheme.clone())
    }

    fn set_scheme(&mut self, it: Resource<OutgoingRequest>, scheme: Option<Scheme>) -> Part {
        let cost = match &scheme {
            Some(Scheme::Other(name)) => word(name, b"+-."),
            _ => (0, true),
        };
        self.put(&it, cost, |request| request.scheme = scheme)
    }

    fn authority(&mut self, it: Resource<OutgoingRequest>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&it)?.authority.clone())
    }

    fn set_authority(&mut self, it: Resource<OutgoingRequest>, authority: Option<String>) -> Part {
        let text = authority.as_deref().unwrap_or_default();
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%[]".contains(&b);
        let fits = text.len() <= MAX_AUTHORITY_BYTES && text.bytes().all(fits);
        self.put(&it, (text.len(), fits), |request| request.authority = authority)
    }

    fn headers(&mut self, it: Resource<OutgoingRequest>) -> wasmtime::Result<Resource<Fields>> {
        let headers = self.table.get(&it)?.headers.view();
        Ok(self.table.push(headers)?)
    }

    fn drop(&mut self, it: Resource<OutgoingRequest>) -> wasmtime::Result<()> {
        self.table.delete(it)?;
        Ok(())
    }
}

impl types::HostRequestOptions for RealView<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        Ok(self.table.push(RequestOptions::default())?)
    }

    fn connect_timeout(&mut self, it: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&it)?.connect)
    }

    fn set_connect_timeout(&mut self, it: Resource<RequestOptions>, duration: Option<u64>) -> Part {
        self.table.get_mut(&it)?.connect = duration;
        Ok(Ok(()))
    }

    fn first_byte_timeout(&mut self, it: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&it)?.first_byte)
    }

    fn set_first_byte_timeout(&mut self, it: Resource<RequestOptions>, duration: Option<u64>) -> Part {
        self.table.get_mut(&it)?.first_byte = duration;
        Ok(Ok(()))
    }

    fn between_bytes_timeout(&mut self, it: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        self.table.get(&it)?;
        Ok(None)
    }

    /// Not supported: nothing is seen between the bytes.
    fn set_between_bytes_timeout(&mut self, it: Resource<RequestOptions>, _: Option<u64>) -> Part {
        self.table.get(&it)?;
        Ok(Err(()))
    }

    fn drop(&mut self, it: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.table.delete(it)?;
        Ok(())
    }
}
