//! What an event asks of the owner, and the words for why.

/// The name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// [`State::Initialize`](super::State::Initialize).
    Initialize,
    /// [`State::Backup`](super::State::Backup).
    Backup,
    /// [`State::Active`](super::State::Active).
    Active,
}

/// Why a state was left. [`Reason::text`] has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The router was started.
    Started,
    /// Its priority is 255: it owns the addresses and waits for nobody.
    Owner,
    /// It was Active when this daemon last stopped, too short a time ago for
    /// any peer to have noticed.
    Resumed,
    /// It heard no Active since it was started.
    NobodyActive,
    /// The Active fell silent for a whole `Active_Down_Interval`.
    ActiveSilent,
    /// The Active resigned with an advert of priority 0.
    ActiveResigned,
    /// The Active has a lower priority, and we preempt.
    Preempted,
    /// A router of higher priority advertises.
    HigherPriority,
    /// A router of equal priority and greater address advertises.
    GreaterAddress,
    /// The kernel took none of our adverts for as long as peers wait, and a
    /// router that does speak was heard.
    CannotSpeak,
    /// The interface is down, or has no address to send from.
    Fault,
    /// The operator shut it down.
    Shutdown,
    /// Something it tracks is down.
    Tracked,
    /// Another router of its group cannot take part.
    GroupFault,
    /// Another router of its group became Backup.
    GroupBackup,
    /// The operator told it to let a peer take over.
    Failover,
}

impl Reason {
    /// Every reason, by its number.
    pub const ALL: [Self; 16] = [
        Self::Started,
        Self::Owner,
        Self::Resumed,
        Self::NobodyActive,
        Self::ActiveSilent,
        Self::ActiveResigned,
        Self::Preempted,
        Self::HigherPriority,
        Self::GreaterAddress,
        Self::CannotSpeak,
        Self::Fault,
        Self::Shutdown,
        Self::Tracked,
        Self::GroupFault,
        Self::GroupBackup,
        Self::Failover,
    ];

    /// The reason as the end of a sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Owner => "priority 255 owns the addresses",
            Self::Resumed => "was active moments ago, no peer can have noticed",
            Self::NobodyActive => "heard no active router",
            Self::ActiveSilent => "the active router fell silent",
            Self::ActiveResigned => "the active router resigned",
            Self::Preempted => "the active router has a lower priority",
            Self::HigherPriority => "a router of higher priority advertises",
            Self::GreaterAddress => "a router of equal priority and greater address advertises",
            Self::CannotSpeak => "cannot send, and another router advertises",
            Self::Fault => "interface down or without an address",
            Self::Shutdown => "shut down",
            Self::Tracked => "something it tracks is down",
            Self::GroupFault => "another router of its group cannot take part",
            Self::GroupBackup => "another router of its group is backup",
            Self::Failover => "told to fail over",
        }
    }
}

/// What to do with the virtual addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// Leave them as they are.
    #[default]
    Keep,
    /// Put them on the interface, if they are not there.
    Add,
    /// Take them off the interface, if they are there: at the start as well,
    /// since an earlier life may have left them.
    Remove,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state left.
    pub from: Role,
    /// The state entered.
    pub to: Role,
    /// Why.
    pub why: Reason,
}

bitflags::bitflags! {
    /// What an event had that an operator should hear of, at a bounded rate.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Remarks: u8 {
        /// A losing advert was heard while Active: two routers believed to be.
        const REASSERTED = 1;
        /// The peer advertises at another interval than ours.
        const INTERVAL_DIFFERS = 1 << 1;
        /// The peer, heard while Active, has our priority: the address decided.
        const EQUAL_PRIORITY = 1 << 2;
        /// An advert was heard from our own address while Active: an echo, or
        /// a second host that has it.
        const OWN_ADDRESS = 1 << 3;
    }
}

/// What an event asks of the owner, besides what the polls will say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Actions {
    /// What to do with the virtual addresses.
    pub addresses: Addresses,
    /// The change of state, if there was one.
    pub transition: Option<Transition>,
    /// What to log.
    pub remarks: Remarks,
}

impl Actions {
    /// Nothing to do.
    pub const NOOP: Self = Self {
        addresses: Addresses::Keep,
        transition: None,
        remarks: Remarks::empty(),
    };
}
