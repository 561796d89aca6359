//! Everything the steps act on: the lab, the two nodes, the witnesses; and the
//! way back to health between steps.

use super::report::Report;
use super::{Options, daemon};
use crate::lab::client::{Tally, requests};
use crate::lab::config::Config;
use crate::lab::download::Download;
use crate::lab::nlmon::{Capture, Requests};
use crate::lab::node::Node;
use crate::lab::pinger::Pinger;
use crate::lab::plan::{self, FAMILIES, Family};
use crate::lab::rtnl::AddressWatch;
use crate::lab::{Lab, LabError, Result, wait_for};
use std::process::Command;
use std::time::{Duration, Instant};

/// How often the client asks.
pub const PERIOD: Duration = Duration::from_millis(5);
/// When it gives up a try.
pub const TRY_TIMEOUT: Duration = Duration::from_millis(400);
/// How long anything may take before a step gives up on it.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The lab and its witnesses.
#[derive(Debug)]
pub struct World<'a> {
    /// The timeline.
    pub report: &'a mut Report,
    /// The witnesses of what each node asks its kernel.
    pub captures: [Capture; 2],
    /// The witnesses of each node's addresses.
    pub addresses: [AddressWatch; 2],
    /// `lb1` and `lb2`; dropped before the lab they live in.
    pub nodes: [Node; 2],
    /// The network.
    pub lab: Lab,
}

impl<'a> World<'a> {
    /// Builds the lab, starts everything, waits until traffic can flow.
    pub fn build(options: &Options, report: &'a mut Report) -> Result<Self> {
        let daemon = daemon(options)?;
        let mut lab = Lab::build()?;
        let kernel = report.kernel().to_owned();
        report.event(
            "lab",
            format!(
                "Linux {kernel}; 2 balancers, {} backends and a client on one switch, IPv4 and IPv6",
                plan::BACKENDS
            ),
        );
        for index in 0..3 {
            lab.start_backend(index)?;
        }
        let [one, two] = &lab.balancers;
        let log = |name: &str| lab.directory.join(format!("{name}-tcpdump.log"));
        let captures = [
            Capture::start(one, &log("lb1"))?,
            Capture::start(two, &log("lb2"))?,
        ];
        let addresses = [AddressWatch::start(one)?, AddressWatch::start(two)?];
        for balancer in [one, two] {
            // The kernel's own connection synchronisation, both ways: what
            // lets an established connection live on when the VIP moves.
            for state in ["master", "backup"] {
                let mut command = Command::new("ipvsadm");
                command.args(["--start-daemon", state, "--syncid", "1"]);
                command.args(["--mcast-interface", plan::INTERFACE]);
                balancer.output(&mut command)?;
            }
            balancer.sysctls(&[("ipv4/vs/sync_threshold", "8 16")])?;
        }
        let mut nodes = [
            Node::new(one, Config::of_node(0), daemon.clone(), &lab.directory),
            Node::new(two, Config::of_node(1), daemon, &lab.directory),
        ];
        for node in &mut nodes {
            node.start()?;
        }
        nodes[0].wait_holds(true, LIMIT)?;
        for node in &nodes {
            node.wait_table(LIMIT)?;
        }
        report.event("lb1", "Active for 10.77.0.10 and fd77::10");
        report.event("lb2", "Backup");
        Ok(Self {
            report,
            captures,
            addresses,
            nodes,
            lab,
        })
    }

    /// Brings everything back to where a step begins, whatever the one before
    /// left: cables in, backends up, both daemons on their first config, lb1
    /// Active, both tables whole.
    pub fn heal(&mut self) -> Result<()> {
        for index in 0..3 {
            if !self.lab.backend_runs(index) {
                self.lab.start_backend(index)?;
            }
        }
        for (index, node) in self.nodes.iter_mut().enumerate() {
            self.lab.set_cable(&node.netns, true)?;
            let wanted = Config::of_node(index);
            if !node.runs() {
                node.config = wanted;
                node.start()?;
            } else if node.config != wanted {
                node.config = wanted;
                node.reload()?;
            }
        }
        let [one, two] = &mut self.nodes;
        one.wait_holds(true, LIMIT)?;
        two.wait_holds(false, LIMIT)?;
        one.wait_table(LIMIT)?;
        two.wait_table(LIMIT)
    }

    /// A client for each family that asks the VIP every so often, answered at
    /// least once.
    pub fn pingers(&self, period: Duration) -> Result<[Pinger; 2]> {
        let start = Instant::now();
        let pingers = FAMILIES.map(|family| {
            let address = plan::service(family);
            Pinger::start(&self.lab.client, address, period, TRY_TIMEOUT)
        });
        for pinger in &pingers {
            pinger.answered(start, LIMIT)?;
        }
        Ok(pingers)
    }

    /// One download through the VIP of each family, both established.
    pub fn downloads(&self, seconds: u64) -> Result<[Download; 2]> {
        const RATE: u64 = 50_000;
        let downloads = FAMILIES.map(|family| {
            let address = plan::service(family);
            Download::start(&self.lab.client, address, seconds * RATE, RATE)
        });
        for download in &downloads {
            download.established()?;
        }
        Ok(downloads)
    }

    /// Waits until lb2's kernel has heard of these connections from lb1's: it
    /// takes seconds, for the kernel gathers them into larger messages.
    pub fn synchronised(&self, downloads: &[Download; 2]) -> Result<()> {
        let known = |download: &Download| self.nodes[1].knows_connection(download.port());
        let all = || {
            downloads
                .iter()
                .all(|download| known(download).unwrap_or(false))
        };
        wait_for(LIMIT, || all().then_some(())).ok_or_else(|| {
            LabError::new("lb2's kernel has not heard of the downloads' connections from lb1's")
        })
    }

    /// Puts the ends of both downloads on the timeline.
    pub fn finish_downloads(&mut self, downloads: [Download; 2]) -> Result<()> {
        for (family, download) in FAMILIES.into_iter().zip(downloads) {
            let outcome = download.finish()?;
            let name = plan::family_name(family);
            let seen = format!("{name} download: {outcome}");
            self.report
                .check("client", outcome.complete(), seen, "every byte of it");
        }
        Ok(())
    }

    /// Requests to the VIP, one after the other.
    pub fn requests(&self, family: Family, count: u32) -> Result<Tally> {
        let address = plan::service(family);
        let client = &self.lab.client;
        client.run(|| requests(address, count, Duration::from_secs(1)))
    }

    /// Checks that the VIPs are on exactly one node.
    pub fn check_holder(&mut self, holder: usize) -> Result<()> {
        for family in FAMILIES {
            let holds = [self.nodes[0].holds(family)?, self.nodes[1].holds(family)?];
            let names: Vec<&str> = self
                .nodes
                .iter()
                .zip(holds)
                .filter(|(_, holds)| *holds)
                .map(|(node, _)| node.name())
                .collect();
            let wanted = self.nodes[holder].name();
            let seen = match names.as_slice() {
                [] => format!("{} is on no node", plan::vip(family)),
                names => format!("{} is on {}", plan::vip(family), names.join(" and ")),
            };
            self.report
                .check("lab", names == [wanted], seen, format!("on {wanted} alone"));
        }
        Ok(())
    }

    /// What a node counts of its own requests; `None` when it is not ours.
    pub fn own_count(&self, index: usize) -> Result<Option<Requests>> {
        let node = &self.nodes[index];
        if !node.is_trunnion() {
            return Ok(None);
        }
        node.show()?.requests().map(Some)
    }

    /// Checks what a node asked its kernel to change.
    pub fn check_requests(&mut self, index: usize, by: &str, seen: Requests, wanted: Requests) {
        let seen = seen.writes();
        let name = self.nodes[index].name().to_owned();
        let text = format!("asked its kernel, by {by}: {seen}");
        self.report
            .check(&name, seen == wanted, text, wanted.to_string());
    }
}

/// `341 ms`.
pub fn ms(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
}
