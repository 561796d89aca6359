//! Hosts made of files, each sound but for one thing.

use super::capabilities::{NET_ADMIN, SYS_RESOURCE};
use super::examine;
use super::finding::{Finding, Level};
use super::host::{Host, Nic, Table};
use crate::config::Config;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use trunnion_core::model::{Protocol, ServiceKey};
use trunnion_sys::sysctl::Tree;

const CONFIG: &str = r#"
[limits]
checks_in_flight = 512
[ipvs.sysctl]
sync_threshold = [3, 50]
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["192.0.2.10/24"]
[[service]]
address = "192.0.2.10:80"
scheduler = "wrr"
backends = ["192.0.2.101", "10.0.0.2"]
[[service]]
address = "192.0.2.10:443"
scheduler = "mh"
forward = "masq"
backends = ["192.0.2.101"]
[[service]]
address = "192.0.2.11:5060"
protocol = "udp"
scheduler = "rr"
engine = "sip"
persistence = "60s"
forward = "tunnel"
tunnel = { type = "gue", port = 6080 }
backends = ["192.0.2.103"]
"#;

/// All that a host of [`CONFIG`] needs.
const FILES: &[(&str, &str)] = &[
    (
        "proc/self/status",
        "Name:\ttrunnion\nUid:\t7\t7\t7\t7\nCapEff:\t000001ffffffffff\n",
    ),
    ("proc/self/uid_map", "         0          0 4294967295\n"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max open files            1024                 524288               files\n\
         Max locked memory         8388608              8388608              bytes\n\
         Max realtime priority     0                    0\n",
    ),
    ("proc/sys/kernel/osrelease", "6.12.0\n"),
    ("proc/sys/kernel/modprobe", "/sbin/modprobe\n"),
    ("proc/sys/kernel/modules_disabled", "0\n"),
    ("proc/sys/kernel/sched_rt_runtime_us", "950000\n"),
    ("proc/sys/fs/nr_open", "1048576\n"),
    ("proc/sys/net/core/rmem_max", "212992\n"),
    ("proc/sys/net/core/wmem_max", "212992\n"),
    ("proc/sys/net/ipv4/ip_forward", "1\n"),
    ("proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
    ("proc/sys/net/ipv4/conf/eth0/rp_filter", "2\n"),
    ("proc/sys/net/ipv4/conf/all/arp_ignore", "0\n"),
    ("proc/sys/net/ipv4/conf/eth0/arp_ignore", "0\n"),
    ("proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024\n"),
    ("proc/sys/net/ipv4/vs/conn_reuse_mode", "3\n"),
    ("proc/sys/net/ipv4/vs/sync_threshold", "3\t50\n"),
    (
        "lib/modules/6.12.0/modules.builtin",
        "kernel/net/netfilter/ipvs/ip_vs_rr.ko\n",
    ),
    (
        "lib/modules/6.12.0/modules.dep",
        "kernel/net/netfilter/ipvs/ip_vs.ko.xz:\n\
         kernel/net/netfilter/ipvs/ip_vs_wrr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n\
         kernel/net/netfilter/ipvs/ip_vs_mh.ko.xz:\n\
         kernel/net/netfilter/ipvs/ip_vs_pe_sip.ko.xz:\n",
    ),
];

struct Fake {
    host: Host,
}

impl Fake {
    fn sound() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunnion-doctor-{}-{number}", std::process::id());
        let root: PathBuf = std::env::temp_dir().join(name);
        let nic = |name: &str, address: &str, prefix| Nic {
            name: name.to_owned(),
            up: true,
            addresses: vec![(address.parse().unwrap(), prefix)],
        };
        let fake = Self {
            host: Host {
                sysctl: Tree::at(root.join("proc/sys")),
                root,
                ipvs: Table::Holds(Vec::new()),
                links: Some(vec![
                    nic("lo", "127.0.0.1", 8),
                    nic("eth0", "192.0.2.2", 24),
                ]),
            },
        };
        for (path, text) in FILES {
            fake.put(path, text);
        }
        fake
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.host.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.host.root.join(path)).unwrap();
    }

    fn parameter(&self, name: &str, value: &str) {
        self.host.sysctl.write(name, value).unwrap();
    }

    fn nic(&mut self, name: &str) -> &mut Nic {
        let mut links = self.host.links.iter_mut().flatten();
        links.find(|nic| nic.name == name).unwrap()
    }

    /// What is not as it should be.
    fn lacks(&self, config: &str) -> Vec<Finding> {
        let config = Config::parse(config, "t").unwrap_or_else(|errors| panic!("{errors}"));
        let mut findings = examine(&self.host, &config);
        findings.retain(|finding| finding.level != Level::Ok);
        findings
    }

    /// The one thing that is not, in one line.
    fn lack(&self, config: &str) -> String {
        let lacks = self.lacks(config);
        let [one] = lacks.as_slice() else {
            panic!("not one lack: {lacks:#?}")
        };
        one.to_string()
    }

    /// A lack that its own line mends: `sysctl -w` is obeyed.
    fn is_mended(&self, about: &str) {
        let shown = self.lack(CONFIG);
        assert!(shown.starts_with(about), "{about}: {shown}");
        for finding in self.lacks(CONFIG) {
            for line in &finding.mend {
                let settings = line.strip_prefix("sysctl -w ").expect(line);
                for setting in settings.split(' ') {
                    let (name, value) = setting.split_once('=').unwrap();
                    self.parameter(name, value);
                }
            }
        }
        assert_eq!(self.lacks(CONFIG), []);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.host.root);
    }
}

#[test]
fn a_sound_host_lacks_nothing_and_every_check_speaks() {
    let fake = Fake::sound();
    assert_eq!(fake.lacks(CONFIG), []);
    assert_eq!(fake.lacks(""), []);
    let config = Config::parse(CONFIG, "t").unwrap();
    let about: Vec<&str> = examine(&fake.host, &config)
        .iter()
        .map(|f| f.about)
        .collect();
    assert_eq!(
        about,
        [
            "ipvs",
            "modules",
            "parameters",
            "capabilities",
            "realtime",
            "open files",
            "run_dir",
            "interfaces",
            "forwarding",
            "port reuse",
            "table",
            "backends",
            "backends",
        ]
    );
}

#[test]
fn what_a_parameter_mends() {
    for (parameter, wrong, about) in [
        ("net.ipv4.ip_forward", "0", "problem  forwarding"),
        ("net.ipv4.vs.conn_reuse_mode", "1", "warning  port reuse"),
        ("net.ipv4.conf.eth0.rp_filter", "1", "warning  reverse path"),
        ("net.ipv4.conf.all.arp_ignore", "8", "problem  arp"),
        ("net.ipv4.conf.eth0.arp_ignore", "8", "problem  arp"),
        ("kernel.sched_rt_runtime_us", "0", "problem  realtime"),
        ("fs.nr_open", "1024", "problem  open files"),
        (
            "net.ipv4.neigh.default.gc_thresh3",
            "1",
            "problem  neighbours",
        ),
    ] {
        let fake = Fake::sound();
        fake.put("proc/sys/net/ipv4/neigh/default/gc_thresh2", "512\n");
        fake.parameter(parameter, wrong);
        eprintln!("{parameter} = {wrong}");
        fake.is_mended(about);
    }
}

#[test]
fn a_strict_filter_of_all_is_loosened_by_the_interfaces_own() {
    let fake = Fake::sound();
    fake.parameter("net.ipv4.conf.all.rp_filter", "1");
    assert_eq!(fake.lacks(CONFIG), []);
    fake.parameter("net.ipv4.conf.eth0.rp_filter", "0");
    fake.is_mended("warning  reverse path");
}

#[test]
fn a_declared_parameter_that_differs_or_is_missing() {
    let fake = Fake::sound();
    fake.parameter("net.ipv4.vs.sync_threshold", "3 60");
    let shown = fake.lack(CONFIG);
    assert!(
        shown.contains("type: sysctl -w net.ipv4.vs.sync_threshold=\"3 50\""),
        "{shown}"
    );
    fake.remove("proc/sys/net/ipv4/vs/sync_threshold");
    assert!(fake.lack(CONFIG).contains("it needs the module ip_vs"));
    // What is declared will be: the present value is no matter.
    fake.put("proc/sys/net/ipv4/vs/sync_threshold", "3 50");
    fake.parameter("net.ipv4.vs.conn_reuse_mode", "1");
    let declared = CONFIG.replace("sysctl]", "sysctl]\nconn_reuse_mode = 3");
    let shown = fake.lack(&declared);
    assert!(shown.contains("warning  parameters"), "{shown}");
}

#[test]
fn no_ipvs_is_mended_by_its_module_if_there_is_one() {
    let mut fake = Fake::sound();
    fake.host.ipvs = Table::NoIpvs;
    fake.put("proc/sys/kernel/modprobe", "\n");
    let lacks = fake.lacks(CONFIG);
    assert_eq!(lacks[0].mend, ["modprobe ip_vs"]);
    let mend: Vec<_> = lacks.iter().flat_map(|f| &f.mend).collect();
    assert_eq!(mend.len(), 4, "rr is built in: {mend:?}");
    fake.put("proc/sys/kernel/modules_disabled", "1\n");
    assert!(fake.lacks(CONFIG)[0].mend[0].ends_with("reboot"));

    let mut fake = Fake::sound();
    fake.host.ipvs = Table::NoIpvs;
    fake.put("lib/modules/6.12.0/modules.dep", "");
    let lacks = fake.lacks(CONFIG);
    assert!(lacks[0].text.contains("CONFIG_IP_VS"), "{lacks:#?}");
    assert_eq!(lacks[0].mend, Vec::<String>::new());
    fake.remove("lib/modules/6.12.0/modules.dep");
    fake.remove("lib/modules/6.12.0/modules.builtin");
    let shown = fake.lack(CONFIG);
    assert!(shown.contains("type: modprobe ip_vs\n"), "{shown}");
    fake.put("proc/sys/kernel/modprobe", "\n");
    let levels: Vec<_> = fake.lacks(CONFIG).iter().map(|f| f.level).collect();
    // That there is no IPVS the kernel has said itself.
    assert_eq!(levels[0], Level::Problem);
    assert!(levels[1..].iter().all(|level| *level == Level::Warning));
}

#[test]
fn a_virtual_mac_address_needs_macvlans() {
    let fake = Fake::sound();
    let config = CONFIG.replacen("vrid =", "mac = \"virtual\"\nvrid =", 1);
    assert_ne!(config, CONFIG);
    let shown = fake.lack(&config);
    assert!(shown.contains("CONFIG_MACVLAN"), "{shown}");
    fake.put(
        "lib/modules/6.12.0/modules.builtin",
        "kernel/net/netfilter/ipvs/ip_vs_rr.ko\nkernel/drivers/net/macvlan.ko\n",
    );
    assert_eq!(fake.lacks(&config), []);
}

#[test]
fn a_refusal_is_told_as_the_kernel_gave_it() {
    let mut fake = Fake::sound();
    fake.host.ipvs = Table::Silent("not permitted".to_owned());
    assert!(fake.lack(CONFIG).contains("does not answer: not permitted"));
}

#[test]
fn each_capability_has_its_weight() {
    let all: u64 = 0x1ff_ffff_ffff;
    for (bit, level, needless) in [
        (NET_ADMIN.bit, Level::Problem, false),
        (13, Level::Problem, true),
        (23, Level::Warning, true),
        (14, Level::Warning, true),
    ] {
        let fake = Fake::sound();
        // Room for netlink, so that NET_ADMIN is one lack and not two more.
        fake.parameter("net.core.rmem_max", "4194304");
        fake.parameter("net.core.wmem_max", "4194304");
        fake.put(
            "proc/self/status",
            &format!("CapEff:\t{:016x}\n", all & !(1 << bit)),
        );
        let lacks = fake.lacks(CONFIG);
        assert_eq!((lacks.len(), lacks[0].level), (1, level), "{lacks:#?}");
        assert!(
            lacks[0].mend[0].starts_with("setcap cap_net_admin,"),
            "{lacks:#?}"
        );
        // Without VRRP only the first is needed.
        assert_eq!(fake.lacks("").is_empty(), needless, "{bit}");
    }
    let fake = Fake::sound();
    fake.put("proc/self/uid_map", "0 100000 65536\n");
    assert!(fake.lack(CONFIG).contains("initial user namespace"));
}

#[test]
fn limits_that_stand_in_for_capabilities() {
    let fake = Fake::sound();
    let without = !(1_u64 << 14 | 1 << 23 | 1 << SYS_RESOURCE.bit) & 0x1ff_ffff_ffff;
    fake.put("proc/self/status", &format!("CapEff:\t{without:016x}\n"));
    fake.put(
        "proc/self/limits",
        "Max open files 1024 4096 files\nMax locked memory 0 unlimited bytes\nMax realtime priority 0 50\n",
    );
    assert_eq!(fake.lacks(CONFIG), []);
    fake.put(
        "proc/self/limits",
        "Max open files 1024 2047 files\nMax locked memory 0 unlimited bytes\nMax realtime priority 0 50\n",
    );
    let shown = fake.lack(CONFIG);
    assert!(shown.contains("type: ulimit -n 2048"), "{shown}");
}

#[test]
fn an_interface_that_is_not_there_down_or_bare() {
    let mut fake = Fake::sound();
    fake.nic("eth0").up = false;
    assert!(fake.lack(CONFIG).contains("type: ip link set eth0 up"));
    fake.nic("eth0").up = true;
    fake.nic("eth0").addresses.clear();
    assert!(fake.lack(CONFIG).contains("no IPv4 address of its own"));
    let mut fake = Fake::sound();
    fake.nic("eth0").name = "eth1".to_owned();
    let shown = fake.lack(CONFIG);
    assert!(shown.contains("no eth0, did you mean eth1"), "{shown}");
    fake.nic("eth1").name = "eth0".to_owned();
    let sync = "[ipvs.sync]\ninterface = \"sync0\"\nrole = \"both\"\n";
    let shown = fake.lack(&format!("{sync}{CONFIG}"));
    assert!(shown.contains("there is no sync0"), "{shown}");
    fake.host.links = None;
    assert!(fake.lack(CONFIG).contains("does not tell"));
}

#[test]
fn only_backends_on_the_link_are_neighbours() {
    let fake = Fake::sound();
    fake.parameter("net.ipv4.neigh.default.gc_thresh3", "3");
    // Two of three are on eth0's network.
    assert_eq!(fake.lacks(CONFIG), []);
    let more = CONFIG.replace("\"10.0.0.2\"", "\"192.0.2.104\", \"192.0.2.105\"");
    let shown = fake.lack(&more);
    assert!(shown.contains("4 backends are on the link"), "{shown}");
    assert!(
        shown.contains("neigh.default.gc_thresh2=4 net.ipv4.neigh.default.gc_thresh3=8"),
        "{shown}"
    );
}

#[test]
fn a_run_dir_that_cannot_be_is_said_so_and_leaves_no_trace() {
    let fake = Fake::sound();
    assert_eq!(fake.lacks(CONFIG), []);
    assert!(!fake.host.root.join("run/trunnion").exists());
    fake.put("run/trunnion", "a file");
    let shown = fake.lack(CONFIG);
    assert!(
        shown.contains("type: mv /run/trunnion /run/trunnion.old"),
        "{shown}"
    );
    fake.remove("run/trunnion");
    fs::create_dir(fake.host.root.join("run/trunnion")).unwrap();
    assert_eq!(fake.lacks(CONFIG), []);
    assert!(fake.host.root.join("run/trunnion").exists());
}

#[test]
fn strangers_in_the_table_are_lost_or_left() {
    let mut fake = Fake::sound();
    let key = |port| ServiceKey::Address {
        protocol: Protocol::TCP,
        address: "192.0.2.10".parse().unwrap(),
        port,
    };
    fake.host.ipvs = Table::Holds(vec![key(80), key(443), key(8080)]);
    let shown = fake.lack(CONFIG);
    assert!(
        shown.contains("a start removes: TCP 192.0.2.10:8080;"),
        "{shown}"
    );
    let declared = format!("[ipvs]\nown = \"declared\"\n{CONFIG}");
    assert_eq!(fake.lacks(&declared), []);
    fake.host.ipvs = Table::Holds((1..=9).map(key).collect());
    assert!(fake.lack(CONFIG).contains("and 5 more"));
}

#[test]
fn another_writer_of_the_table_is_named_if_it_is_in_this_namespace() {
    let fake = Fake::sound();
    let namespace = |pid: &str, net: &str| {
        let path = fake.host.root.join("proc").join(pid).join("ns");
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::symlink(net, path.join("net")).unwrap();
    };
    namespace("self", "net:[1]");
    fake.put("proc/11/comm", "keepalived\n");
    namespace("11", "net:[2]");
    fake.put("proc/12/comm", "bash\n");
    namespace("12", "net:[1]");
    assert_eq!(fake.lacks(CONFIG), []);
    fake.put("proc/13/comm", "keepalived\n");
    namespace("13", "net:[1]");
    fake.put("proc/14/comm", "keepalived\n");
    namespace("14", "net:[1]");
    let shown = fake.lack(CONFIG);
    assert!(shown.contains("keepalived (pid 13)"), "{shown}");
}

#[test]
fn a_sync_daemons_buffer_is_bound_by_the_systems() {
    let fake = Fake::sound();
    fake.put("proc/sys/net/ipv4/vs/sync_sock_size", "4194304\n");
    let config = CONFIG.replace("sysctl]", "sysctl]\nsync_sock_size = 4194304");
    let lacks = fake.lacks(&config);
    let mend: Vec<_> = lacks.iter().flat_map(|f| &f.mend).collect();
    assert_eq!(
        mend,
        [
            "sysctl -w net.core.rmem_max=4194304",
            "sysctl -w net.core.wmem_max=4194304"
        ]
    );
}

#[test]
fn what_belongs_on_the_backends_is_said() {
    let config = Config::parse(CONFIG, "t").unwrap();
    let findings = super::network::backends(&Fake::sound().host, &config);
    let lines: Vec<_> = findings.iter().flat_map(|f| &f.on_backends).collect();
    assert_eq!(
        lines,
        [
            "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
            "ip address add 192.0.2.10/32 dev lo",
            "modprobe ipip && ip link set tunl0 up",
            "modprobe fou && ip fou add port 6080 gue",
            "ip address add 192.0.2.11/32 dev tunl0",
            "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0",
        ]
    );
}
