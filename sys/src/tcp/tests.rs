use super::*;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

/// A pool registered with a poller, as the daemon has it.
struct Lab {
    poll: Poll,
    events: Events,
    pool: Pool,
}

impl Lab {
    fn new(v4: u32, v6: u32) -> Self {
        let poll = Poll::new().unwrap();
        let pool = Pool::open(v4, v6).unwrap();
        for (id, fd) in pool.iter() {
            let fd = fd.as_raw_fd();
            poll.registry()
                .register(
                    &mut SourceFd(&fd),
                    Token(id.index()),
                    Interest::READABLE | Interest::WRITABLE,
                )
                .unwrap();
        }
        let events = Events::with_capacity(64);
        let mut lab = Self { poll, events, pool };
        // A fresh socket reports hang-up once.
        lab.poll(Duration::from_millis(1));
        lab
    }

    /// What one poll says, told apart.
    fn poll(&mut self, timeout: Duration) -> Vec<(SocketId, Option<Outcome>)> {
        self.poll.poll(&mut self.events, Some(timeout)).unwrap();
        let told = self.events.iter().map(|event| {
            let id = SocketId(u32::try_from(event.token().0).unwrap());
            let readiness = Readiness {
                writable: event.is_writable(),
                error: event.is_error(),
                hup: event.is_write_closed(),
            };
            (id, self.pool.outcome(id, readiness))
        });
        told.collect()
    }

    /// Connects, and waits for the answer.
    fn probe(&mut self, id: SocketId, target: SocketAddr, half_open: bool) -> Outcome {
        let mut outcome = self.pool.connect(id, target, half_open);
        for _ in 0..100 {
            if outcome != Outcome::InProgress {
                return outcome;
            }
            for (who, told) in self.poll(Duration::from_secs(5)) {
                if who == id
                    && let Some(told) = told
                {
                    outcome = told;
                }
            }
        }
        panic!("no answer, only stray events");
    }
}

fn listener(address: impl Into<std::net::IpAddr>) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address.into(), 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address nobody listens on: its port is bound, so nobody else gets it.
fn closed() -> (Pool, SocketAddr) {
    let pool = Pool::open(1, 0).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let holder = &pool.sockets[0];
    let SocketAddr::V4(any) = any else {
        unreachable!()
    };
    let address = libc::sockaddr_in {
        sin_family: family(libc::AF_INET),
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(any.ip().octets()),
        },
        sin_zero: [0; 8],
    };
    let mut bound = address;
    let mut len = socklen::<libc::sockaddr_in>();
    // SAFETY: live sockaddr_in structures of the lengths given.
    unsafe {
        check(libc::bind(
            holder.fd.as_raw_fd(),
            (&raw const address).cast(),
            len,
        ))
        .unwrap();
        check(libc::getsockname(
            holder.fd.as_raw_fd(),
            (&raw mut bound).cast(),
            &raw mut len,
        ))
        .unwrap();
    }
    let port = u16::from_be(bound.sin_port);
    (pool, (Ipv4Addr::LOCALHOST, port).into())
}

const V4: SocketId = SocketId(0);
const V6: SocketId = SocketId(1);

#[test]
fn a_socket_is_used_over_and_over() {
    let mut lab = Lab::new(1, 1);
    let (four, four_at) = listener(Ipv4Addr::LOCALHOST);
    let (six, six_at) = listener(Ipv6Addr::LOCALHOST);
    let (_holder, nobody) = closed();
    for round in 0..200 {
        let half_open = round % 3 == 0;
        assert_eq!(lab.probe(V4, four_at, half_open), Outcome::Connected);
        lab.pool.disconnect(V4).unwrap();
        assert_eq!(lab.probe(V6, six_at, half_open), Outcome::Connected);
        lab.pool.disconnect(V6).unwrap();
        let refused = Outcome::Failed(Errno(libc::ECONNREFUSED));
        assert_eq!(lab.probe(V4, nobody, half_open), refused);
        lab.pool.disconnect(V4).unwrap();
        // Whoever was accepted finds a reset; the queue stays short.
        while four.accept().is_ok() {}
        while six.accept().is_ok() {}
    }
}

#[test]
fn a_half_open_probe_wakes_nobody() {
    let mut lab = Lab::new(1, 0);
    let (listener, at) = listener(Ipv4Addr::LOCALHOST);
    for _ in 0..20 {
        assert_eq!(lab.probe(V4, at, true), Outcome::Connected);
        lab.pool.disconnect(V4).unwrap();
    }
    let accepted = listener.accept();
    assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::WouldBlock);

    assert_eq!(lab.probe(V4, at, false), Outcome::Connected);
    // The third packet of a handshake is on its way when the second is in.
    let mut turns = 0;
    while listener.accept().is_err() {
        turns += 1;
        assert!(turns < 5_000, "a full handshake is accepted");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Its accept queue full, a target neither answers nor refuses.
#[test]
fn a_target_that_hangs_says_nothing_and_the_socket_lives_on() {
    const SOCKETS: u32 = 8;
    let mut lab = Lab::new(SOCKETS, 0);
    let (listener, at) = listener(Ipv4Addr::LOCALHOST);
    // SAFETY: listen(2) takes no pointer.
    check(unsafe { libc::listen(listener.as_raw_fd(), 0) }).unwrap();
    let mut hanging: Vec<_> = (0..SOCKETS).map(SocketId).collect();
    for &id in &hanging {
        assert_eq!(lab.pool.connect(id, at, false), Outcome::InProgress);
    }
    loop {
        let told = lab.poll(Duration::from_millis(200));
        if told.is_empty() {
            break;
        }
        for (id, outcome) in told {
            assert_eq!(outcome, Some(Outcome::Connected));
            hanging.retain(|&other| other != id);
        }
    }
    assert!(!hanging.is_empty(), "a queue of 1 took {SOCKETS}");
    let (_other, other_at) = self::listener(Ipv4Addr::LOCALHOST);
    for id in hanging {
        lab.pool.disconnect(id).unwrap();
        // Edges left over are told apart from the answer.
        assert_eq!(lab.probe(id, other_at, false), Outcome::Connected);
    }
}

/// Edges of the old connection that come after the new one was begun say
/// nothing, whatever the poller calls them.
#[test]
fn an_old_edge_is_no_answer() {
    let mut lab = Lab::new(2, 0);
    let (_holder, nobody) = closed();
    let (full, at) = listener(Ipv4Addr::LOCALHOST);
    // SAFETY: listen(2) takes no pointer.
    check(unsafe { libc::listen(full.as_raw_fd(), 0) }).unwrap();
    let mut filler = Lab::new(4, 0);
    for n in 0..4 {
        filler.pool.connect(SocketId(n), at, false);
    }
    filler.poll(Duration::from_secs(5));

    assert_eq!(lab.pool.connect(V4, nobody, false), Outcome::InProgress);
    lab.pool.disconnect(V4).unwrap();
    assert_eq!(lab.pool.connect(V4, at, false), Outcome::InProgress);
    for (error, hup) in [(true, true), (false, true), (true, false)] {
        let stale = Readiness {
            writable: true,
            error,
            hup,
        };
        assert_eq!(lab.pool.outcome(V4, stale), None);
    }
    assert_eq!(lab.poll(Duration::from_millis(50)), []);
}

#[test]
fn misuse_is_an_errno() {
    let mut lab = Lab::new(1, 1);
    let (_listener, at) = listener(Ipv4Addr::LOCALHOST);
    let failed = |errno| Outcome::Failed(Errno(errno));
    let nowhere = SocketId(2);
    assert_eq!(lab.pool.connect(nowhere, at, false), failed(libc::EBADF));
    let error = lab.pool.disconnect(nowhere).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert_eq!(lab.probe(V4, at, false), Outcome::Connected);
    assert_eq!(lab.pool.connect(V4, at, false), Outcome::Connected);
    assert_eq!(lab.pool.connect(V4, at, false), failed(libc::EISCONN));
    // An IPv4 target on an IPv6 socket.
    let misfit = lab.pool.connect(V6, at, false);
    assert_eq!(misfit, failed(libc::EAFNOSUPPORT));
    lab.pool.disconnect(V6).unwrap();
    lab.pool.disconnect(V6).unwrap();
}

/// A kernel without IPv6 says `EAFNOSUPPORT` of every socket of that family.
#[test]
fn a_kernel_without_ipv6_has_its_ipv4_sockets() {
    let refuse = |errno: i32| {
        move |family| match family {
            Family::V4 => Socket::open(family),
            Family::V6 => Err(io::Error::from_raw_os_error(errno)),
        }
    };
    let mut pool = Pool::open_by(1, 2, refuse(libc::EAFNOSUPPORT)).unwrap();
    assert_eq!((pool.len(), pool.v4(), pool.iter().count()), (3, 1, 1));
    let (_four, four) = listener(Ipv4Addr::LOCALHOST);
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, four.port()));
    assert_ne!(pool.connect(V4, four, false), pool.connect(V6, six, false));
    for id in [V6, SocketId(2)] {
        let refused = Outcome::Failed(Errno(libc::EAFNOSUPPORT));
        assert_eq!(pool.connect(id, six, false), refused);
        assert!(pool.disconnect(id).is_err());
    }
    let outside = Outcome::Failed(Errno(libc::EBADF));
    assert_eq!(pool.connect(SocketId(3), six, false), outside);
    // What is wanting for another reason is no smaller pool.
    let error = Pool::open_by(1, 2, refuse(libc::EMFILE)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
}
