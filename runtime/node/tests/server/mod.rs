//! A small HTTP server on this machine that does what the path says, well or badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Gone when it is dropped: then nobody listens there.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, end) = (Arc::clone(&requests), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (count, end) = (Arc::clone(&count), Arc::clone(&end));
                // A client that hangs up in the middle is no failure of the server's.
                std::thread::spawn(move || _ = serve(&stream.unwrap(), &count, &end));
            }
        });
        Self { address, requests, over, thread: Some(thread) }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the listener, which sees that it is over.
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(stream: &TcpStream, count: &AtomicUsize, over: &AtomicBool) -> std::io::Result<()> {
    let mut input = BufReader::new(stream);
    let mut output = stream;
    // Who speaks TLS does not begin with text.
    let mut first = Vec::new();
    input.read_until(b'\n', &mut first)?;
    let start = String::from_utf8_lossy(&first).trim_end().to_owned();
    let Some(path) = start.split(' ').nth(1).filter(|_| start.contains(" HTTP/")) else {
        return output.write_all(b"HTTP/1.1 400 \r\nconnection: close\r\n\r\n");
    };
    count.fetch_add(1, Ordering::SeqCst);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            header => headers.push(header.to_ascii_lowercase()),
        }
    }
    headers.sort();
    let length = headers.iter().find_map(|h| h.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    input.read_exact(&mut body)?;

    let mut text = |text: &str| {
        let length = text.len();
        write!(output, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}")
    };
    let drip = || {
        std::thread::sleep(Duration::from_millis(20));
        !over.load(Ordering::SeqCst)
    };
    let (word, rest) = path[1..].split_once(['/', '?']).unwrap_or((&path[1..], ""));
    match word {
        "text" => text(rest),
        "late" => {
            let (milliseconds, rest) = rest.split_once('/').unwrap();
            for _ in 0..milliseconds.parse::<u32>().unwrap() / 20 {
                if !drip() {
                    return Ok(());
                }
            }
            text(rest)
        }
        "echo" => {
            let body = String::from_utf8_lossy(&body).into_owned();
            text(&format!("{start}|{}|{body}", headers.join("|")))
        }
        "sized" => text(&"s".repeat(rest.parse().unwrap())),
        "chunked" => {
            output.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let mut left: usize = rest.parse().unwrap();
            while left > 0 {
                let piece = left.min(700);
                write!(output, "{piece:x}\r\n{}\r\n", "c".repeat(piece))?;
                left -= piece;
            }
            output.write_all(b"0\r\n\r\n")
        }
        "until-closed" => {
            output.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            output.write_all(&vec![b'u'; rest.parse().unwrap()])
        }
        "endless" => {
            output.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            while !over.load(Ordering::SeqCst) {
                output.write_all(&[b'e'; 4096])?;
            }
            Ok(())
        }
        "redirect" => write!(output, "HTTP/1.1 302 Found\r\nlocation: {rest}\r\ncontent-length: 0\r\n\r\n"),
        "headers" => {
            let value = "h".repeat(rest.parse().unwrap());
            write!(output, "HTTP/1.1 200 OK\r\nx-long: {value}\r\ncontent-length: 0\r\n\r\n")
        }
        "drip-headers" => {
            output.write_all(b"HTTP/1.1 200 OK\r\n")?;
            while drip() {
                output.write_all(b"x: y\r\n")?;
            }
            Ok(())
        }
        "drip-body" => {
            output.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
            while drip() {
                output.write_all(b"d")?;
            }
            Ok(())
        }
        "garbage" => output.write_all(b"220 mail.example ESMTP\r\n\r\n"),
        "hang-up" => Ok(()),
        "half" => output.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
        _ => output.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
    }
}
