//! Answers: when there is one, and what it is. Both are observed, so both are journalled.

use super::super::RealView;
use super::super::bindings::wasi::http::types;
use super::super::flights::Arrival;
use super::Code;
use super::body::IncomingBody;
use super::fields::{Field, Fields};
use crate::host::HttpError;
use actum_model::Body;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, subscribe};

/// Why a request that was accepted was never sent, once that is known. It follows from what the guest did.
pub(super) type Failure = Arc<OnceLock<HttpError>>;

/// A response, as the journal has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    status: u16,
    headers: Vec<Field>,
    body: Body,
}

/// A request that was accepted.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct FutureIncomingResponse {
    number: u64,
    failure: Failure,
    taken: bool,
}

impl FutureIncomingResponse {
    pub(super) fn new(number: u64, failure: Failure) -> Self {
        Self { number, failure, taken: false }
    }
}

/// A response that is all there.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct IncomingResponse {
    status: u16,
    headers: Fields,
    body: Option<Bytes>,
}

/// An answer: not yet, a second look, an error or a response.
type Answer = Option<Result<Result<Resource<IncomingResponse>, Code>, ()>>;

impl RealView<'_> {
    /// Whether the guest knows, or is told now, that there is an answer.
    fn has_answer(&mut self, number: u64) -> wasmtime::Result<bool> {
        let flights = &self.real.flights;
        if flights.has_landed(number) {
            return Ok(true);
        }
        Ok(flights.has_departed(number) && !self.real.land(&[number], false, None)?.is_empty())
    }

    /// The answer, which is there.
    fn take_answer(&mut self, number: u64) -> wasmtime::Result<Result<Resource<IncomingResponse>, Code>> {
        let (tape, field) = (&mut self.real.tape, &self.real.airfield);
        let told: Result<Told, HttpError> =
            tape.ask("wasi:http/types#future-incoming-response.get", &number, |tape| {
                let lost = || Err(HttpError::InternalError("the answer was lost".to_owned()));
                Ok(field.take(number).unwrap_or_else(lost).map(|response| Told {
                    status: response.status,
                    headers: response.headers,
                    body: tape.keep(&response.body),
                }))
            })?;
        self.real.flights.forget(number);
        Ok(match told {
            Ok(told) => {
                let body = Some(Bytes::from(tape.open(&told.body)?));
                let headers = Fields::fixed(told.headers);
                Ok(self.table.push(IncomingResponse { status: told.status, headers, body })?)
            }
            Err(error) => Err(error.into()),
        })
    }
}

impl types::HostFutureIncomingResponse for RealView<'_> {
    fn subscribe(&mut self, it: Resource<FutureIncomingResponse>) -> wasmtime::Result<Resource<DynPollable>> {
        let number = self.table.get(&it)?.number;
        let arrival = self.table.push(Arrival { number, flights: Arc::clone(&self.real.flights) })?;
        subscribe(self.table, arrival)
    }

    fn get(&mut self, it: Resource<FutureIncomingResponse>) -> wasmtime::Result<Answer> {
        let future = self.table.get_mut(&it)?;
        let number = future.number;
        if future.taken {
            return Ok(Some(Err(())));
        }
        if let Some(error) = future.failure.get().cloned() {
            future.taken = true;
            return Ok(Some(Ok(Err(error.into()))));
        }
        if !self.has_answer(number)? {
            return Ok(None);
        }
        self.table.get_mut(&it)?.taken = true;
        Ok(Some(Ok(self.take_answer(number)?)))
    }

    fn drop(&mut self, it: Resource<FutureIncomingResponse>) -> wasmtime::Result<()> {
        let number = self.table.delete(it)?.number;
        self.real.flights.forget(number);
        self.real.airfield.forget(number);
        Ok(())
    }
}

impl types::HostIncomingResponse for RealView<'_> {
    fn status(&mut self, it: Resource<IncomingResponse>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&it)?.status)
    }

    fn headers(&mut self, it: Resource<IncomingResponse>) -> wasmtime::Result<Resource<Fields>> {
        let headers = self.table.get(&it)?.headers.view();
        Ok(self.table.push(headers)?)
    }

    fn consume(
        &mut self,
        it: Resource<IncomingResponse>,
    ) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        Ok(match self.table.get_mut(&it)?.body.take() {
            Some(body) => Ok(self.table.push(IncomingBody::new(body))?),
            None => Err(()),
        })
    }

    fn drop(&mut self, it: Resource<IncomingResponse>) -> wasmtime::Result<()> {
        self.table.delete(it)?;
        Ok(())
    }
}
