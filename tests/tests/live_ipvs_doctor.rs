//! `trunnion doctor` on a real kernel: each lack is made, is found, and is gone
//! once the line that the doctor gave was typed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use trunnion_tests::daemon::run;

/// A directory with a config, and the program to ask.
struct Patient {
    directory: PathBuf,
    program: PathBuf,
    /// What stands before the program.
    prefix: Vec<&'static str>,
}

impl Patient {
    fn new(name: &str, config: &str) -> Self {
        let directory = format!("trunnion-doctor-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        fs::create_dir_all(&directory).unwrap();
        let head = format!(
            "[node]\nname = \"n\"\nrun_dir = {:?}\n",
            directory.join("run")
        );
        fs::write(directory.join("node.toml"), head + config).unwrap();
        let program = std::env::var_os("TRUNNION_BIN").expect("TRUNNION_BIN: cargo xtask test");
        Self {
            directory,
            program: program.into(),
            prefix: Vec::new(),
        }
    }

    /// What is found, and the exit status.
    fn findings(&self) -> (Vec<Value>, i32) {
        let mut words = self
            .prefix
            .iter()
            .map(Path::new)
            .chain([self.program.as_path()]);
        let output = Command::new(words.next().unwrap())
            .args(words)
            .args(["doctor", "--json", "--config"])
            .arg(self.directory.join("node.toml"))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let found: Value = serde_json::from_slice(&output.stdout).expect(&stderr);
        let findings = found["findings"].as_array().unwrap().clone();
        (findings, output.status.code().unwrap())
    }

    /// What is not as it should be: `LEVEL ABOUT`.
    fn lacks(&self) -> Vec<String> {
        let (findings, code) = self.findings();
        let bad = findings.iter().filter(|f| f["level"] != "ok");
        let bad: Vec<String> = bad
            .map(|f| {
                format!(
                    "{} {}: {}",
                    word(&f["level"]),
                    word(&f["about"]),
                    word(&f["text"])
                )
            })
            .collect();
        let problem = bad.iter().any(|lack| lack.starts_with("problem "));
        assert_eq!(code, i32::from(problem), "{bad:#?}");
        bad
    }

    /// Finds exactly these, types their lines, and finds nothing more.
    fn is_mended_of(&self, expected: &[&str]) {
        let lacks = self.lacks();
        assert_eq!(lacks.len(), expected.len(), "{lacks:#?}");
        for (lack, start) in lacks.iter().zip(expected) {
            assert!(lack.starts_with(start), "{start}: {lacks:#?}");
        }
        let (findings, _) = self.findings();
        for finding in findings.iter().filter(|f| f["level"] != "ok") {
            for line in finding["mend"].as_array().unwrap() {
                let typed = Command::new("sh")
                    .args(["-c", word(line)])
                    .output()
                    .unwrap();
                let stderr = String::from_utf8_lossy(&typed.stderr);
                assert!(typed.status.success(), "{line}: {stderr}");
            }
        }
        assert_eq!(self.lacks(), Vec::<String>::new());
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn path(parameter: &str) -> PathBuf {
    Path::new("/proc/sys").join(parameter.replace('.', "/"))
}

fn set(parameter: &str, value: &str) {
    fs::write(path(parameter), format!("{value}\n")).unwrap();
}

/// Parameters as they were before the test, whatever becomes of it.
struct Restored(Vec<(&'static str, String)>);

impl Restored {
    fn of(names: &[&'static str]) -> Self {
        Self(names.iter().map(|name| (*name, get(name))).collect())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        for (name, value) in &self.0 {
            let _ = fs::write(path(name), format!("{value}\n"));
        }
    }
}

fn get(parameter: &str) -> String {
    let text = fs::read_to_string(path(parameter)).unwrap();
    text.trim().to_owned()
}

/// An interface in the VM's first namespace, whose parameters are all seen.
fn link() {
    // An earlier test may have failed.
    let _ = Command::new("ip").args(["link", "delete", "doc0"]).output();
    run("ip link add doc0 type veth peer name doc1");
    run("ip link set doc1 up");
    run("ip link set doc0 up");
    run("ip address add 10.67.0.1/24 dev doc0");
}

const CONFIG: &str = r#"
[ipvs.sysctl]
expire_nodest_conn = true
[[vrrp]]
interface = "doc0"
vrid = 51
addresses = ["10.67.0.10/24"]
[[service]]
address = "10.67.0.10:80"
scheduler = "sh"
backends = ["10.67.0.21", "10.67.0.22", "10.67.0.23"]
[[service]]
address = "10.67.0.10:443"
scheduler = "mh"
forward = "masq"
backends = ["10.67.0.21"]
"#;

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn parameters_and_links_are_mended_by_their_lines() {
    link();
    run("ipvsadm -Ln");
    let patient = Patient::new("parameters", CONFIG);
    let _before = Restored::of(&[
        "net.ipv4.ip_forward",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.neigh.default.gc_thresh2",
        "net.ipv4.neigh.default.gc_thresh3",
        "net.ipv4.vs.conn_reuse_mode",
        "net.ipv4.vs.expire_nodest_conn",
    ]);
    for (name, value) in [
        ("net.ipv4.ip_forward", "0"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.doc0.rp_filter", "1"),
        ("net.ipv4.conf.doc0.arp_ignore", "8"),
        ("net.ipv4.neigh.default.gc_thresh3", "2"),
        ("net.ipv4.vs.conn_reuse_mode", "1"),
        ("net.ipv4.vs.expire_nodest_conn", "0"),
    ] {
        set(name, value);
    }
    run("ip link set doc0 down");
    patient.is_mended_of(&[
        "warning parameters: net.ipv4.vs.expire_nodest_conn is 0",
        "problem interfaces: doc0 is down",
        "problem forwarding: net.ipv4.ip_forward is 0",
        "warning reverse path: doc0",
        "problem arp: doc0",
        "warning port reuse: net.ipv4.vs.conn_reuse_mode is 1",
        "problem neighbours: net.ipv4.neigh.default.gc_thresh3 is 2, and 3 backends",
    ]);
    assert_eq!(get("net.ipv4.vs.conn_reuse_mode"), "3");

    // A name that is not there.
    run("ip link delete doc0");
    let lacks = patient.lacks();
    assert!(
        lacks[0].starts_with("problem interfaces: there is no doc0"),
        "{lacks:#?}"
    );
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn modules_that_nobody_loads_are_mended_by_modprobe() {
    let modules = fs::read_to_string("/proc/modules").unwrap();
    let loaded = modules.lines().filter_map(|line| line.split(' ').next());
    let mut loaded: Vec<&str> = loaded.filter(|name| name.starts_with("ip_vs")).collect();
    // ip_vs itself goes last.
    loaded.sort_by_key(|name| std::cmp::Reverse(name.len()));
    if !loaded.is_empty() {
        run("ipvsadm -C");
        run(&format!("rmmod {}", loaded.join(" ")));
    }
    let _before = Restored::of(&["kernel.modprobe", "net.ipv4.ip_forward"]);
    set("kernel.modprobe", "");
    set("net.ipv4.ip_forward", "1");
    let service = "[[service]]\naddress = \"10.67.0.10:80\"\nscheduler = \"lblcr\"\nforward = \"masq\"\nbackends = [\"10.67.0.21\"]\n";
    // The VM's modules lie elsewhere than modules do.
    let patient = Patient::new("modules", service);
    patient.is_mended_of(&[
        "problem ipvs: ip_vs is not loaded; kernel.modprobe is empty",
        "warning modules: ip_vs_lblcr is not loaded; kernel.modprobe is empty",
    ]);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn rights_that_are_missing_are_given_to_the_program() {
    link();
    run("ipvsadm -Ln");
    let _before = Restored::of(&[
        "net.ipv4.vs.conn_reuse_mode",
        "net.core.rmem_max",
        "net.core.wmem_max",
    ]);
    set("net.ipv4.vs.conn_reuse_mode", "3");
    let config = CONFIG.replace("expire_nodest_conn = true", "");
    let config = config
        .split("[[service]]\naddress = \"10.67.0.10:443\"")
        .next()
        .unwrap();
    let mut patient = Patient::new("rights", config);
    // Capabilities of a file need a file system that keeps them.
    let program = patient.directory.join("trunnion");
    fs::copy(&patient.program, &program).unwrap();
    patient.program = program;
    run(&format!("chmod 755 {}", patient.directory.display()));
    patient.prefix = vec![
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    set("net.core.rmem_max", "212992");
    set("net.core.wmem_max", "212992");
    patient.is_mended_of(&[
        "problem ipvs: the kernel does not answer",
        "problem capabilities: CAP_NET_ADMIN",
        "problem capabilities: CAP_NET_RAW",
        "warning capabilities: CAP_SYS_NICE",
        "warning capabilities: CAP_IPC_LOCK",
        "problem run_dir:",
        "warning buffers: net.core.rmem_max",
        "warning buffers: net.core.wmem_max",
    ]);
    run("ip link delete doc0");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn rows_of_others_are_told_by_whose_they_are() {
    let config = "[[service]]\naddress = \"10.67.0.10:80\"\nbackends = [\"10.67.0.21\"]\n[ipvs.sysctl]\nconn_reuse_mode = 3\n";
    run("ipvsadm -A -t 10.67.0.99:99 -s rr");
    let _before = Restored::of(&["net.ipv4.vs.conn_reuse_mode"]);
    set("net.ipv4.vs.conn_reuse_mode", "3");
    let lacks = Patient::new("all", config).lacks();
    assert_eq!(lacks.len(), 1, "{lacks:#?}");
    assert!(lacks[0].starts_with("warning table: services that the config does not name, and that a start removes: TCP 10.67.0.99:99;"), "{lacks:#?}");
    let declared = Patient::new("declared", &format!("[ipvs]\nown = \"declared\"\n{config}"));
    let (findings, code) = declared.findings();
    let table = findings.iter().find(|f| f["about"] == "table").unwrap();
    assert_eq!((code, word(&table["level"])), (0, "ok"));
    assert!(
        word(&table["text"]).ends_with("left alone: TCP 10.67.0.99:99"),
        "{table}"
    );
    run("ipvsadm -D -t 10.67.0.99:99");
}
