//! Backends that are each asked in their own way, and what the daemon says of
//! them: for tests of checks against real servers.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use crate::daemon::Daemon;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program that serves until it is dropped, in the calling thread's namespace.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts it.
    pub fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        let quiet = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = quiet.stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// unbound on port 53 of both loopback addresses, with a zone `example.`: `www` is
/// one address, `long` has forty.
#[must_use]
pub fn unbound(directory: &Path) -> Server {
    let mut zone: Vec<String> = (1..=40)
        .map(|n| format!("long.example. A 192.0.2.{n}"))
        .collect();
    let others = [
        "www.example. A 192.0.2.1",
        "www.example. TXT ready",
        "alias.example. CNAME www.example.",
        "example. MX 10 mail.example.",
    ];
    zone.extend(others.map(str::to_owned));
    unbound_of(directory, &zone)
}

/// The same with these records in the zone.
#[must_use]
pub fn unbound_of(directory: &Path, zone: &[String]) -> Server {
    let each = zone.iter();
    let zone: String = each
        .map(|record| format!("  local-data: \"{record}\"\n"))
        .collect();
    let config = format!(
        r#"server:
  interface: 127.0.0.1
  interface: ::1
  access-control: 127.0.0.0/8 allow
  access-control: ::1/128 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  module-config: "iterator"
  local-zone: "example." static
{zone}remote-control:
  control-enable: no
"#,
        directory.display()
    );
    let path = directory.join("unbound.conf");
    fs::write(&path, config).unwrap();
    Server::start("unbound", &["-d", "-c", path.to_str().unwrap()])
}

/// freeradius on 127.0.0.1, port 1812, with the secret `testing123`, a user
/// `health` with the password `hello`, and a user `more` who is challenged.
#[must_use]
pub fn freeradius(directory: &Path) -> Server {
    let config = format!(
        r#"prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {0}
run_dir = {0}
db_dir = {0}
logdir = {0}
pidfile = {0}/pid
security {{
  reject_delay = 0
  status_server = yes
}}
thread pool {{
  start_servers = 1
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 1
}}
client local {{
  ipaddr = 127.0.0.0/8
  secret = testing123
  require_message_authenticator = yes
}}
modules {{
  pap {{
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = 1812
  }}
  authorize {{
    if (&User-Name == "health") {{
      update control {{
        Cleartext-Password := "hello"
      }}
      pap
    }}
    if (&User-Name == "more") {{
      update reply {{
        State := 0x01
      }}
      update control {{
        Response-Packet-Type := Access-Challenge
        Auth-Type := Accept
      }}
    }}
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
  }}
}}
"#,
        directory.display()
    );
    fs::write(directory.join("radiusd.conf"), config).unwrap();
    let words = "$INCLUDE /usr/share/freeradius/dictionary\n";
    fs::write(directory.join("dictionary"), words).unwrap();
    let directory = directory.to_str().unwrap();
    Server::start("freeradius", &["-f", "-l", "stdout", "-d", directory])
}

/// A service whose backend `n` is `127.1.0.n:80` with the check that the table's
/// row `n` has, a service's `check` under it.
#[must_use]
pub fn service(service_check: &str, checks: &[&str]) -> String {
    let mut config = format!(
        "[[service]]\nname = \"asked\"\naddress = \"10.66.0.10:80\"\nforward = \"masq\"\nmin_healthy = 0\ncheck = {{ {service_check} }}\n"
    );
    for (n, check) in checks.iter().enumerate() {
        let _ = write!(
            config,
            "[[service.backend]]\naddress = \"127.1.0.{}:80\"\ncheck = {{ {check} }}\n",
            n + 1
        );
    }
    config
}

/// What is shown of backend `n`, from 0 on.
#[must_use]
pub fn backend(state: &Value, n: usize) -> Value {
    let address = format!("127.1.0.{}", n + 1);
    let backends = state["services"][0]["backends"].as_array().unwrap();
    let found = backends.iter().find(|b| b["address"] == address.as_str());
    found.unwrap().clone()
}

/// Waits until every check has last found what its row says.
pub fn until_found(daemon: &mut Daemon, found: &[&str]) {
    daemon.says("Started: ");
    let told = |state: &Value| -> Vec<String> {
        let last = |n| {
            backend(state, n)["check"]["last"]
                .as_str()
                .unwrap_or("")
                .to_owned()
        };
        (0..found.len()).map(last).collect()
    };
    let mut last = Vec::new();
    let mut rounds = 0;
    daemon.until(&format!("{found:#?}"), |daemon| {
        last = told(&daemon.show());
        rounds += 1;
        assert!(rounds < 1_000, "it says {last:#?}");
        if rounds % 100 == 0 {
            eprintln!("so far: {last:#?}");
        }
        last == found
    });
}

/// Writes a script that may be executed.
pub fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
