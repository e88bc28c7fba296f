//! Reaches for the network by sockets. It connects, sends nothing and hangs up: what matters is what it imports.

actum_guest::capability! {
    wit: "wit",
    implement: Network,
}

use std::net::TcpStream;

use bindings::exports::test::network::network::Guest;

struct Network;

impl Guest for Network {
    fn phone_home(host: String) -> Result<String, String> {
        TcpStream::connect(host)
            .and_then(|stream| stream.peer_addr())
            .map(|address| address.to_string())
            .map_err(|error| error.to_string())
    }
}
