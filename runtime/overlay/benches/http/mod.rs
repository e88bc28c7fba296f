//! What everybody has: axum over HTTP/1.1 with keep-alive, in plain text, and a client that does as little as one can.

use axum::{Router, body::Bytes, routing::post};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Serves an echo of whatever is posted, for as long as the runtime runs; tells where.
pub(crate) async fn serve_http() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/echo", post(|body: Bytes| async move { body }));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// One connection, kept open, on which one request is in flight.
pub(crate) struct Http {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Http {
    /// Connects, and will post as many bytes.
    pub(crate) async fn connect(address: &str, bytes: usize) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request =
            format!("POST /echo HTTP/1.1\r\nhost: bench\r\ncontent-length: {bytes}\r\n\r\n").into_bytes();
        request.resize(request.len() + bytes, 7);
        Self { stream, request, buffer: Vec::new() }
    }

    /// Posts, and reads the whole answer.
    pub(crate) async fn post(&mut self) {
        self.stream.write_all(&self.request).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the server hung up");
            let Some(head) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(self.buffer.get(..head).unwrap()).unwrap();
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            let length = text.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
            if self.buffer.len() == head + 4 + length.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}
