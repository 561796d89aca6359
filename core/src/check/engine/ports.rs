//! Probes by datagrams for which no port is free: those of one target could be taken
//! for each other, so only so many are under way at once
//! ([`Flights`](crate::check::Flights)). The others wait, each in its turn, and what
//! they wait is not the target's time.

use super::storage::{Phase, Slot, Socket, State};
use super::{Action, Carrier, CheckId, Engine, Lane, SocketId};
use crate::check::{CheckConfig, Kind};
use crate::time::Instant;

impl Engine<'_> {
    /// No port is free for the datagram of this seat: it is asked for again
    /// ([`Action::Datagram`]) when another probe by datagrams has ended.
    pub fn handle_no_port(&mut self, now: Instant, seat: SocketId) {
        let Some((_, Phase::Due | Phase::Sending { later: false, .. })) = self.talker(seat) else {
            return self.stray();
        };
        if self.lane_of(seat) == Lane::Datagram {
            self.set_phase(seat, Phase::Portless { since: now });
            self.portless.push(self.sockets, seat.0, Socket::link);
        }
    }

    /// A probe by datagrams has ended: its port may be what others wait for.
    pub(super) const fn free_port(&mut self) {
        self.departures = self.portless.len();
    }

    /// Has the owner try again, the oldest first.
    pub(super) fn depart(&mut self, now: Instant) -> Option<Action> {
        self.departures = self.departures.checked_sub(1)?;
        let seat = SocketId(self.portless.pop(self.sockets, Socket::link)?);
        let (id, phase) = self.talker(seat)?;
        if let Phase::Portless { since } = phase {
            self.excuse(id, now.since(since));
        }
        self.set_phase(seat, Phase::Due);
        let config = self.config(id)?;
        Some(self.by_datagram(seat, &config))
    }

    /// What has the owner send a probe's datagram.
    pub(super) fn by_datagram(&self, socket: SocketId, config: &CheckConfig) -> Action {
        let carrier = if config.kind == Kind::Syn {
            Carrier::Syn
        } else if self.pings(socket, config.family()) {
            Carrier::Icmp
        } else {
            Carrier::Udp
        };
        Action::Datagram {
            socket,
            target: config.target,
            carrier,
        }
    }

    /// Whether a probe whose timer was served waits for a port, and then waits on.
    pub(super) fn waits_on(&mut self, now: Instant, id: CheckId, seat: SocketId) -> bool {
        let (Some((_, Phase::Portless { since })), Some(config)) =
            (self.talker(seat), self.config(id))
        else {
            return false;
        };
        let again = now + config.timeout.max(CheckConfig::INTERVAL_MIN);
        // There is a timer for each check; see `capacity`.
        if let Ok(own) = self.wheel.insert(again, id.0)
            && let Some(Slot {
                state:
                    State::Probing {
                        started,
                        deadline,
                        timer,
                        ..
                    },
                ..
            }) = self.slots.get_mut(id.index())
        {
            *started += now.since(since);
            (*deadline, *timer) = (again, own);
        }
        self.set_phase(seat, Phase::Portless { since: now });
        true
    }
}
