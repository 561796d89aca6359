//! What happened, in numbers that only grow.

use super::Malformed;

/// What one virtual router counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Adverts sent, the resigning ones included.
    pub sent: u64,
    /// Adverts of priority 0 sent.
    pub sent_resign: u64,
    /// Adverts sent more than one interval late; the schedule was set anew.
    pub sent_late: u64,
    /// Valid adverts received, whatever became of them.
    pub received: u64,
    /// Adverts of priority 0 received.
    pub received_resign: u64,
    /// Valid adverts heard while in Initialize, and not considered.
    pub received_idle: u64,
    /// Adverts whose IPv4 checksum covers a pseudo-header (RFC 5798).
    pub received_rfc5798: u64,
    /// Adverts whose interval is not ours. They are considered all the same.
    pub interval_differs: u64,
    /// Adverts whose addresses are not ours, as the owner found
    /// ([`Router::note_addresses_differ`](super::Router::note_addresses_differ)).
    /// They are considered all the same.
    pub addresses_differ: u64,
    /// Adverts heard while Active from our own primary address: an echo, or a
    /// second host with our address. They are not considered.
    pub own_address: u64,
    /// Adverts heard while Active of our own priority: the greater address won.
    pub equal_priority: u64,
    /// Losing adverts heard while Active, answered at once.
    pub reasserted: u64,
    /// Adverts of a lower priority not considered by a Backup that preempts.
    pub discarded: u64,
    /// Announcements of all addresses made.
    pub announced: u64,
    /// Transitions to Active.
    pub became_active: u64,
    /// Transitions to Backup.
    pub became_backup: u64,
    /// Transitions to Initialize.
    pub became_initialize: u64,
}

impl Counters {
    /// All zero.
    pub const ZERO: Self = Self {
        sent: 0,
        sent_resign: 0,
        sent_late: 0,
        received: 0,
        received_resign: 0,
        received_idle: 0,
        received_rfc5798: 0,
        interval_differs: 0,
        addresses_differ: 0,
        own_address: 0,
        equal_priority: 0,
        reasserted: 0,
        discarded: 0,
        announced: 0,
        became_active: 0,
        became_backup: 0,
        became_initialize: 0,
    };
}

/// Packets that reached no virtual router, by reason. One for each socket,
/// because a malformed packet names no router that could be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejects {
    /// [`Malformed::Short`].
    pub short: u64,
    /// [`Malformed::Header`].
    pub header: u64,
    /// [`Malformed::Fragment`].
    pub fragment: u64,
    /// [`Malformed::Protocol`].
    pub protocol: u64,
    /// [`Malformed::Families`].
    pub families: u64,
    /// [`Malformed::Version`].
    pub version: u64,
    /// [`Malformed::Type`].
    pub kind: u64,
    /// [`Malformed::Length`].
    pub length: u64,
    /// [`Malformed::Checksum`].
    pub checksum: u64,
    /// [`Malformed::Ttl`].
    pub ttl: u64,
    /// [`Malformed::NoAddress`].
    pub no_address: u64,
    /// [`Malformed::NoInterval`].
    pub no_interval: u64,
    /// [`Malformed::NotLinkLocal`].
    pub not_link_local: u64,
    /// Valid adverts of a VRID that is not configured here. The owner counts.
    pub unknown_vrid: u64,
    /// Valid adverts from a source that is no configured unicast peer. The
    /// owner counts.
    pub unknown_peer: u64,
}

impl Rejects {
    /// All zero.
    pub const ZERO: Self = Self {
        short: 0,
        header: 0,
        fragment: 0,
        protocol: 0,
        families: 0,
        version: 0,
        kind: 0,
        length: 0,
        checksum: 0,
        ttl: 0,
        no_address: 0,
        no_interval: 0,
        not_link_local: 0,
        unknown_vrid: 0,
        unknown_peer: 0,
    };

    /// Counts a packet that was no advert.
    pub const fn count(&mut self, why: &Malformed) {
        let counter = match why {
            Malformed::Short(_) => &mut self.short,
            Malformed::Header(_) => &mut self.header,
            Malformed::Fragment => &mut self.fragment,
            Malformed::Protocol { .. } => &mut self.protocol,
            Malformed::Families { .. } => &mut self.families,
            Malformed::Version { .. } => &mut self.version,
            Malformed::Type { .. } => &mut self.kind,
            Malformed::Length { .. } => &mut self.length,
            Malformed::Checksum { .. } => &mut self.checksum,
            Malformed::Ttl { .. } => &mut self.ttl,
            Malformed::NoAddress => &mut self.no_address,
            Malformed::NoInterval => &mut self.no_interval,
            Malformed::NotLinkLocal { .. } => &mut self.not_link_local,
        };
        *counter = counter.saturating_add(1);
    }
}
