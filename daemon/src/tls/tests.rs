//! Against rustls's own server, which says what the real ones may say, and a
//! little more.

use super::*;
use rustls::{ServerConfig, ServerConnection, Stream};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Whom `www.example.org` is for as long as this file: nobody trusts it.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBTjCCAQCgAwIBAgIUP5E70zOcpKv8A3Qcvi6lq4dgKh0wBQYDK2VwMAwxCjAI\n\
BgNVBAMMAXQwIBcNMjYxMTI4MTEyOTQ0WhgPMjEyNjExMDQxMTI5NDRaMAwxCjAI\n\
BgNVBAMMAXQwKjAFBgMrZXADIQA9c4nbhBGXQho3rVf1knOJOE28k9xNqFbQFUyJ\n\
x2Jw26NyMHAwHQYDVR0OBBYEFPrmuu0WzHAczvCPwQHp/tjKA2KhMB8GA1UdIwQY\n\
MBaAFPrmuu0WzHAczvCPwQHp/tjKA2KhMCAGA1UdEQQZMBeCD3d3dy5leGFtcGxl\n\
Lm9yZ4cEfwAAATAMBgNVHRMBAf8EAjAAMAUGAytlcANBAOxJdBaf3NJHSj7OMcZK\n\
pXyy7PCMRTMuUMFmiGzD4yRxkHtv+equ0m0lNfE2Mhv+H9PUmY4x9oZpxX5I1p6p\n\
Pwg=\n\
-----END CERTIFICATE-----\n";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIL5lhN8SQKawpTfuPujBxOHpkttwyG8iim23RlxjcPM2\n\
-----END PRIVATE KEY-----\n";

const SOCKET: SocketId = SocketId(0);
const RECORD_BYTES_MAX: usize = 16 << 10;
/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server for one client: it makes the handshake, hears a byte, says these
/// bytes at once, and then waits for the client to have enough.
fn server(answer: fn(&mut ServerConnection) -> Vec<u8>) -> SocketAddr {
    serve(move |mut session, mut stream| {
        let mut both = Stream::new(&mut session, &mut stream);
        both.read_exact(&mut [0]).unwrap();
        stream.write_all(&answer(&mut session)).unwrap();
        let _ = stream.read(&mut [0]);
    })
}

fn serve(client: impl FnOnce(ServerConnection, TcpStream) + Send + 'static) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    // So that the answer is all that comes.
    config.send_tls13_tickets = 0;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        client(ServerConnection::new(Arc::new(config)).unwrap(), stream);
    });
    address
}

/// What a session has to write.
fn written(session: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn trusting() -> OwnedTls {
    OwnedTls {
        name: None,
        ca: None,
        verify: false,
        identity: None,
        alpn: Vec::new(),
    }
}

/// A client that has begun the handshake.
fn begun(target: SocketAddr) -> (Pool, Sessions) {
    let tls = trusting();
    let mut pool = Pool::open(1, 0).unwrap();
    let mut sessions = Sessions::new(1);
    let profile = Profile::load(&tls).unwrap();
    sessions.swap_profiles(&mut vec![(tls.id(), profile)]);
    let _ = pool.connect(SOCKET, target, false);
    sessions.begin(&mut pool, SOCKET, target, tls.id()).unwrap();
    (pool, sessions)
}

/// A client that asks, lets the answer come whole, and reads it to its end;
/// nothing if it does not come to one.
fn ask(target: SocketAddr) -> Option<(Vec<u8>, Came)> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut pool, mut sessions) = begun(target);
        let mut heard = Vec::new();
        let end = loop {
            match sessions.read(&mut pool, SOCKET) {
                Came::Plain(len) => heard.extend_from_slice(sessions.plain(len)),
                Came::Secured => {
                    sessions.say(&mut pool, SOCKET, b"?").unwrap();
                    thread::sleep(Duration::from_millis(100));
                }
                Came::More => {}
                Came::Nothing => {
                    thread::sleep(Duration::from_millis(1));
                    sessions.flush(&mut pool, SOCKET).unwrap();
                }
                end @ (Came::End | Came::Broken(_) | Came::Bad(_)) => break end,
            }
        };
        let _ = tell.send((heard, end));
    });
    told.recv_timeout(PATIENCE).ok()
}

/// A whole record leaves rustls room for a part of what is read next, and after
/// the other side's last word it takes nothing more.
#[test]
fn what_comes_after_the_last_word_holds_nobody_up() {
    let target = server(|session| {
        session
            .writer()
            .write_all(&[b'x'; RECORD_BYTES_MAX])
            .unwrap();
        session.send_close_notify();
        let mut burst = written(session);
        burst.extend([0x17; 4 << 10]);
        burst
    });
    let heard = ask(target).expect("it ends");
    assert_eq!(heard, (vec![b'x'; RECORD_BYTES_MAX], Came::End));
}

/// Records of all sizes, as servers write them that begin with small ones.
#[test]
fn a_long_answer_comes_whole() {
    const PARTS: [usize; 4] = [RECORD_BYTES_MAX, 1_000, 1, 1_300];
    const TIMES: usize = 40;
    let target = server(|session| {
        let mut burst = Vec::new();
        for part in PARTS.repeat(TIMES) {
            session.writer().write_all(&vec![b'x'; part]).unwrap();
            burst.extend(written(session));
        }
        session.send_close_notify();
        burst.extend(written(session));
        burst
    });
    let (heard, end) = ask(target).expect("it ends");
    let len = TIMES * PARTS.iter().sum::<usize>();
    assert_eq!((heard.len(), end), (len, Came::End));
    assert!(heard.iter().all(|byte| *byte == b'x'));
}

/// The other side reads nothing until all buffers are full: what is not with the
/// kernel is not said, and is said once.
#[test]
fn what_the_kernel_has_no_room_for_is_not_said() {
    let (full, is_full) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let target = serve(move |mut session, mut stream| {
        while session.is_handshaking() {
            session.complete_io(&mut stream).unwrap();
        }
        let _ = is_full.recv();
        let mut heard = Vec::new();
        // It ends by a reset.
        let _ = Stream::new(&mut session, &mut stream).read_to_end(&mut heard);
        tell.send(heard).unwrap();
    });
    let (mut pool, mut sessions) = begun(target);
    let deadline = std::time::Instant::now() + PATIENCE;
    while sessions.read(&mut pool, SOCKET) != Came::Secured {
        assert!(std::time::Instant::now() < deadline, "no handshake");
        sessions.flush(&mut pool, SOCKET).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let question = [b'?'; RECORD_BYTES_MAX];
    let mut asked = 0;
    loop {
        match sessions.say(&mut pool, SOCKET, &question).unwrap() {
            0 => break,
            said => assert_eq!(said, question.len()),
        }
        asked += 1;
    }
    assert_eq!(sessions.say(&mut pool, SOCKET, &question), Ok(0));
    full.send(()).unwrap();
    while sessions.say(&mut pool, SOCKET, &question) == Ok(0) {
        assert!(std::time::Instant::now() < deadline, "it is never said");
        thread::sleep(Duration::from_millis(1));
    }
    asked += 1;
    thread::sleep(Duration::from_millis(100));
    drop(pool);
    let heard = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(heard.len(), asked * question.len());
}

#[test]
fn who_differs_by_name_alone_shares_what_was_read() {
    let named = |name: &str, alpn: &str| OwnedTls {
        name: Some(name.to_owned()),
        alpn: vec![alpn.to_owned()],
        ..trusting()
    };
    let gone = OwnedTls {
        ca: Some("/nowhere/at/all".into()),
        verify: true,
        ..trusting()
    };
    let all = [
        named("a.example", "h2"),
        named("b.example", "h2"),
        named("a.example", "http/1.1"),
        gone,
    ];
    let loaded = Profile::load_all(&all.iter().map(|tls| (tls.id(), tls)).collect());
    assert!(loaded.is_sorted_by_key(|(id, _)| *id));
    let of = |tls: &OwnedTls| {
        let found = loaded.iter().find(|(id, _)| *id == tls.id());
        found.map(|(_, profile)| profile)
    };
    let [a, b, other] = [&all[0], &all[1], &all[2]].map(|tls| of(tls).unwrap());
    assert!(Arc::ptr_eq(&a.config, &b.config));
    assert_ne!(a.name, b.name);
    assert!(!Arc::ptr_eq(&a.config, &other.config));
    assert!(of(&all[3]).is_none(), "its file has gone");
}
