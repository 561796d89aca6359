//! The control plane over a real Unix socket, with a source that says what the
//! test wants.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;

use sample::sample;
use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trunnion::control::log::RecordsDropped;
use trunnion::control::operate::{Changed, Order, Refusal, Speaker, order};
use trunnion::control::state::BackendState;
use trunnion::control::{
    CATALOGUES, Control, Failover, Form, Listener, NotDone, Records, Running, Silence, Source,
    State, Unavailable, Writer, fail_over, fetch,
};
use trunnion_core::director::plan::OperatorState;
use trunnion_core::record::{Frame, Level};
use trunnion_core::time::Instant;

/// A directory of this test alone, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunnion-control-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Says what it was given, and takes orders for one service.
struct Fixed(Result<State, Unavailable>);

impl Source for Fixed {
    async fn snapshot(&self) -> Result<State, Unavailable> {
        self.0.clone()
    }

    async fn fail_over(&self, order: Failover) -> Result<u16, NotDone> {
        match order.name.as_str() {
            "public" => Ok(if order.hold.is_some() { 2 } else { 1 }),
            "" => Err(NotDone::Refused("not active here")),
            _ => Err(NotDone::NoSuch("there is no such virtual router")),
        }
    }

    async fn operate(
        &self,
        order: Order,
        by: Speaker,
    ) -> Result<Result<Changed, Refusal>, Unavailable> {
        if order.service != "web" {
            return Ok(Err(Refusal(format!("no service {}", order.service))));
        }
        let Speaker { uid, pid } = by;
        Ok(Ok(Changed {
            backends: vec![(order.service, order.backend, OperatorState::Drain)],
            warnings: vec![format!("by {uid} in {pid}")],
        }))
    }
}

/// Never answers, like a loop that hangs.
struct Hung;

impl Source for Hung {
    async fn snapshot(&self) -> Result<State, Unavailable> {
        std::future::pending().await
    }

    async fn fail_over(&self, _: Failover) -> Result<u16, NotDone> {
        std::future::pending().await
    }

    async fn operate(&self, _: Order, _: Speaker) -> Result<Result<Changed, Refusal>, Unavailable> {
        std::future::pending().await
    }
}

/// Where a test's log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn start(path: &Path, source: impl Source) -> Running {
    start_logging(path, source, Vec::new(), Log::default())
}

fn start_logging(
    path: &Path,
    source: impl Source,
    records: Vec<Box<dyn Records>>,
    log: Log,
) -> Running {
    let control = Control {
        listener: Listener::bind(path).unwrap(),
        source,
        records,
        writer: Writer::new(log, Level::Info, Form::Journal, CATALOGUES),
    };
    control.spawn().unwrap()
}

#[test]
fn an_order_goes_there_and_comes_back_with_who_gave_it() {
    let dir = Dir::new();
    let running = start(&dir.socket(), Fixed(Ok(sample())));
    let asked = |service: &str| Order {
        state: OperatorState::Maint,
        service: service.to_owned(),
        backend: "192.0.2.101:80".to_owned(),
    };
    let changed = order(&dir.socket(), &asked("web")).unwrap();
    assert_eq!(
        changed.backends,
        [(
            "web".to_owned(),
            "192.0.2.101:80".to_owned(),
            OperatorState::Drain
        )]
    );
    // The kernel says who we are.
    let owner = fs::metadata(&dir.0).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&owner);
    let pid = std::process::id();
    assert_eq!(changed.warnings, [format!("by {uid} in {pid}")]);
    let refused = order(&dir.socket(), &asked("wep")).unwrap_err();
    assert_eq!(refused.to_string(), "not done: no service wep");
    let nobody = Order {
        backend: String::new(),
        ..asked("")
    };
    let refused = order(&dir.socket(), &nobody).unwrap_err();
    assert_eq!(refused.to_string(), "not done: name a service or a backend");
    running.stop();
}

/// Compares with a file, or rewrites it where `UPDATE_EXPECT` is set.
fn expect_file(path: &str, found: &str) {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&whole, found).unwrap();
    }
    let expected = fs::read_to_string(&whole).unwrap_or_default();
    assert_eq!(expected, found, "{path}: UPDATE_EXPECT=1 rewrites it");
}

fn show(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trunnion"))
        .arg("show")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn what_the_source_says_arrives_and_is_shown() {
    let dir = Dir::new();
    let socket = dir.socket();
    let running = start(&socket, Fixed(Ok(sample())));
    assert_eq!(fetch(&socket).unwrap(), sample());

    let path = socket.to_str().unwrap();
    let (code, out, err) = show(&["--socket", path]);
    assert_eq!((code, err.as_str()), (0, ""));
    expect_file("tests/show/state.txt", &out);
    let (code, out, err) = show(&["--json", "--socket", path]);
    assert_eq!((code, err.as_str()), (0, ""));
    expect_file("tests/show/state.json", &out);

    let config = dir.0.join("node.toml");
    fs::write(
        &config,
        format!("[node]\nrun_dir = \"{}\"\n", dir.0.display()),
    )
    .unwrap();
    let (code, out, _) = show(&["--config", config.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("node lb1: trunnion 0.1.0, up 3d2h"),
        "{out}"
    );
    running.stop();
}

#[test]
fn a_node_that_is_not_there_is_said_so() {
    let dir = Dir::new();
    let socket = dir.socket();
    let (code, out, err) = show(&["--socket", socket.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("start one with `trunnion run`"), "{err}");

    drop(UnixListener::bind(&socket).unwrap());
    let (code, _, err) = show(&["--socket", socket.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(err.contains("the daemon has ended"), "{err}");

    let (code, _, err) = show(&["--socket", "a", "--config", "b"]);
    assert_eq!(code, 2);
    assert!(err.contains("not both"), "{err}");
    let (code, _, err) = show(&["--config", "no/such.toml"]);
    assert_eq!(code, 1);
    assert!(err.contains("cannot be read"), "{err}");
}

#[test]
fn a_source_that_cannot_or_does_not_answer_is_an_error_in_words() {
    let dir = Dir::new();
    let socket = dir.socket();
    let gone = Fixed(Err(Unavailable("the lb loop has ended".to_owned())));
    let running = start(&socket, gone);
    let said = fetch(&socket).unwrap_err().to_string();
    assert_eq!(said, "not done: the lb loop has ended");
    running.stop();

    let running = start(&socket, Hung);
    let said = fetch(&socket).unwrap_err().to_string();
    assert_eq!(said, "not done: the loops did not answer within 2 s");
    running.stop();
}

#[test]
fn a_listener_that_never_speaks_is_not_waited_for_for_ever() {
    let dir = Dir::new();
    let socket = dir.socket();
    let _mute = UnixListener::bind(&socket).unwrap();
    let said = fetch(&socket).unwrap_err().to_string();
    assert_eq!(said, "not done: no answer within 5 s");
}

#[test]
fn the_socket_is_its_owners_and_goes_with_the_daemon() {
    let dir = Dir::new();
    let socket = dir.0.join("made/for/it/control.sock");
    let running = start(&socket, Fixed(Ok(sample())));
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    running.stop();
    assert!(!socket.exists());
    assert!(matches!(fetch(&socket), Err(Silence::Unreached(..))));
}

#[test]
fn a_dead_daemons_socket_is_taken_over_and_a_living_ones_is_not() {
    let dir = Dir::new();
    let socket = dir.socket();
    drop(UnixListener::bind(&socket).unwrap());
    let running = start(&socket, Fixed(Ok(sample())));

    let error = Listener::bind(&socket).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("a daemon answers"), "{error}");
    assert_eq!(fetch(&socket).unwrap(), sample());
    running.stop();

    fs::write(&socket, "precious").unwrap();
    let error = Listener::bind(&socket).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_listener_removes_no_other_daemons_socket() {
    let dir = Dir::new();
    let socket = dir.socket();
    let first = Listener::bind(&socket).unwrap();
    fs::remove_file(&socket).unwrap();
    let second = Listener::bind(&socket).unwrap();
    drop(first);
    assert!(socket.exists());
    drop(second);
    assert!(!socket.exists());
}

#[test]
fn noise_and_silence_on_the_socket_harm_nobody() {
    let dir = Dir::new();
    let socket = dir.socket();
    let running = start(&socket, Fixed(Ok(sample())));
    let mut noisy = UnixStream::connect(&socket).unwrap();
    noisy.write_all(&[0xa5; 4096]).unwrap();
    let _ = noisy.read_to_end(&mut Vec::new());
    let silent: Vec<_> = (0..64)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    assert_eq!(fetch(&socket).unwrap(), sample());
    // Clients that stay do not keep the daemon from ending.
    running.stop();
    drop(silent);
}

#[test]
fn a_large_node_is_told_whole() {
    let dir = Dir::new();
    let socket = dir.socket();
    let mut state = sample();
    let backend = state.services[0].backends[0].clone();
    state.services[0].backends = (0_u32..100_000)
        .map(|number| BackendState {
            weight: number,
            ..backend.clone()
        })
        .collect();
    let running = start(&socket, Fixed(Ok(state.clone())));
    assert!(fetch(&socket).unwrap() == state, "100,000 backends differ");
    running.stop();
}

/// A ring that another thread fills.
struct Ring(Arc<Mutex<VecDeque<Frame>>>);

impl Records for Ring {
    fn thread(&self) -> &'static str {
        "lb"
    }
    fn poll_record(&mut self) -> Option<Frame> {
        self.0.lock().unwrap().pop_front()
    }
    fn dropped(&self) -> u64 {
        0
    }
}

#[test]
fn the_log_is_written_while_it_runs_and_to_its_last_word() {
    let dir = Dir::new();
    let (log, ring) = (Log::default(), Arc::new(Mutex::new(VecDeque::new())));
    let records: Vec<Box<dyn Records>> = vec![Box::new(Ring(ring.clone()))];
    let running = start_logging(&dir.socket(), Fixed(Ok(sample())), records, log.clone());
    let say = |records| {
        let record = RecordsDropped {
            thread: "x",
            records,
        };
        ring.lock()
            .unwrap()
            .push_back(Frame::of(Instant::ZERO, &record));
    };
    say(1);
    while log.text().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    say(2);
    running.stop();
    let line = |n| {
        format!(
            "<4>warn RecordsDropped: x: {n} log records lost, the reader of the log is too slow\n"
        )
    };
    assert_eq!(log.text(), line(1) + &line(2));
}

#[test]
fn a_failover_arrives_and_a_refusal_says_why() {
    let dir = Dir::new();
    let running = start(&dir.socket(), Fixed(Ok(State::default())));
    let minute = Some(Duration::from_secs(60));
    let told = |name: &str, hold| {
        let name = name.to_owned();
        let told = fail_over(&dir.socket(), &Failover { name, hold });
        told.map_err(|why| why.to_string())
    };
    assert_eq!(told("public", minute), Ok(2));
    assert_eq!(told("public", None), Ok(1));
    assert_eq!(told("", minute).unwrap_err(), "not done: not active here");
    assert!(
        told("publik", None)
            .unwrap_err()
            .contains("no such virtual router")
    );
    running.stop();
}
