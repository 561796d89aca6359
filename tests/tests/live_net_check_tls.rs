//! Checks over TLS, by a real daemon against openssl's server, nginx and hostile
//! ones, in a network namespace.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::hostile::{Manner, serve};
use trunnion_tests::pki::{Authority, Identity};

/// A server that is ended at the end.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx has a worker that must hear of it.
        run(&format!("kill -TERM {}", self.child.id()));
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something listens.
fn started(child: Child, port: u16) -> Server {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Server { child, address }
}

/// `openssl s_server -www`: a page over HTTP/1.0.
fn s_server(identity: &Identity, more: &[&str]) -> Server {
    let port = free_port();
    let child = Command::new("openssl")
        .args(["s_server", "-www", "-quiet", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-cert")
        .arg(&identity.certificate)
        .arg("-key")
        .arg(&identity.key)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed: cargo xtask setup");
    started(child, port)
}

fn nginx(directory: &Path, identity: &Identity) -> Server {
    let port = free_port();
    let config = format!(
        "daemon off; pid {0}/pid; error_log {0}/error.log; worker_processes 1; events {{}}\n\
         http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0};\n\
         fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};\n\
         server {{ listen 127.0.0.1:{port} ssl http2; server_name www.example.org;\n\
         ssl_certificate {1}; ssl_certificate_key {2};\n\
         location = /health {{ return 200 \"all ready\\n\"; }}\n\
         location / {{ return 503; }} }} }}\n",
        directory.display(),
        identity.certificate.display(),
        identity.key.display()
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx is installed: cargo xtask setup");
    started(child, port)
}

/// All certificates here are good for two days, or were once.
fn expiry(daemon: &mut Daemon, checks: &[serde_json::Value]) {
    let left = |check: &serde_json::Value| check["certificate"]["expires_in_s"].as_u64();
    let two_days = 2 * 86_400 - 600..=2 * 86_400_u64;
    assert!(
        two_days.contains(&left(&checks[0]).unwrap()),
        "{}",
        checks[0]
    );
    assert_eq!(checks[0]["certificate"]["soon"], true);
    // One that does not shake hands shows none; nor does one that is not trusted.
    for check in checks.iter().filter(|check| {
        let last = check["last"].as_str().unwrap();
        last.starts_with("certificate ") || last.contains("handshake") || last == "not a tls answer"
    }) {
        assert_eq!(check["certificate"], serde_json::Value::Null, "{check}");
    }
    daemon.says(" days: renew it");
    // Nobody verifies it.
    daemon.says("its certificate expires in 0 days: renew it");
    let counters = daemon.show()["counters"].clone();
    let mut counters = counters.as_array().unwrap().iter();
    let expiring = counters.find(|c| c["name"] == "check_certificates_expiring");
    let soon = checks.iter().filter(|c| c["certificate"]["soon"] == true);
    assert_eq!(expiring.unwrap()["value"], soon.count());
}

/// A certificate is renewed under a server that goes on: it is said once that it
/// expires, and once that it does not.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_renewed_certificate_ends_the_warning() {
    unshare_network().expect("a network namespace: run as root");
    run("ip link set lo up");
    let authority = Authority::new();
    let short = authority.issue("www.example.org", None);
    let long = authority.issue(
        "www.example.org",
        Some(("20200101000000Z", "20400102000000Z")),
    );
    let server = s_server(&short, &[]);
    let address = server.address;
    let config = format!(
        "[[service]]\nname = \"s\"\naddress = \"192.0.2.1:443\"\nforward = \"masq\"\n\
         check = {{ type = \"http\", interval = \"200ms\", timeout = \"150ms\", fall = 255,\n\
         tls = {{ name = \"www.example.org\", ca = {:?}, expiry_warning = \"3d\" }} }}\n\
         backends = [\"{address}\"]\n",
        authority.certificate()
    );
    let mut daemon = Daemon::start(&config);
    daemon.says(" days: renew it");
    std::thread::sleep(Duration::from_secs(1));
    drop(server);
    let again = Command::new("openssl")
        .args(["s_server", "-www", "-quiet", "-accept"])
        .arg(address.to_string())
        .arg("-cert")
        .arg(&long.certificate)
        .arg("-key")
        .arg(&long.key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = started(again, address.port());
    daemon.says("its certificate is good for ");
    let check = daemon.show()["services"][0]["backends"][0]["check"].clone();
    assert_eq!(check["certificate"]["soon"], false);
    assert_eq!(daemon.log().matches("renew it").count(), 1);
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn each_way_for_tls_to_be_wrong_has_its_own_reason() {
    unshare_network().expect("a network namespace: run as root");
    run("ip link set lo up");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let right = authority.issue("www.example.org", None);
    let by_address = authority.issue("127.0.0.1", None);
    let expired = authority.issue(
        "www.example.org",
        Some(("20200101000000Z", "20200102000000Z")),
    );
    let early = authority.issue(
        "www.example.org",
        Some(("20400101000000Z", "20400102000000Z")),
    );
    let client = authority.issue("client", None);
    let ca = authority.certificate().display().to_string();
    let other_ca = stranger.certificate().display().to_string();
    let page = s_server(&right, &[]);
    let numbered = s_server(&by_address, &[]);
    let old = s_server(&expired, &[]);
    let young = s_server(&early, &[]);
    let asks = s_server(
        &right,
        &["-Verify", "1", "-verify_return_error", "-CAfile", &ca],
    );
    let ancient = s_server(&right, &["-tls1_2", "-cipher", "AES128-SHA"]);
    let directory = std::env::temp_dir().join(format!("trunnion-nginx-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let nginx = nginx(&directory, &right);
    let with = |what: &str, ca: &str, more: &str| {
        format!("{what}, tls = {{ name = \"www.example.org\", ca = \"{ca}\"{more} }}")
    };
    let plain = "type = \"http\"";
    let own = format!(
        ", certificate = \"{}\", key = \"{}\"",
        client.certificate.display(),
        client.key.display()
    );
    let trusting = with(plain, &ca, "");
    let cases = [
        (trusting.clone(), page.address, "ok"),
        (
            with(
                "type = \"http\", path = \"/health\", expect = \"ready\"",
                &ca,
                "",
            ),
            nginx.address,
            "ok",
        ),
        (
            trusting.clone(),
            nginx.address,
            "http status is not expected",
        ),
        (with("type = \"tcp\"", &ca, ""), page.address, "ok"),
        (
            with(
                "type = \"tcp\", send = 'GET / HTTP/1.0\\r\\n\\r\\n', expect = { starts_with = 'HTTP/1.0 200' }",
                &ca,
                "",
            ),
            page.address,
            "ok",
        ),
        (
            format!("{plain}, tls = {{ ca = \"{ca}\" }}"),
            numbered.address,
            "ok",
        ),
        (
            format!("{plain}, host = \"www.example.org:443\", tls = {{ ca = \"{ca}\" }}"),
            page.address,
            "ok",
        ),
        (
            format!("{plain}, tls = {{ ca = \"{ca}\" }}"),
            page.address,
            "certificate for another name",
        ),
        (trusting.clone(), old.address, "certificate expired"),
        (trusting.clone(), young.address, "certificate not valid yet"),
        (
            with(plain, &other_ca, ""),
            page.address,
            "certificate of an unknown authority",
        ),
        (
            format!("{plain}, tls = true"),
            page.address,
            "certificate of an unknown authority",
        ),
        (
            format!("{plain}, tls = {{ verify = false }}"),
            old.address,
            "ok",
        ),
        (trusting.clone(), asks.address, "tls refused by the target"),
        (with(plain, &ca, &own), asks.address, "ok"),
        (
            trusting.clone(),
            ancient.address,
            "tls refused by the target",
        ),
        (
            trusting.clone(),
            serve(Manner::Hangs),
            "no tls handshake in time",
        ),
        (
            trusting.clone(),
            serve(Manner::Says(b"HTTP/1.1 400 Bad\r\n\r\n")),
            "not a tls answer",
        ),
        (
            trusting.clone(),
            serve(Manner::ResetsAsked),
            "reset in the tls handshake",
        ),
        (
            trusting.clone(),
            serve(Manner::Closes),
            "closed in the tls handshake",
        ),
        (
            trusting.clone(),
            serve(Manner::Floods(b"\x16\x03\x03\x40\x00", b"\x00")),
            "not a tls answer",
        ),
        (
            "type = \"grpc\", tls = { verify = false }".to_owned(),
            nginx.address,
            "http status is not expected",
        ),
    ];
    let mut config = String::from("[limits]\ntls = 8\n");
    for (at, (check, target, _)) in cases.iter().enumerate() {
        write!(
            config,
            "[[service]]\nname = \"s{at}\"\naddress = \"192.0.2.1:{}\"\nforward = \"masq\"\n\
             check = {{ {check}, interval = \"500ms\", timeout = \"400ms\", rise = 1, fall = 2 }}\n\
             backends = [\"{target}\"]\n",
            1000 + at
        )
        .unwrap();
    }
    let mut daemon = Daemon::start(&config);
    daemon.says("started with");
    let checks = |daemon: &Daemon| {
        let state = daemon.show();
        let services = state["services"].as_array().unwrap().clone();
        let named = |at: usize| {
            let name = format!("s{at}");
            let service = services.iter().find(|service| service["name"] == name);
            service.unwrap()["backends"][0]["check"].clone()
        };
        (0..services.len()).map(named).collect::<Vec<_>>()
    };
    daemon.until("a verdict on each", |daemon| {
        checks(daemon)
            .iter()
            .all(|check| check["health"] == "up" || check["health"] == "down")
    });
    let mut wrong = String::new();
    for (check, (declared, _, expect)) in checks(&daemon).iter().zip(&cases) {
        if check["last"] != *expect {
            writeln!(wrong, "{declared}: {expect}, but {check}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let found = checks(&daemon);
    expiry(&mut daemon, &found);
    // What TLS takes is counted, and apart: `stop` looks at the loop's own.
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let taken = counters.iter().find(|c| c["name"] == "tls_allocations");
    assert!(taken.unwrap()["value"].as_u64().unwrap() > 0);
    daemon.stop();
    let _ = std::fs::remove_dir_all(&directory);
}
