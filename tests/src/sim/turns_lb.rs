//! How a node's LB loop goes round, in the order of daemon/src/run/lb.rs.

use super::ipvs_kernel::Tried;
use super::netlink::{Received, errno};
use super::options::Fault;
use super::turns::{BUFFER, CATALOGUES};
use super::web::{self, Came};
use super::world::{Event, World};
use trunnion_core::check::{Action, SocketId};
use trunnion_core::netlink::Errno;
use trunnion_core::time::Duration;

/// Reads of checks' sockets in one turn.
const READS_PER_TURN: u32 = 8;

impl World<'_> {
    /// One turn of the LB loop.
    pub fn wake_lb(&mut self, node: usize, number: u64) {
        let now = self.now;
        let here = &mut self.nodes[node];
        let Some(life) = here.life.as_mut().filter(|l| l.number == number) else {
            return;
        };
        // A wake-up that was overtaken is one too many now and then.
        let stale = life.lb_armed != Some(now);
        if life.lb_done || (stale && !self.random.chance(100)) {
            return;
        }
        if !stale {
            life.lb_armed = None;
        }
        if now < life.lb_paused {
            let rest = life.lb_paused.since(now);
            self.arm_lb(node, rest);
            return;
        }
        if !self.may_turn(node) {
            return;
        }
        self.read_sockets(node);
        let local = self.nodes[node].local(now);
        if let Some(life) = &mut self.nodes[node].life
            && life.role != life.role_told
        {
            life.role_told = life.role;
            if let Some(role) = life.role {
                life.lb.handle_role(local, role);
            }
        }
        self.read_ipvs(node);
        let local = self.nodes[node].local(now);
        if let Some(life) = &mut self.nodes[node].life {
            life.lb.handle_timeout(local);
        }
        if self.probe(node) {
            self.send_ipvs(node);
        }
        self.watch.health(now, &self.nodes[node], &self.backends);
        self.take_lb_records(node);
        let here = &mut self.nodes[node];
        let local = here.local(now);
        let more = !here.ipvs.is_quiet();
        let Some(life) = &mut here.life else { return };
        let more = more || life.lb.engine().has_unread();
        if life.lb.is_finished(local) {
            life.lb_done = true;
            self.bury(node);
            return;
        }
        let delay = match life.lb.poll_timeout() {
            _ if more => self.random.time(Duration::ZERO, self.options.wake),
            Some(at) => at.since(local),
            None => return,
        };
        let delay = self.late(delay);
        self.arm_lb(node, delay);
    }

    fn read_sockets(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let Some(life) = &mut here.life else { return };
        while let Some((socket, epoch, came)) = life.ready.pop_front() {
            let probe = &mut life.probes[socket as usize];
            let id = SocketId(socket);
            if probe.epoch != epoch {
                continue;
            }
            match came {
                Came::Connected => life.lb.handle_connected(local, id),
                Came::Failed(errno) if life.lb.engine().awaits(id) => {
                    life.lb.handle_failed(local, id, Errno(errno));
                }
                Came::Writable => life.lb.handle_ready(id, false, true),
                Came::Bytes(_) | Came::End | Came::Failed(_) => {
                    probe.mail.push_back(came);
                    life.lb.handle_ready(id, true, false);
                }
            }
        }
        // What comes while it lies there is read with it, or it is read in parts.
        for _ in 0..READS_PER_TURN {
            let Some(id) = life.lb.poll_read() else {
                return;
            };
            let mail = &mut life.probes[id.index()].mail;
            match mail.pop_front() {
                Some(Came::Bytes(mut bytes)) => {
                    if bytes.len() > 1 && self.random.chance(100) {
                        let rest = bytes.split_off(bytes.len() / 2);
                        mail.push_front(Came::Bytes(rest));
                    }
                    life.lb.handle_bytes(local, id, &bytes);
                }
                Some(Came::End) => life.lb.handle_end(local, id),
                Some(Came::Failed(errno)) => life.lb.handle_failed(local, id, Errno(errno)),
                Some(Came::Connected | Came::Writable) | None => {
                    life.lb.handle_drained(local, id);
                }
            }
        }
    }

    fn read_ipvs(&mut self, node: usize) {
        for _ in 0..self.options.datagrams {
            // Others change the table while it is being told.
            let dumping = self.nodes[node].ipvs.is_dumping();
            if dumping && self.safety && self.options.has(Fault::Writer) && self.random.chance(100)
            {
                self.write(node);
            }
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let Some(life) = &mut here.life else { return };
            match here.ipvs.receive() {
                Some(Received::Datagram(datagram)) => life.lb.handle_ipvs(local, &datagram),
                Some(Received::Lost) => life.lb.handle_ipvs_lost(local, "replies were lost"),
                None => return,
            }
        }
    }

    /// Begins and ends connections. Whether the process still lives.
    fn probe(&mut self, node: usize) -> bool {
        loop {
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let Some(life) = &mut here.life else {
                return false;
            };
            match life.lb.poll_probe(local) {
                None => return true,
                // Checks connect here, and ask for a page.
                Some(Action::Secure { .. } | Action::Datagram { .. } | Action::Errand { .. }) => {}
                Some(Action::Send { socket }) => self.say(node, socket),
                Some(Action::Disconnect { socket }) => life.probes[socket.index()].renew(),
                Some(Action::Connect { socket, target, .. }) => {
                    self.summary.probes += 1;
                    let probe = &mut life.probes[socket.index()];
                    probe.renew();
                    let (number, epoch) = (life.number, probe.epoch);
                    if self.random.chance(self.options.local_trouble) {
                        let errno = self.random.pick(&[
                            errno::EMFILE,
                            errno::EADDRNOTAVAIL,
                            errno::ENOBUFS,
                            errno::ENOMEM,
                        ]);
                        life.lb.handle_failed(local, socket, Errno(errno));
                        self.watch.local_trouble(self.now, node);
                    } else if let Some((after, came)) = self.backends.connects(target.ip()) {
                        let event = Event::Ready(node, number, socket.0, epoch, came);
                        self.after(after, event);
                    }
                }
            }
        }
    }

    /// Writes what a check has to say, and lets its target answer.
    fn say(&mut self, node: usize, socket: SocketId) {
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let Some(life) = &mut here.life else { return };
        let check = life.lb.engine().probed_by(socket);
        let target = check.and_then(|check| life.lb.engine().status(check));
        let Some(bytes) = life.lb.transmit(local, socket) else {
            return;
        };
        if self.random.chance(self.options.local_trouble) {
            let errno = self.random.pick(&[errno::ENOBUFS, errno::ENOMEM]);
            life.lb.handle_failed(local, socket, Errno(errno));
            return self.watch.local_trouble(self.now, node);
        }
        let part = bytes.len() > 1 && self.random.chance(50);
        let taken = if part { bytes.len() / 2 } else { bytes.len() };
        let probe = &mut life.probes[socket.index()];
        probe.said.extend_from_slice(&bytes[..taken]);
        let whole = web::is_whole(&probe.said);
        let (number, epoch) = (life.number, probe.epoch);
        life.lb.handle_sent(local, socket, taken);
        let ready = |came| Event::Ready(node, number, socket.0, epoch, came);
        let mut after = self
            .random
            .time(Duration::from_micros(100), Duration::from_millis(2));
        if part {
            return self.after(after, ready(Came::Writable));
        }
        assert!(whole, "all was sent, and it is no request");
        self.summary.pages += 1;
        let Some(status) = target else { return };
        for (later, came) in self.backends.answers(status.config.target.ip()) {
            after += later;
            self.after(after, ready(came));
        }
    }

    fn send_ipvs(&mut self, node: usize) {
        let mut buffer = [0; BUFFER];
        let room = self.nodes[node].request_bytes;
        loop {
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let Some(life) = &mut here.life else { return };
            let Some(len) = life.lb.poll_ipvs(local, &mut buffer[..room]) else {
                return;
            };
            if here.ipvs.send(&buffer[..len]).is_err() {
                life.lb
                    .handle_ipvs_lost(local, "the kernel did not take a request");
                return;
            }
            let tried: Vec<Tried> = std::mem::take(&mut here.ipvs.tried);
            self.summary.changes += tried.len() as u64;
            for tried in tried {
                self.note(|| format!("node {node} asks {:?}: {}", tried.op, tried.answer));
                let here = &self.nodes[node];
                self.watch.changed(self.now, here, &tried, &self.backends);
            }
            if self.dies(node) {
                return;
            }
            self.read_ipvs(node);
        }
    }

    fn take_lb_records(&mut self, node: usize) {
        while let Some(life) = &mut self.nodes[node].life {
            let Some(frame) = life.lb.poll_record() else {
                return;
            };
            self.note(|| format!("node {node}: {}", frame.text(CATALOGUES)));
        }
    }
}
