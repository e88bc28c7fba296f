//! `wasi:http`, outgoing: requests to the origins that were granted, by the methods that were granted.
//!
//! A small implementation of our own, without a runtime, so that a replay needs none. It observes a request whole: the
//! answer is there once its last byte is, with status, fields and a bounded body, and is journalled when the guest takes
//! it. Nothing streams. Reading the body afterwards asks nobody: it follows from the journalled bytes.

mod body;
mod error;
mod fields;
mod handler;
mod request;
mod response;

#[expect(unreachable_pub, reason = "the generated interface names them in public")]
pub use self::{
    body::{FutureTrailers, IncomingBody, OutgoingBody},
    fields::Fields,
    request::{OutgoingRequest, RequestOptions},
    response::{FutureIncomingResponse, IncomingResponse},
};

use super::RealView;
use super::bindings::wasi::http::types;
use crate::error::Stop;
use actum_model::TrapCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wasmtime::component::Resource;

/// The most requests of one action that may be under way, or answered and not yet taken. One more is answered with
/// `connection-limit-reached`.
const MAX_IN_FLIGHT: usize = 8;

/// What a guest wrote into requests: fields, paths and bodies, dropped ones included. Ends it as `journal-too-large` where
/// no journal could hold it, so that writing without sending is bounded too.
#[derive(Clone, Debug)]
pub(super) struct Written {
    limit: u64,
    bytes: Arc<AtomicU64>,
}

impl Written {
    /// Takes at most so many bytes in all.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, bytes: Arc::default() }
    }

    /// Takes so many more.
    fn take(&self, bytes: usize) -> Result<(), Stop> {
        let more = u64::try_from(bytes).unwrap_or(u64::MAX);
        let all = self.bytes.load(Relaxed).saturating_add(more);
        if all > self.limit {
            return Err(Stop::Journal);
        }
        self.bytes.store(all, Relaxed);
        Ok(())
    }
}

/// The bounds that decide without asking anyone, as the profile has them.
pub(crate) fn rules() -> String {
    format!(
        "{} bytes of fields, {} more for each, less {}; {} of a path, {} of an authority, {} of a method; {} in flight",
        fields::MAX_SECTION_BYTES,
        fields::FIELD_OVERHEAD,
        fields::FORBIDDEN.join(" "),
        request::MAX_PATH_BYTES,
        request::MAX_AUTHORITY_BYTES,
        request::MAX_WORD_BYTES,
        MAX_IN_FLIGHT,
    )
}

impl types::Host for RealView<'_> {
    /// None: the streams of this implementation do not fail.
    fn http_error_code(&mut self, _: Resource<types::IoError>) -> wasmtime::Result<Option<types::ErrorCode>> {
        Ok(None)
    }
}

/// What only a server has: there is none.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub enum Never {}

/// Why a request that was sent or refused has no answer.
type Code = types::ErrorCode;

fn none_here<T>() -> wasmtime::Result<T> {
    Err(Stop::Fault(TrapCode::Other).into())
}

impl types::HostIncomingRequest for RealView<'_> {
    fn method(&mut self, it: Resource<Never>) -> wasmtime::Result<types::Method> {
        match *self.table.get(&it)? {}
    }

    fn path_with_query(&mut self, it: Resource<Never>) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&it)? {}
    }

    fn scheme(&mut self, it: Resource<Never>) -> wasmtime::Result<Option<types::Scheme>> {
        match *self.table.get(&it)? {}
    }

    fn authority(&mut self, it: Resource<Never>) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&it)? {}
    }

    fn headers(&mut self, it: Resource<Never>) -> wasmtime::Result<Resource<Fields>> {
        match *self.table.get(&it)? {}
    }

    fn consume(&mut self, it: Resource<Never>) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        match *self.table.get(&it)? {}
    }

    fn drop(&mut self, it: Resource<Never>) -> wasmtime::Result<()> {
        match self.table.delete(it)? {}
    }
}

impl types::HostResponseOutparam for RealView<'_> {
    fn send_informational(
        &mut self,
        it: Resource<Never>,
        _: u16,
        _: Resource<Fields>,
    ) -> wasmtime::Result<Result<(), Code>> {
        match *self.table.get(&it)? {}
    }

    fn set(&mut self, it: Resource<Never>, _: Result<Resource<Never>, Code>) -> wasmtime::Result<()> {
        match self.table.delete(it)? {}
    }

    fn drop(&mut self, it: Resource<Never>) -> wasmtime::Result<()> {
        match self.table.delete(it)? {}
    }
}

impl types::HostOutgoingResponse for RealView<'_> {
    /// Traps: there is nobody to respond to.
    fn new(&mut self, _: Resource<Fields>) -> wasmtime::Result<Resource<Never>> {
        none_here()
    }

    fn status_code(&mut self, it: Resource<Never>) -> wasmtime::Result<u16> {
        match *self.table.get(&it)? {}
    }

    fn set_status_code(&mut self, it: Resource<Never>, _: u16) -> wasmtime::Result<Result<(), ()>> {
        match *self.table.get(&it)? {}
    }

    fn headers(&mut self, it: Resource<Never>) -> wasmtime::Result<Resource<Fields>> {
        match *self.table.get(&it)? {}
    }

    fn body(&mut self, it: Resource<Never>) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        match *self.table.get(&it)? {}
    }

    fn drop(&mut self, it: Resource<Never>) -> wasmtime::Result<()> {
        match self.table.delete(it)? {}
    }
}
