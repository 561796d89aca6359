//! What the control thread itself writes into the log.

use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use trunnion_core::record::{Frame, Record, records};
use trunnion_sys::clock::boottime;

use crate::control::Records;

records! {
    /// The first config was taken by both loops.
    0x0701 Info Started { routers: u32, services: u32 }
        "started with {routers} virtual routers and {services} services";
    /// A reload was taken by both loops.
    0x0702 Info Reloaded { routers: u32, services: u32 }
        "reloaded: {routers} virtual routers and {services} services";
    /// A reload was refused; the mistakes follow on standard error.
    0x0703 Error ReloadRefused { why: &'static str }
        "reload: nothing was changed: {why}";
    /// A loop has no room for its part of a config. Neither has taken its part.
    0x0704 Error PlanRefused { thread: &'static str, why: &'static str }
        "nothing was changed: {thread}: {why}";
    /// Another reload, or the start, is under way.
    0x0705 Info ReloadWaits {}
        "reload: one is under way; this one comes after it";
    /// The end begins.
    0x0706 Info Stopping {}
        "stopping: priority 0 first, then the addresses";
    /// A loop ended by itself.
    0x0707 Error LoopGone { thread: &'static str, why: &'static str }
        "the {thread} loop is gone: {why}; ending, so that a supervisor starts anew";
    /// The guardian ended, though the daemon lives.
    0x0708 Error GuardianGone { status: Text }
        "the guardian ended ({status}); another one is started: until then a crash costs peers three intervals";
    /// The guardian could not be started.
    0x0709 Error GuardianNotStarted { why: Text }
        "the guardian cannot be started: {why}; until it is, a crash costs peers three intervals";
    /// A loop's runner ended, though the daemon lives.
    0x070a Error RunnerGone { of: &'static str, status: Text }
        "the runner of {of} ended ({status}); another one is started: commands that ran were late";
    /// A loop's runner could not be started.
    0x070b Error RunnerNotStarted { of: &'static str, why: Text }
        "the runner of {of} cannot be started: {why}; until it is, no command is run and no file is read";

    /// An operator said what becomes of a backend.
    0x0710 Info OperatorSaid { service: Text, backend: Text, state: &'static str, uid: u32, pid: u32 }
        "service {service} backend {backend}: {state}, said uid {uid} in process {pid}";
    /// What operators said could not be written down.
    0x0711 Error OperatorNotSaved { why: Text }
        "what operators said of backends cannot be written to run_dir: {why}; a restart will not know it";
    /// What operators said before a restart.
    0x0712 Warn OperatorsRemembered { backends: u32 }
        "{backends} backends are not ready because an operator said so before this start: see `trunnion show`";

    /// A timeout of the kernel's IPVS, or a parameter of net.ipv4.vs, was set.
    0x0720 Info SettingMade { name: &'static str, was: Text, is: Text }
        "ipvs: {name} was {was} and is {is}";
    /// The kernel has no such parameter.
    0x0721 Error SettingMissing { name: &'static str, needs: &'static str }
        "ipvs: this kernel has no net.ipv4.vs.{name}: it needs {needs}; going on without";
    /// The kernel refused a value.
    0x0722 Error SettingRefused { name: &'static str, value: Text, errno: i32 }
        "ipvs: net.ipv4.vs.{name} = {value}: the kernel refused with errno {errno}; going on without";
    /// The kernel took a value and shows another.
    0x0723 Error SettingNotKept { name: &'static str, value: Text, is: Text }
        "ipvs: net.ipv4.vs.{name} = {value} was taken, but reads back as {is}";
    /// IPVS did not answer, or not to what its timeouts were set to.
    0x0724 Error SettingsFailed { why: Text, again_s: u32 }
        "ipvs: settings: {why}; trying again every {again_s} s";

    /// The name of a check's target has an address, for the first time or again.
    0x0730 Info NameResolved { name: Text, address: IpAddr }
        "name {name} is {address}";
    /// It has another address.
    0x0731 Warn NameMoved { name: Text, was: IpAddr, is: IpAddr }
        "name {name} moved from {was} to {is}: what is believed of the target stays until checks there say otherwise";
    /// It could not be looked up.
    0x0732 Warn NameLost { name: Text, why: &'static str, address: IpAddr }
        "name {name} is not resolved: {why}; its checks go on with {address}";
    /// It could not be looked up, and never was before.
    0x0733 Warn NameUnknown { name: Text, why: &'static str }
        "name {name} is not resolved: {why}; until it is its checks find out nothing";

    /// The process's memory could not be locked.
    0x0725 Warn MemoryNotLocked { why: Text }
        "memory is not locked: {why}; adverts may wait for pages";

    /// A macvlan could not be made, or not as it should be.
    0x0738 Error MacvlanTrouble { name: Text, why: Text }
        "macvlan {name}: {why}";

    /// Nothing could be found out about something tracked; what is known of it
    /// stays.
    0x0740 Warn TrackTrouble { name: Text, why: Text }
        "track {name}: nothing found out: {why}; what is known of it stays";
    /// A program that is to be told of a move was not, or failed.
    0x0741 Warn NotifyFailed { name: Text, why: Text }
        "notify of {name}: {why}";
    /// The pipe for notices cannot be opened.
    0x0742 Error PipeFailed { why: Text }
        "notify_fifo: {why}; nobody is told there";
    /// Nobody reads the pipe, and it is full.
    0x0743 Warn PipeFull {}
        "notify_fifo: nobody reads it and it is full: lines are lost";
    /// There is room in it again.
    0x0744 Warn PipeLost { lines: u64 }
        "notify_fifo: {lines} lines were lost";
    /// The HA loop has ended, and not all that it had is off.
    0x0745 Warn AddressesLeft { left: u32 }
        "stopped with {left} virtual addresses on perhaps: they are the guardian's to take off";
}

/// A value or a reason in a record; what is longer is cut.
pub type Text = heapless::String<52, u8>;

/// A text as records carry it.
#[must_use]
pub fn text(text: &str) -> Text {
    let end = text.floor_char_boundary(Text::new().capacity());
    Text::try_from(&text[..end]).unwrap_or_default()
}

/// Where the control thread writes its records.
#[derive(Clone, Debug)]
pub struct OwnLog(Sender<Frame>);

/// Where they are read.
#[derive(Debug)]
pub struct OwnLogEnd(Receiver<Frame>);

impl OwnLog {
    /// A log and its reading end.
    #[must_use]
    pub fn new() -> (Self, OwnLogEnd) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), OwnLogEnd(receiver))
    }

    /// Writes a record.
    pub fn log(&self, record: &impl Record) {
        // The writer ends last.
        let _ = self.0.send(Frame::of(boottime(), record));
    }
}

impl Records for OwnLogEnd {
    fn thread(&self) -> &'static str {
        "control"
    }

    fn poll_record(&mut self) -> Option<Frame> {
        self.0.try_recv().ok()
    }

    fn dropped(&self) -> u64 {
        0
    }
}
