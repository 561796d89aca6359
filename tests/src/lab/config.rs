//! What the two nodes are told: one plain description, written as a Trunnion
//! config, as a keepalived one, and as the table that `ipvsadm` should show.

use super::ipvsadm::{Destination, Service, Table};
use super::plan::{self, BACKEND_NAMES, FAMILIES, Family, INTERFACE, PORT};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Health checks: from one to the next.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Health checks: how long an answer may take.
pub const CHECK_TIMEOUT: Duration = Duration::from_millis(150);
/// Successes in a row that bring a backend back.
pub const RISE: u32 = 2;
/// Failures in a row that take it away.
pub const FALL: u32 = 2;

/// How long a node that comes back lets a living peer be: until its own table
/// is whole and its backends are judged.
pub const PREEMPT_DELAY: Duration = Duration::from_secs(1);

const VRID: u8 = 51;

/// The daemon takes and locks its memory by these at start; the defaults are a
/// large site's, and page faults are dear in user-mode Linux.
const LIMITS: &str = "[limits]\nservices = 16\nbackends = 64\nchecks_in_flight = 64\n\
                      routers = 8\naddresses = 32\n";

/// The configuration of one balancer node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name: `lb1`, `lb2`.
    pub name: String,
    /// VRRP priority, 1 to 255.
    pub priority: u8,
    /// Whether it takes the address back from a router of lower priority.
    pub preempt: bool,
    /// Advertisement interval.
    pub interval: Duration,
    /// What the checksum of IPv4 adverts covers; `None` is the daemon's
    /// default.
    pub checksum: Option<&'static str>,
    /// Weights of the backends, from the first on; the length says how many
    /// there are.
    pub weights: Vec<u32>,
    /// Whether the nodes tell each other of connections, in the direction the
    /// IPv4 virtual router says.
    pub sync: bool,
}

impl Config {
    /// Node `index` (0 is the one that should be Active) as the demo begins:
    /// weights 3, 2, 1 and a failover in well under half a second.
    #[must_use]
    pub fn of_node(index: usize) -> Self {
        Self {
            name: format!("lb{}", index + 1),
            priority: if index == 0 { 200 } else { 100 },
            preempt: true,
            interval: Duration::from_millis(100),
            checksum: None,
            weights: vec![3, 2, 1],
            sync: false,
        }
    }

    /// `Skew_Time` (RFC 9568 section 6.1), to the nanosecond.
    #[must_use]
    pub fn skew(&self) -> Duration {
        self.interval * (256 - u32::from(self.priority)) / 256
    }

    /// `Active_Down_Interval`: how long a Backup is patient with a silent
    /// Active.
    #[must_use]
    pub fn down_interval(&self) -> Duration {
        self.interval * 3 + self.skew()
    }

    /// Backends and their weights.
    #[must_use]
    pub fn shares(&self) -> Vec<(&'static str, u32)> {
        BACKEND_NAMES
            .into_iter()
            .zip(self.weights.clone())
            .collect()
    }

    /// What `ipvsadm -Ln` should show when every backend is well.
    #[must_use]
    pub fn table(&self) -> Table {
        let service = |family| {
            let destination = |(index, weight): (usize, &u32)| {
                let key = std::net::SocketAddr::new(plan::backend(family, index), PORT);
                let destination = Destination {
                    forward: "Route".to_owned(),
                    weight: *weight,
                };
                (key.to_string(), destination)
            };
            let service = Service {
                scheduler: "wrr".to_owned(),
                destinations: self.weights.iter().enumerate().map(destination).collect(),
            };
            (format!("TCP {}", plan::service(family)), service)
        };
        Table(FAMILIES.map(service).into_iter().collect())
    }

    /// The file for `trunnion run --config`.
    #[must_use]
    pub fn toml(&self, run_dir: &Path) -> String {
        let mut text = format!(
            "[node]\nname = \"{}\"\nrun_dir = \"{}\"\n\n{LIMITS}",
            self.name,
            run_dir.display()
        );
        if self.sync {
            let _ = write!(
                text,
                "\n[ipvs.sync]\ninterface = \"{INTERFACE}\"\nid = 1\nfollow = \"{}\"\n\
                 \n[ipvs.sysctl]\nsync_threshold = [3, 10]\n",
                router_name(Family::V4)
            );
        }
        for family in FAMILIES {
            self.toml_router(&mut text, family);
        }
        for family in FAMILIES {
            self.toml_service(&mut text, family);
        }
        text
    }

    fn toml_router(&self, text: &mut String, family: Family) {
        let addresses: Vec<String> = addresses(family)
            .into_iter()
            .map(|address| format!("\"{address}\""))
            .collect();
        let _ = write!(
            text,
            "\n[[vrrp]]\nname = \"{name}\"\ninterface = \"{INTERFACE}\"\nvrid = {VRID}\n\
             priority = {priority}\ninterval = \"{interval}ms\"\naddresses = [{addresses}]\n\
             preempt = {preempt}\npreempt_delay = \"{delay}ms\"\n",
            name = router_name(family),
            priority = self.priority,
            interval = self.interval.as_millis(),
            addresses = addresses.join(", "),
            preempt = self.preempt,
            delay = PREEMPT_DELAY.as_millis(),
        );
        if let (Some(checksum), Family::V4) = (self.checksum, family) {
            let _ = writeln!(text, "checksum = \"{checksum}\"");
        }
    }

    fn toml_service(&self, text: &mut String, family: Family) {
        let _ = write!(
            text,
            "\n[[service]]\nname = \"{name}\"\naddress = \"{address}\"\nprotocol = \"tcp\"\n\
             scheduler = \"wrr\"\nforward = \"route\"\n\
             check = {{ type = \"tcp\", interval = \"{interval}ms\", timeout = \"{timeout}ms\", \
             rise = {RISE}, fall = {FALL} }}\n",
            name = service_name(family),
            address = plan::service(family),
            interval = CHECK_INTERVAL.as_millis(),
            timeout = CHECK_TIMEOUT.as_millis(),
        );
        for (index, weight) in self.weights.iter().enumerate() {
            let address = std::net::SocketAddr::new(plan::backend(family, index), PORT);
            let _ = write!(
                text,
                "\n[[service.backend]]\naddress = \"{address}\"\nweight = {weight}\n"
            );
        }
    }

    /// The same for keepalived 2.2: a peer to be compared with and to live
    /// beside.
    #[must_use]
    pub fn keepalived(&self) -> String {
        let mut text = format!(
            "global_defs {{\n  router_id {}\n  vrrp_version 3\n  checker_log_all_failures true\n}}\n",
            self.name
        );
        for family in FAMILIES {
            let quoted = addresses(family).join("\n    ");
            // keepalived deprecates an IPv6 address of 128 bits, so that the
            // node's own checks do not come from the VIP, which every backend
            // takes for itself.
            let whole = format!("{}/{}", plan::vip(family), plan::prefix(family));
            let quoted = match family {
                Family::V4 => quoted,
                Family::V6 => quoted.replace(&whole, &format!("{}/128", plan::vip(family))),
            };
            let _ = write!(
                text,
                "vrrp_instance {name} {{\n  state BACKUP\n  interface {INTERFACE}\n  \
                 virtual_router_id {VRID}\n  priority {priority}\n  advert_int {interval}\n  \
                 garp_master_delay 1\n{preempt}  virtual_ipaddress {{\n    {quoted}\n  }}\n}}\n",
                name = router_name(family),
                priority = self.priority,
                interval = self.interval.as_secs_f64(),
                preempt = if self.preempt {
                    format!("  preempt_delay {}\n", PREEMPT_DELAY.as_secs_f64())
                } else {
                    "  nopreempt\n".to_owned()
                },
            );
        }
        for family in FAMILIES {
            let vip = plan::vip(family);
            let _ = write!(
                text,
                "virtual_server {vip} {PORT} {{\n  lb_algo wrr\n  lb_kind DR\n  protocol TCP\n  \
                 delay_loop {interval}\n",
                interval = CHECK_INTERVAL.as_secs_f64(),
            );
            for (index, weight) in self.weights.iter().enumerate() {
                let address = plan::backend(family, index);
                // keepalived counts the tries after the first.
                let _ = write!(
                    text,
                    "  real_server {address} {PORT} {{\n    weight {weight}\n    TCP_CHECK {{\n      \
                     connect_timeout {timeout}\n      retry {retry}\n      \
                     delay_before_retry {interval}\n    }}\n  }}\n",
                    timeout = CHECK_TIMEOUT.as_secs_f64(),
                    retry = FALL - 1,
                    interval = CHECK_INTERVAL.as_secs_f64(),
                );
            }
            text.push_str("}\n");
        }
        text
    }
}

/// The addresses of the virtual router of a family, with prefix lengths.
fn addresses(family: Family) -> Vec<String> {
    let vip = format!("{}/{}", plan::vip(family), plan::prefix(family));
    match family {
        Family::V4 => vec![vip],
        Family::V6 => vec![format!("{}/64", plan::VIRTUAL_LINK_LOCAL), vip],
    }
}

/// Name of the VRRP instance of a family.
#[must_use]
pub fn router_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "public",
        Family::V6 => "public6",
    }
}

/// Name of the service of a family.
#[must_use]
pub fn service_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "web",
        Family::V6 => "web6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_follow_the_rfc() {
        let backup = Config::of_node(1);
        assert_eq!(backup.skew(), Duration::from_nanos(60_937_500));
        assert_eq!(backup.down_interval(), Duration::from_nanos(360_937_500));
        assert!(backup.down_interval() < Duration::from_millis(500));
    }

    #[test]
    fn the_table_has_a_row_for_every_backend_of_both_families() {
        let table = Config::of_node(0).table();
        assert_eq!(table.rows(), 8);
        assert_eq!(table.weight("10.77.0.21:80"), Some(3));
        assert_eq!(table.weight("[fd77::23]:80"), Some(1));
    }

    #[test]
    fn the_file_is_toml_with_what_was_asked() {
        let mut config = Config::of_node(0);
        config.weights.push(4);
        config.preempt = false;
        config.checksum = Some("rfc5798");
        let text = config.toml(Path::new("/run/x"));
        for wanted in [
            "name = \"lb1\"\nrun_dir = \"/run/x\"\n",
            "addresses = [\"10.77.0.10/24\"]\npreempt = false\npreempt_delay = \"1000ms\"\nchecksum = \"rfc5798\"\n",
            "addresses = [\"fe80::77:10/64\", \"fd77::10/64\"]\n",
            "interval = \"100ms\"",
            "address = \"[fd77::24]:80\"\nweight = 4\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
    }
}
