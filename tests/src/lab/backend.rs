//! A backend: a small HTTP/1.1 server that answers with its name, and on
//! `/slow?bytes=N&rate=R` with a long download at R bytes a second.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Threads that accept; a request in progress holds one.
const WORKERS: usize = 16;
/// How long a client may keep us waiting for its request.
const PATIENCE: Duration = Duration::from_secs(2);
const REQUEST_BYTES_MAX: usize = 4096;
/// Time between two pieces of a slow download.
const PIECE: Duration = Duration::from_millis(50);

/// Byte `at` of a slow download, so that the client can tell that none is
/// missing.
#[must_use]
pub fn byte_at(at: u64) -> u8 {
    u8::try_from(at % 251).expect("a remainder below 251")
}

/// Serves IPv4 and IPv6 on `port` until the process ends.
///
/// # Errors
/// The port cannot be listened on.
pub fn serve(name: &str, port: u16) -> std::io::Result<()> {
    serve_on(name, &TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?)
}

fn serve_on(name: &str, listener: &TcpListener) -> std::io::Result<()> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| accept(name, listener)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

fn accept(name: &str, listener: &TcpListener) -> std::io::Result<()> {
    loop {
        // A client that left before its turn is no reason to stop.
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        // Nor is one that leaves in the middle: health checks do.
        let _ = answer(name, stream);
    }
}

fn answer(name: &str, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer)?;
        request.extend(&buffer[..length]);
        if length == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let mut words = request.split_whitespace();
    let (method, path) = (words.next(), words.next().unwrap_or("/"));
    if method != Some("GET") {
        return head(&mut stream, name, "405 Method Not Allowed", 0);
    }
    match slow(path) {
        Slow::No => {
            let body = format!("{name}\n");
            let length = u64::try_from(body.len()).expect("a short body");
            let mut whole = head_text(name, "200 OK", length);
            whole.push_str(&body);
            stream.write_all(whole.as_bytes())
        }
        Slow::Yes { bytes, rate } => {
            stream.set_nodelay(true)?;
            head(&mut stream, name, "200 OK", bytes)?;
            trickle(&mut stream, bytes, rate)
        }
        Slow::Wrong => head(&mut stream, name, "400 Bad Request", 0),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Slow {
    No,
    Yes { bytes: u64, rate: u64 },
    Wrong,
}

fn slow(path: &str) -> Slow {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if path != "/slow" {
        return Slow::No;
    }
    let (mut bytes, mut rate) = (1 << 20, 1 << 18);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').map(|(k, v)| (k, v.parse())) {
            Some(("bytes", Ok(value))) => bytes = value,
            Some(("rate", Ok(value))) if value > 0 => rate = value,
            _ => return Slow::Wrong,
        }
    }
    Slow::Yes { bytes, rate }
}

fn head_text(name: &str, status: &str, length: u64) -> String {
    format!(
        "HTTP/1.1 {status}\r\nServer: {name}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

fn head(stream: &mut TcpStream, name: &str, status: &str, length: u64) -> std::io::Result<()> {
    stream.write_all(head_text(name, status, length).as_bytes())
}

/// Sends `bytes` bytes at `rate` a second. Behind time it sends more at once,
/// so that a stall on the way costs the download no length.
fn trickle(stream: &mut TcpStream, bytes: u64, rate: u64) -> std::io::Result<()> {
    let start = Instant::now();
    let mut sent = 0;
    while sent < bytes {
        let elapsed = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let due = (elapsed.saturating_mul(rate) / 1_000_000).min(bytes);
        if due > sent {
            let end = due.min(sent + 65_536);
            let piece: Vec<u8> = (sent..end).map(byte_at).collect();
            stream.write_all(&piece)?;
            sent = end;
        } else {
            std::thread::sleep(PIECE);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// A backend on a free port of loopback, for as long as the tests run.
    pub fn on_loopback(name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve_on(name, &listener));
        address
    }

    #[test]
    fn queries_are_read_or_refused() {
        assert_eq!(slow("/"), Slow::No);
        assert_eq!(
            slow("/slow?bytes=5&rate=2"),
            Slow::Yes { bytes: 5, rate: 2 }
        );
        assert_eq!(
            slow("/slow"),
            Slow::Yes {
                bytes: 1 << 20,
                rate: 1 << 18
            }
        );
        for wrong in ["/slow?rate=0", "/slow?bytes=-1", "/slow?bites=1", "/slow?x"] {
            assert_eq!(slow(wrong), Slow::Wrong, "{wrong}");
        }
    }

    #[test]
    fn other_methods_are_refused() {
        let mut stream = TcpStream::connect(on_loopback("b9")).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 405 "), "{reply}");
        assert!(reply.contains("\r\nServer: b9\r\n"), "{reply}");
    }
}
