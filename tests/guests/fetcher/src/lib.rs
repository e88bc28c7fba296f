//! Reaches for the network by `wasi:http`: a GET whose body it does not read.
#![cfg(target_os = "wasi")]

actum_guest::capability! {
    wit: "wit",
    implement: Fetcher,
}

use bindings::exports::test::fetcher::fetcher::Guest;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

struct Fetcher;

impl Guest for Fetcher {
    fn status(authority: String, path: String) -> Result<u16, String> {
        let request = OutgoingRequest::new(Fields::new());
        request.set_scheme(Some(&Scheme::Http)).map_err(|()| "scheme refused")?;
        request.set_authority(Some(&authority)).map_err(|()| "authority refused")?;
        request.set_path_with_query(Some(&path)).map_err(|()| "path refused")?;
        let future = handle(request, None).map_err(|code| format!("{code:?}"))?;
        future.subscribe().block();
        let response = future.get().ok_or("no response")?.map_err(|()| "response already taken")?;
        response.map(|response| response.status()).map_err(|code| format!("{code:?}"))
    }
}
