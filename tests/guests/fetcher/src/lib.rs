//! Reaches for the network by `wasi:http`: requests alone and together, with bodies, against timers, and wrong ones.
#![cfg(target_os = "wasi")]

actum_guest::capability! {
    wit: "wit",
    implement: Fetcher,
}

use bindings::exports::test::fetcher::fetcher::{Failure, Guest, Response};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, HeaderError, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::poll::poll;
use wasip2::io::streams::{InputStream, StreamError};

type Answer<T> = Result<T, Failure>;

fn refused(what: &str) -> Failure {
    Failure::Refused(what.to_owned())
}

fn failure(code: ErrorCode) -> Failure {
    match code {
        ErrorCode::HttpRequestDenied => Failure::Denied,
        ErrorCode::DestinationIpProhibited => Failure::Prohibited,
        other => Failure::Failed(format!("{other:?}")),
    }
}

fn header_error(error: HeaderError) -> String {
    match error {
        HeaderError::InvalidSyntax => "invalid-syntax",
        HeaderError::Forbidden => "forbidden",
        HeaderError::Immutable => "immutable",
    }
    .to_owned()
}

/// A request without a body.
fn request(method: &str, url: &str, headers: &[(String, String)]) -> Answer<OutgoingRequest> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| refused("url"))?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let fields: Vec<_> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let fields = Fields::from_list(&fields).map_err(|error| Failure::Refused(header_error(error)))?;
    let request = OutgoingRequest::new(fields);
    let method = match method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        other => Method::Other(other.to_owned()),
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(|()| refused("method"))?;
    request.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    request.set_authority(Some(authority)).map_err(|()| refused("authority"))?;
    request.set_path_with_query(Some(path)).map_err(|()| refused("path"))?;
    Ok(request)
}

fn get(url: &str) -> Answer<FutureIncomingResponse> {
    handle(request("GET", url, &[])?, None).map_err(failure)
}

fn write(body: &OutgoingBody, bytes: &[u8]) -> Answer<()> {
    let stream = body.write().map_err(|()| refused("body"))?;
    for piece in bytes.chunks(4096) {
        stream.blocking_write_and_flush(piece).map_err(|error| Failure::Failed(format!("{error:?}")))?;
    }
    Ok(())
}

/// The answer once it is there.
fn taken(future: &FutureIncomingResponse) -> Answer<IncomingResponse> {
    let answer = future.get().ok_or_else(|| refused("not there"))?;
    answer.map_err(|()| refused("taken before"))?.map_err(failure)
}

fn waited(future: &FutureIncomingResponse) -> Answer<Response> {
    future.subscribe().block();
    whole(taken(future)?)
}

/// Hands each piece of a body to `each`.
fn drain(stream: &InputStream, bytes: u64, mut each: impl FnMut(Vec<u8>)) -> Answer<()> {
    loop {
        match stream.blocking_read(bytes) {
            Ok(piece) => each(piece),
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(Failure::Failed(format!("{error:?}"))),
        }
    }
}

fn whole(response: IncomingResponse) -> Answer<Response> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let headers = response.headers().entries().into_iter().map(|(name, value)| (name, text(value))).collect();
    let body = response.consume().map_err(|()| refused("consume"))?;
    let mut bytes = Vec::new();
    let stream = body.stream().map_err(|()| refused("stream"))?;
    drain(&stream, 64 << 10, |piece| bytes.extend(piece))?;
    drop(stream);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    match trailers.get() {
        Some(Ok(Ok(None))) => Ok(Response { status: response.status(), headers, body: text(bytes) }),
        other => Err(Failure::Failed(format!("trailers: {other:?}"))),
    }
}

struct Fetcher;

impl Guest for Fetcher {
    fn fetch(
        method: String,
        url: String,
        headers: Vec<(String, String)>,
        body: Option<String>,
    ) -> Answer<Response> {
        let request = request(&method, &url, &headers)?;
        if let Some(text) = body {
            let body = request.body().map_err(|()| refused("body"))?;
            write(&body, text.as_bytes())?;
            OutgoingBody::finish(body, None).map_err(failure)?;
        }
        waited(&handle(request, None).map_err(failure)?)
    }

    fn fetch_both(a: String, b: String) -> Answer<(u32, Response, Response)> {
        let (a, b) = (get(&a)?, get(&b)?);
        let first = poll(&[&a.subscribe(), &b.subscribe()])[0];
        Ok(if first == 0 {
            let a = whole(taken(&a)?)?;
            (first, a, waited(&b)?)
        } else {
            let b = whole(taken(&b)?)?;
            (first, waited(&a)?, b)
        })
    }

    fn race(url: String, milliseconds: u64) -> Answer<Option<Response>> {
        let future = get(&url)?;
        let ready = poll(&[&future.subscribe(), &subscribe_duration(milliseconds * 1_000_000)]);
        if ready.contains(&0) { Ok(Some(whole(taken(&future)?)?)) } else { Ok(None) }
    }

    fn look_often(url: String, milliseconds: u64) -> Answer<(u32, Response)> {
        let future = get(&url)?;
        let mut looks = 0;
        loop {
            if let Some(answer) = future.get() {
                let answer = answer.map_err(|()| refused("taken before"))?;
                return Ok((looks, whole(answer.map_err(failure)?)?));
            }
            looks += 1;
            poll(&[&future.subscribe(), &subscribe_duration(milliseconds * 1_000_000)]);
        }
    }

    fn upload(url: String, pieces: u32, piece_bytes: u32) -> Answer<Response> {
        let request = request("POST", &url, &[])?;
        let body = request.body().map_err(|()| refused("body"))?;
        let future = handle(request, None).map_err(failure)?;
        if future.get().is_some() {
            return Err(refused("an answer before the request"));
        }
        let piece = vec![b'x'; piece_bytes as usize];
        let stream = body.write().map_err(|()| refused("body"))?;
        for _ in 0..pieces {
            for part in piece.chunks(4096) {
                stream
                    .blocking_write_and_flush(part)
                    .map_err(|error| Failure::Failed(format!("{error:?}")))?;
            }
        }
        drop(stream);
        let finished = OutgoingBody::finish(body, None).map_err(failure);
        // What the body's end was refused with, the answer is refused with.
        let answer = waited(&future);
        finished.and(answer)
    }

    fn pieces(url: String, bytes: u64) -> Answer<Vec<u32>> {
        let future = get(&url)?;
        future.subscribe().block();
        let body = taken(&future)?.consume().map_err(|()| refused("consume"))?;
        let mut sizes = Vec::new();
        let stream = body.stream().map_err(|()| refused("stream"))?;
        drain(&stream, bytes, |piece| sizes.push(piece.len() as u32))?;
        Ok(sizes)
    }

    fn follow(url: String) -> (Vec<u16>, Answer<Response>) {
        let mut statuses = Vec::new();
        let mut url = url;
        loop {
            let answer = get(&url).and_then(|future| waited(&future));
            let Ok(response) = &answer else { return (statuses, answer) };
            statuses.push(response.status);
            let location = response.headers.iter().find(|(name, _)| name == "location");
            match location {
                Some((_, to)) if statuses.len() < 5 => url = to.clone(),
                _ => return (statuses, answer),
            }
        }
    }

    fn many(url: String, count: u32, drop: bool) -> Vec<Answer<()>> {
        let sent: Vec<_> = (0..count).map(|_| get(&url).map(|future| (!drop).then_some(future))).collect();
        sent.into_iter().map(|sent| sent?.map_or(Ok(()), |future| waited(&future).map(|_| ()))).collect()
    }

    fn within(url: String, milliseconds: u64) -> Answer<Response> {
        let options = RequestOptions::new();
        let timeout = Some(milliseconds * 1_000_000);
        options.set_first_byte_timeout(timeout).map_err(|()| refused("timeout"))?;
        waited(&handle(request("GET", &url, &[])?, Some(options)).map_err(failure)?)
    }

    fn wait_unfinished(url: String) -> Answer<Response> {
        let request = request("POST", &url, &[])?;
        let _body = request.body().map_err(|()| refused("body"))?;
        waited(&handle(request, None).map_err(failure)?)
    }

    fn drop_unfinished(url: String) -> Answer<Response> {
        let request = request("POST", &url, &[])?;
        let body = request.body().map_err(|()| refused("body"))?;
        let future = handle(request, None).map_err(failure)?;
        drop(body);
        waited(&future)
    }

    fn field(name: String, value: String) -> Result<Vec<(String, String)>, String> {
        let fields = Fields::new();
        fields.append("x-first", b"1").map_err(header_error)?;
        let copy = fields.clone();
        copy.append(&name, value.as_bytes()).map_err(header_error)?;
        copy.set(&name, &[value.clone().into_bytes()]).map_err(header_error)?;
        let request = OutgoingRequest::new(fields);
        if !matches!(request.headers().delete("x-first"), Err(HeaderError::Immutable)) {
            return Err("a request's fields were changed".to_owned());
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(copy.entries().into_iter().map(|(name, value)| (name, text(value))).collect())
    }

    fn twice(url: String) -> Answer<bool> {
        let future = get(&url)?;
        let pollable = future.subscribe();
        pollable.block();
        taken(&future)?;
        // It stays ready, and has nothing more to give.
        pollable.block();
        Ok(matches!(future.get(), Some(Err(()))))
    }
}
