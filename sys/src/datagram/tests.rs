use super::*;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

struct Lab {
    port: Port,
    outbox: Outbox,
    inbox: Inbox,
    answers: BTreeMap<SocketAddr, Vec<Vec<u8>>>,
    refusals: Vec<(SocketAddr, Vec<u8>, Errno)>,
}

impl Lab {
    fn new(family: Family) -> Self {
        Self {
            port: Port::udp(family).unwrap(),
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            answers: BTreeMap::new(),
            refusals: Vec::new(),
        }
    }

    fn put(&mut self, bytes: &[u8], to: SocketAddr, tag: u64) {
        self.outbox.room().unwrap()[..bytes.len()].copy_from_slice(bytes);
        self.outbox.push(bytes.len(), to, 0, tag);
    }

    fn send(&mut self) -> Vec<(u64, Result<(), Errno>)> {
        let mut sent = Vec::new();
        self.port
            .send(&mut self.outbox, |tag, result| sent.push((tag, result)));
        assert!(self.outbox.is_empty());
        sent
    }

    fn receive(&mut self) {
        while self.port.receive_errors(&mut self.inbox).unwrap() > 0 {
            for Refusal {
                to, bytes, errno, ..
            } in self.inbox.refusals()
            {
                self.refusals.push((to, bytes.to_vec(), errno));
            }
        }
        while self.port.receive(&mut self.inbox).unwrap() > 0 {
            for Answer { from, bytes } in self.inbox.answers() {
                self.answers.entry(from).or_default().push(bytes.to_vec());
            }
        }
    }

    fn receive_until(&mut self, done: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + Duration::from_secs(30);
        while !done(self) {
            assert!(Instant::now() < limit, "{:?}", self.answers);
            self.receive();
            std::thread::yield_now();
        }
    }
}

fn loopback(family: Family) -> SocketAddr {
    match family {
        Family::V4 => (Ipv4Addr::LOCALHOST, 0).into(),
        Family::V6 => (Ipv6Addr::LOCALHOST, 0).into(),
    }
}

/// A server, and its address.
fn server(family: Family) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(loopback(family)).unwrap();
    let timeout = Some(Duration::from_secs(30));
    socket.set_read_timeout(timeout).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A port that nobody else gets, since a connected socket has it, and that is
/// closed to all but that socket's peer.
fn closed(family: Family) -> (UdpSocket, SocketAddr) {
    let (socket, address) = server(family);
    socket.connect(address).unwrap();
    (socket, address)
}

#[test]
fn a_batch_goes_out_and_comes_back() {
    for family in [Family::V4, Family::V6] {
        let mut lab = Lab::new(family);
        let (server, address) = server(family);
        for tag in 0..BATCH as u64 {
            lab.put(&tag.to_be_bytes(), address, tag);
        }
        assert!(lab.outbox.room().is_none(), "it is full");
        let sent = lab.send();
        let all: Vec<_> = (0..BATCH as u64).map(|tag| (tag, Ok(()))).collect();
        assert_eq!(sent, all);
        for tag in 0..BATCH as u64 {
            let mut buffer = [0; 100];
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..len], tag.to_be_bytes());
            server.send_to(&buffer[..len], from).unwrap();
        }
        lab.receive_until(|lab| lab.answers.get(&address).map_or(0, Vec::len) == BATCH);
        assert_eq!(lab.refusals, []);
        assert_eq!(lab.port.lost().unwrap(), 0);
    }
}

#[test]
fn an_empty_datagram_is_one_and_a_long_one_is_cut() {
    let mut lab = Lab::new(Family::V4);
    let (server, address) = server(Family::V4);
    lab.put(b"", address, 0);
    assert_eq!(lab.send(), [(0, Ok(()))]);
    let (len, from) = server.recv_from(&mut [0; 8]).unwrap();
    assert_eq!(len, 0);
    server.send_to(b"", from).unwrap();
    server
        .send_to(&[7; DATAGRAM_BYTES_MAX + 100], from)
        .unwrap();
    lab.receive_until(|lab| lab.answers.get(&address).map_or(0, Vec::len) == 2);
    let answers = &lab.answers[&address];
    assert_eq!(answers[0], b"");
    assert_eq!(answers[1], [7; DATAGRAM_BYTES_MAX]);
}

/// What is refused is so by its own destination and payload, and whoever is
/// asked in the same breath is not.
#[test]
fn a_refusal_is_of_whom_it_is() {
    for family in [Family::V4, Family::V6] {
        let mut lab = Lab::new(family);
        let (server, open) = server(family);
        let (_holders, closed): (Vec<_>, Vec<_>) = (0..16).map(|_| closed(family)).unzip();
        for round in 0..4_u64 {
            for (tag, to) in (100 * round..).zip(&closed) {
                lab.put(&tag.to_be_bytes(), *to, tag);
                lab.put(b"open", open, 1000);
            }
            for (tag, result) in lab.send() {
                assert_eq!(result, Ok(()), "{tag}");
            }
        }
        for _ in 0..64 {
            server.recv_from(&mut [0; 8]).unwrap();
        }
        lab.receive_until(|lab| lab.refusals.len() == 64);
        for (tag, (to, bytes, errno)) in lab.refusals.iter().enumerate() {
            let (round, target) = (tag as u64 / 16, tag % 16);
            let own = 100 * round + target as u64;
            assert_eq!(*to, closed[target]);
            assert_eq!(bytes[..], own.to_be_bytes());
            assert_eq!(errno.0, libc::ECONNREFUSED);
        }
    }
}

/// The kernel does hand an errno to an unrelated send: were it not so, the test
/// above would show nothing.
#[test]
fn the_kernel_blames_the_next() {
    let lab = Lab::new(Family::V4);
    let (_holder, closed) = closed(Family::V4);
    let (_server, open) = server(Family::V4);
    let socket = UdpSocket::from(lab.port.fd.try_clone().unwrap());
    socket.send_to(b"x", closed).unwrap();
    let blamed = socket.send_to(b"x", open).unwrap_err();
    assert_eq!(blamed.raw_os_error(), Some(libc::ECONNREFUSED));
}

#[test]
fn what_is_not_read_is_lost_and_counted() {
    let mut lab = Lab::new(Family::V4);
    let (server, address) = server(Family::V4);
    set(&lab.port.fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &4096).unwrap();
    lab.put(b"", address, 0);
    lab.send();
    let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
    for _ in 0..100 {
        server.send_to(&[0; 500], from).unwrap();
    }
    assert!(lab.port.lost().unwrap() > 0);
    lab.receive();
    let kept = u32::try_from(lab.answers[&address].len()).unwrap();
    assert_eq!(kept + lab.port.lost().unwrap(), 100);
}

/// A target without a route fails by itself, again and again, and nobody else.
#[test]
fn no_route_is_the_targets_own() {
    let mut lab = Lab::new(Family::V4);
    let (server, open) = server(Family::V4);
    // Broadcast needs leave: EACCES, as a route that prohibits.
    let refused: SocketAddr = (Ipv4Addr::new(127, 255, 255, 255), 9).into();
    let (_holder, closed) = closed(Family::V4);
    for (tag, to) in [refused, closed, open, refused, closed, refused, open]
        .into_iter()
        .enumerate()
    {
        lab.put(b"x", to, tag as u64);
    }
    let prohibited = Err(Errno(libc::EACCES));
    let results: Vec<_> = lab.send().into_iter().map(|(_, result)| result).collect();
    #[rustfmt::skip]
    assert_eq!(results, [prohibited, Ok(()), Ok(()), prohibited, Ok(()), prohibited, Ok(())]);
    for _ in 0..2 {
        server.recv_from(&mut [0; 8]).unwrap();
    }
    lab.receive_until(|lab| lab.refusals.len() == 2);
    assert!(lab.refusals.iter().all(|(to, ..)| *to == closed));
}

#[test]
fn the_other_family_is_refused() {
    let mut lab = Lab::new(Family::V6);
    lab.put(b"x", loopback(Family::V4), 1);
    let [(1, Err(errno))] = lab.send()[..] else {
        panic!("it was sent");
    };
    assert!(!may_be_anothers(errno), "{errno:?}");
}
