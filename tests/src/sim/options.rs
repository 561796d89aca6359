//! What a run draws before it begins: how large the cluster is and what goes
//! wrong in it. Each run enables a few faults only (swarm testing), since some
//! bugs hide behind the noise of others.

use super::ipvs_kernel::IpvsFaults;
use super::random::Random;
use super::route_kernel::RouteFaults;
use std::fmt;
use trunnion_core::director::guardian::OnCrash;
use trunnion_core::model::SchedulerName;
use trunnion_core::time::Duration;

/// Something that happens to the cluster now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process dies, in the midst of a turn perhaps, and is started again.
    Crash,
    /// A node loses power: its kernel forgets everything.
    Reboot,
    /// A clean shutdown, and a start later.
    Shutdown,
    /// A process, or one of its loops, does not run for a while.
    Pause,
    /// Some nodes do not hear some others, in one direction perhaps.
    Partition,
    /// An interface loses its carrier, or is set down, and comes back.
    Flap,
    /// An interface is deleted and made again, with another index.
    Recreate,
    /// Someone takes a virtual address off an interface.
    Steal,
    /// Someone else changes the IPVS table.
    Writer,
    /// Another program insists on a row of its own liking, and looks often.
    Rival,
    /// The IPVS module is unloaded and loaded.
    Module,
    /// The config changes and all nodes are told, one after the other.
    Reload,
    /// A backend begins to behave in another way.
    Backend,
    /// An operator says what becomes of a backend.
    Operator,
    /// Something tracked changes.
    Track,
    /// An operator fails routers over.
    Failover,
    /// A node's kernel refuses every advert for a while.
    Mute,
}

impl Fault {
    /// All of them, but for those that are drawn apart so that seeds keep their
    /// others.
    pub const ALL: [Self; 13] = [
        Self::Crash,
        Self::Reboot,
        Self::Shutdown,
        Self::Pause,
        Self::Partition,
        Self::Flap,
        Self::Recreate,
        Self::Steal,
        Self::Writer,
        Self::Rival,
        Self::Module,
        Self::Reload,
        Self::Backend,
    ];
}

/// Everything a run draws before it begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// What all else is drawn from.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// How long things go wrong.
    pub safety: Duration,
    /// How long they then have to get right.
    pub liveness: Duration,
    /// From a cause to the loop's turn, at most.
    pub wake: Duration,
    /// Datagrams of a kernel read in one turn.
    pub datagrams: u32,
    /// Packets heard in one turn.
    pub packets: u32,
    /// Flight of a packet, least and most.
    pub flight: [Duration; 2],
    /// Whether cuts may be of one direction.
    pub one_way: bool,
    /// Packets lost, in a thousand.
    pub loss: u32,
    /// Packets that come twice.
    pub duplicates: u32,
    /// Sends refused with ENOBUFS.
    pub refused_sends: u32,
    /// Connects that fail for a reason of this node's own.
    pub local_trouble: u32,
    /// Sockets of interfaces that cannot be opened.
    pub ports: u32,
    /// rtnetlink's faults.
    pub route: RouteFaults,
    /// IPVS's faults.
    pub ipvs: IpvsFaults,
    /// A scheduler of services that no kernel ever has.
    pub missing: Option<SchedulerName>,
    /// What guardians do for daemons that die; `None` where there are none.
    pub guardian: Option<OnCrash>,
    /// How long routers wait after a start.
    pub startup_delay: Duration,
    /// Faults that are enabled, and the mean time from one to the next.
    pub faults: Vec<(Fault, Duration)>,
}

impl Options {
    /// The options of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut r = Random::stream(seed, "options");
        let calm = r.chance(60);
        let rate = |r: &mut Random, most: u64| {
            let enabled = r.chance(300) && !calm;
            let rate = u32::try_from(r.between(1, most)).unwrap_or(1);
            if enabled { rate } else { 0 }
        };
        let least = r.time(Duration::from_micros(50), Duration::from_millis(1));
        let most = least + r.time(Duration::ZERO, Duration::from_millis(4));
        let (loss, duplicates) = (rate(&mut r, 300), rate(&mut r, 100));
        let (refused_sends, local_trouble) = (rate(&mut r, 200), rate(&mut r, 300));
        let route = RouteFaults {
            lost: rate(&mut r, 100),
            refused: rate(&mut r, 300),
            stubborn: stubborn(seed, calm),
            send: rate(&mut r, 100),
        };
        let ipvs = IpvsFaults {
            lost: rate(&mut r, 100),
            refused: rate(&mut r, 200),
            send: rate(&mut r, 100),
            silent: rate(&mut r, 50),
            strange: rate(&mut r, 300),
            malformed: rate(&mut r, 50),
            busy: rate(&mut r, 200),
        };
        let mut faults = Vec::new();
        for fault in Fault::ALL {
            let mean = r.time(Duration::from_secs(3), Duration::from_secs(20));
            // Backends always do something: without it there is nothing to see.
            if (r.chance(300) && !calm) || fault == Fault::Backend {
                faults.push((fault, mean));
            }
        }
        let mut apart = Random::stream(seed, "operator");
        if apart.chance(300) && !calm {
            let mean = apart.time(Duration::from_secs(3), Duration::from_secs(20));
            faults.push((Fault::Operator, mean));
        }
        faults.extend(super::moves::faults(seed, calm));
        let mut apart = Random::stream(seed, "mute");
        if apart.chance(300) && !calm {
            let mean = apart.time(Duration::from_secs(3), Duration::from_secs(20));
            faults.push((Fault::Mute, mean));
        }
        Self {
            seed,
            nodes: r.index(2) + 2,
            safety: r.time(Duration::from_secs(20), Duration::from_secs(60)),
            liveness: Duration::from_secs(90),
            wake: r.time(Duration::from_micros(10), Duration::from_millis(3)),
            datagrams: r.pick(&[2, 64]),
            packets: Random::stream(seed, "packets").pick(&[16, 64]),
            flight: [least, most],
            one_way: r.chance(300),
            loss,
            duplicates,
            refused_sends,
            local_trouble,
            ports: ports(seed, calm),
            route,
            ipvs,
            missing: missing(seed, calm),
            guardian: guardian(seed),
            startup_delay: super::moves::startup_delay(seed),
            faults,
        }
    }

    /// Whether a fault is enabled.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(enabled, _)| *enabled == fault)
    }

    /// The same cluster with these faults alone, and often; links and kernels
    /// lose nothing.
    #[must_use]
    pub fn only(seed: u64, faults: &[Fault]) -> Self {
        let often = Duration::from_secs(3);
        Self {
            safety: Duration::from_secs(25),
            one_way: false,
            loss: 0,
            duplicates: 0,
            refused_sends: 0,
            local_trouble: 0,
            ports: 0,
            route: RouteFaults::default(),
            ipvs: IpvsFaults::default(),
            missing: None,
            faults: faults.iter().map(|fault| (*fault, often)).collect(),
            ..Self::draw(seed)
        }
    }

    /// Whether hosts may have heard another than the Active last, and the Active
    /// not that one: only announcements that are refreshed heal that.
    #[must_use]
    pub fn hides_rivals(&self) -> bool {
        let silent = [
            Fault::Flap,
            Fault::Recreate,
            Fault::Crash,
            Fault::Reboot,
            Fault::Shutdown,
            // Who is told to step down says so to nobody.
            Fault::Failover,
            Fault::Track,
            Fault::Reload,
        ];
        let cut = self.has(Fault::Partition)
            && (self.one_way || self.refused_sends > 0 || silent.iter().any(|f| self.has(*f)));
        // Who cannot speak announces all the same, and the other does not know.
        cut || self.loss > 0 || self.has(Fault::Mute)
    }

    /// What a check of time allows for the way from a cause to its effect.
    #[must_use]
    pub fn slack(&self) -> Duration {
        // Few datagrams in a turn make a dump of many turns.
        let turns = if self.datagrams < 8 { 100 } else { 3 };
        self.wake * turns + self.flight[1] * 3 + Duration::from_millis(20)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            nodes,
            safety,
            liveness,
            wake,
            datagrams,
            packets,
            flight,
            one_way,
            loss,
            duplicates,
            refused_sends,
            local_trouble,
            ports,
            route,
            ipvs,
            missing,
            guardian,
            startup_delay,
            faults,
        } = self;
        writeln!(f, "seed {seed}: {nodes} nodes")?;
        writeln!(f, "  faults for {safety:.1?}, then {liveness:.1?} to heal")?;
        writeln!(
            f,
            "  {datagrams} datagrams and {packets} packets read in a turn"
        )?;
        writeln!(
            f,
            "  wake-up within {wake:.1?}, flight {:.1?} to {:.1?}, cuts of one direction: {one_way}",
            flight[0], flight[1]
        )?;
        writeln!(
            f,
            "  of a thousand: lost {loss}, doubled {duplicates}, sends refused {refused_sends}, local trouble {local_trouble}, ports {ports}"
        )?;
        writeln!(f, "  {route:?}")?;
        writeln!(f, "  {ipvs:?}, missing {missing:?}")?;
        writeln!(
            f,
            "  guardians: {guardian:?}, startup delay {startup_delay:?}"
        )?;
        for (fault, mean) in faults {
            writeln!(f, "  {fault:?} every {mean:.1?} or so")?;
        }
        Ok(())
    }
}

/// Drawn apart, as below.
fn stubborn(seed: u64, calm: bool) -> u32 {
    let mut r = Random::stream(seed, "stubborn");
    let enabled = r.chance(250) && !calm;
    let rate = r.pick(&[100, 300]);
    if enabled { rate } else { 0 }
}

/// Drawn apart, as below.
fn ports(seed: u64, calm: bool) -> u32 {
    let mut r = Random::stream(seed, "ports");
    if r.chance(200) && !calm { 300 } else { 0 }
}

/// Drawn apart, as below.
fn missing(seed: u64, calm: bool) -> Option<SchedulerName> {
    let mut r = Random::stream(seed, "missing");
    (r.chance(150) && !calm).then(|| "mh".try_into().expect("short"))
}

/// Drawn apart, so that seeds keep their other options.
fn guardian(seed: u64) -> Option<OnCrash> {
    let mut r = Random::stream(seed, "guardian");
    match r.below(4) {
        0 => None,
        1 | 2 => Some(OnCrash::Resign),
        _ => Some(OnCrash::Hold {
            time: r.time(Duration::from_millis(300), Duration::from_secs(12)),
        }),
    }
}
