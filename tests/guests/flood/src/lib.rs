//! Writes to stdout or stderr without end, deaf to errors.

actum_guest::capability! {
    wit: "wit",
    implement: Flood,
}

use std::io::Write;

use bindings::exports::test::flood::flood::Guest;

const LINE: &[u8; 64] = b"all work and no play makes jack a dull boy all work and no play\n";

struct Flood;

impl Guest for Flood {
    fn flood_stdout() {
        flood(std::io::stdout().lock())
    }

    fn flood_stderr() {
        flood(std::io::stderr().lock())
    }

    fn write(bytes: u64) -> u64 {
        let mut out = std::io::stdout().lock();
        let mut written = 0;
        while written < bytes {
            let wanted = (bytes - written).min(LINE.len() as u64);
            if out.write_all(&LINE[..wanted as usize]).and_then(|()| out.flush()).is_err() {
                break;
            }
            written += wanted;
        }
        written
    }
}

fn flood(mut out: impl Write) {
    loop {
        // Deaf on purpose: a host that only returns an error never stops this guest.
        let _ = out.write_all(LINE);
    }
}
