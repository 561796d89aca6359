//! What was asked of the kernel's IPVS table, counted.

use crate::reconcile::Change;

/// How many requests of each kind were sent, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// `IPVS_CMD_NEW_SERVICE` sent.
    pub new_service: u64,
    /// `IPVS_CMD_SET_SERVICE` sent.
    pub set_service: u64,
    /// `IPVS_CMD_DEL_SERVICE` sent.
    pub del_service: u64,
    /// `IPVS_CMD_NEW_DEST` sent.
    pub new_dest: u64,
    /// `IPVS_CMD_SET_DEST` sent.
    pub set_dest: u64,
    /// `IPVS_CMD_DEL_DEST` sent.
    pub del_dest: u64,
    /// Destinations whose weight was worked out and compared with the kernel's.
    pub compared: u64,
    /// `IPVS_CMD_NEW_DAEMON` sent.
    pub new_daemon: u64,
    /// `IPVS_CMD_DEL_DAEMON` sent.
    pub del_daemon: u64,
    /// Whole dumps of the table that were finished.
    pub dumps: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Requests the kernel refused.
    pub refused: u64,
    /// Times the state of the table became unknown: lost replies, overruns,
    /// refusals.
    pub resyncs: u64,
    /// Replies to nothing we wait for.
    pub strangers: u64,
    /// Datagrams from the kernel that were not well formed.
    pub malformed: u64,
    /// Rows that someone else had changed since we knew them, at every look anew.
    pub drifted: u64,
    /// Looks that found a row changed for at least the third time.
    pub contests: u64,
}

/// What verdicts and operators led to, beside weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyCounters {
    /// Services that had too few healthy backends, so that all got traffic.
    pub opened: u64,
    /// Services that had enough again.
    pub closed: u64,
    /// Times a sorry server took over.
    pub sorry_began: u64,
    /// Times one was not needed any more.
    pub sorry_ended: u64,
    /// Times a service lost its quorum.
    pub quorum_lost: u64,
    /// Times one regained it.
    pub quorum_gained: u64,
    /// Backends whose weight began to rise slowly.
    pub slow_starts: u64,
    /// States of backends that operators changed.
    pub operator: u64,
}

impl KernelCounters {
    /// Requests that change the table, of all kinds.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.new_service
            .saturating_add(self.set_service)
            .saturating_add(self.del_service)
            .saturating_add(self.new_dest)
            .saturating_add(self.set_dest)
            .saturating_add(self.del_dest)
    }

    pub(super) fn count(&mut self, change: &Change<'_>) {
        let counter = match change {
            Change::AddService(_) => &mut self.new_service,
            Change::SetService(_) => &mut self.set_service,
            Change::DeleteService(_) => &mut self.del_service,
            Change::AddDestination(..) => &mut self.new_dest,
            Change::SetDestination(..) => &mut self.set_dest,
            Change::DeleteDestination(..) => &mut self.del_dest,
        };
        *counter = counter.saturating_add(1);
    }
}
