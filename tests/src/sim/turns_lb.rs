//! How a node's LB loop goes round, in the order of daemon/src/run/lb.rs.

use super::ipvs_kernel::Tried;
use super::netlink::{Received, errno};
use super::options::Fault;
use super::turns::{BUFFER, CATALOGUES};
use super::world::{Event, World};
use trunnion_core::check::{Action, SocketId};
use trunnion_core::netlink::Errno;
use trunnion_core::time::Duration;

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
        while let Some((socket, epoch, result)) = life.ready.pop_front() {
            if life.probes[socket as usize].epoch != epoch {
                continue;
            }
            match result {
                Ok(()) => life.lb.handle_connected(local, SocketId(socket)),
                Err(errno) => life.lb.handle_failed(local, SocketId(socket), Errno(errno)),
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
                // Checks only connect here.
                Some(
                    Action::Send { .. }
                    | Action::Secure { .. }
                    | Action::Datagram { .. }
                    | Action::Errand { .. },
                ) => {}
                Some(Action::Disconnect { socket }) => life.probes[socket.index()].epoch += 1,
                Some(Action::Connect { socket, target, .. }) => {
                    self.summary.probes += 1;
                    let probe = &mut life.probes[socket.index()];
                    probe.epoch += 1;
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
                    } else if let Some((after, result)) = self.backends.answer(target.ip()) {
                        let event = Event::Ready(node, number, socket.0, epoch, result);
                        self.after(after, event);
                    }
                }
            }
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
