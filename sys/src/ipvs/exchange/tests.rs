//! On any kernel: the controller of generic netlink stands in for IPVS.

use super::*;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use trunnion_core::netlink::{Body, Flags, MessageType};

const COMMAND: Command = Command::GET_INFO;
const GET_FAMILY: u8 = 3;

fn controller(batch: &mut Batch<'_>) -> Result<u32, Refused> {
    Ok(genl::get_family(batch, "nlctrl")?)
}

fn all_families(batch: &mut Batch<'_>) -> Result<u32, Refused> {
    let control = FamilyId(MessageType::GENL_CTRL.0);
    let dump = genl::request(batch, control, GET_FAMILY, 1, Flags::DUMP, |_| {})?;
    Ok(dump)
}

/// Asks for the controller; the id it is answered with must be its own, and
/// alone.
fn ask_controller(exchange: &mut Exchange) -> Result<(), Error> {
    let mut answers = Vec::new();
    exchange.ask(COMMAND, controller, |body, offset| {
        answers.push(genl::Family::parse(body, offset)?.id);
        Ok(())
    })?;
    assert_eq!(answers, [FamilyId(16)]);
    Ok(())
}

/// Some kernels have one family, some have thirty.
fn count_families(exchange: &mut Exchange) -> Result<usize, Error> {
    let mut count = 0;
    exchange.dump(COMMAND, all_families, |body, offset| {
        genl::Family::parse(body, offset)?;
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

#[test]
fn answers_go_to_their_questions() {
    let mut exchange = Exchange::open().unwrap();
    for _ in 0..3 {
        ask_controller(&mut exchange).unwrap();
        assert!(count_families(&mut exchange).unwrap() >= 1);
        let missing = exchange.ask(
            COMMAND,
            |batch| Ok(genl::get_family(batch, "no such family")?),
            |_, _| panic!("there is no answer"),
        );
        assert!(matches!(
            missing,
            Err(Error::Kernel {
                errno: Errno::ENOENT,
                ..
            })
        ));
    }
}

#[test]
fn an_error_names_the_request_it_is_of() {
    let mut exchange = Exchange::open().unwrap();
    let built = exchange.build(|batch| {
        for number in 0..100 {
            let name = if number % 3 == 1 { "no such" } else { "nlctrl" };
            genl::get_family(batch, name)?;
        }
        Ok(())
    });
    let mut refused = Vec::new();
    let mut answered = 0;
    exchange
        .send(built.unwrap(), |answer| match answer {
            Answer::Ack(at, result, _) => refused.push((at, result)),
            Answer::Data(..) => answered += 1,
        })
        .unwrap();
    let expect: Vec<_> = (0..100)
        .filter(|number| number % 3 == 1)
        .map(|number| (number, Err(Errno::ENOENT)))
        .collect();
    assert_eq!((refused, answered), (expect, 67));
}

#[test]
fn a_question_given_up_does_not_answer_the_next() {
    let mut exchange = Exchange::open().unwrap();
    let all = count_families(&mut exchange).unwrap();
    for next in [ask_controller, |exchange: &mut Exchange| {
        count_families(exchange).map(drop)
    }] {
        // A dump is asked for, and nobody reads it.
        let mut buf = [0; 64];
        let mut batch = Batch::new(&mut buf, exchange.seq);
        all_families(&mut batch).unwrap();
        exchange.socket.send(batch.finish()).unwrap();
        exchange.behind = true;
        next(&mut exchange).unwrap();
        assert_eq!(count_families(&mut exchange).unwrap(), all);
    }
}

#[test]
fn what_answers_nobody_is_passed_over() {
    let mut exchange = Exchange::open().unwrap();
    // An ack of long ago, of which this exchange knows nothing.
    let mut buf = [0; 64];
    let mut batch = Batch::new(&mut buf, 1_000_000);
    genl::get_family(&mut batch, "no such").unwrap();
    batch.barrier().unwrap();
    exchange.socket.send(batch.finish()).unwrap();
    ask_controller(&mut exchange).unwrap();
}

#[test]
fn lost_answers_are_unknown_and_the_next_question_is_answered() {
    let mut exchange = Exchange::open().unwrap();
    exchange.socket.shrink().unwrap();
    let built = exchange.build(|batch| {
        for _ in 0..100 {
            genl::get_family(batch, "no such")?;
        }
        Ok(())
    });
    let heard = exchange.send(built.unwrap(), |_| {});
    assert!(matches!(heard, Err(Error::Unknown)), "{heard:?}");
    ask_controller(&mut exchange).unwrap();
}

#[test]
fn an_answer_that_never_comes_is_unknown() {
    let mut exchange = Exchange::open().unwrap();
    exchange.patience = Duration::from_millis(20);
    let mut built = exchange.build(controller).unwrap();
    // A barrier that was not sent is never acked.
    built.len -= 16;
    let heard = exchange.send(built, |_| {});
    assert!(matches!(heard, Err(Error::Unknown)), "{heard:?}");
    ask_controller(&mut exchange).unwrap();
}

#[test]
fn nothing_to_send_is_nothing_to_wait_for() {
    let mut exchange = Exchange::open().unwrap();
    let built = exchange.build(|_| Ok(())).unwrap();
    exchange
        .send(built, |_| panic!("nothing was asked"))
        .unwrap();
}

extern "C" fn nothing(_: libc::c_int) {}

#[test]
fn a_signal_interrupts_no_exchange() {
    // SAFETY: sigaction is plain numbers and pointers, for all of which zero
    // is a value; without SA_RESTART every call of the thread is interrupted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: a live sigaction, and a handler that does nothing.
    let set = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    // SAFETY: takes nothing, and never fails.
    let this = unsafe { libc::pthread_self() };
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let pause = Duration::from_micros(50);
            while is_done.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // SAFETY: the scope keeps the thread alive.
                unsafe { libc::pthread_kill(this, libc::SIGUSR1) };
            }
        });
        let mut exchange = Exchange::open().unwrap();
        exchange.patience = Duration::from_millis(20);
        for _ in 0..200 {
            ask_controller(&mut exchange).unwrap();
        }
        // A wait that is interrupted all the time ends all the same.
        let mut built = exchange.build(controller).unwrap();
        built.len -= 16;
        let heard = exchange.send(built, |_| {});
        assert!(matches!(heard, Err(Error::Unknown)), "{heard:?}");
        drop(done);
    });
}

#[test]
fn the_kernel_s_own_words_are_in_the_error() {
    let mut exchange = Exchange::open().unwrap();
    // A family's id has two bytes.
    let malformed = |batch: &mut Batch<'_>| {
        let control = FamilyId(MessageType::GENL_CTRL.0);
        let fill = |body: &mut Body<'_, '_>| body.u8(1, 16);
        let ask = genl::request(batch, control, GET_FAMILY, 1, Flags::empty(), fill)?;
        Ok(ask)
    };
    for dump in [false, true] {
        let never = |_: Reader<'_>, _| panic!("there is no answer");
        let refused = if dump {
            // An error of what goes before a dump is one of the dump.
            let fill = |batch: &mut Batch<'_>| {
                malformed(batch)?;
                all_families(batch)
            };
            exchange.dump(COMMAND, fill, |_, _| Ok(())).map(drop)
        } else {
            exchange.ask(COMMAND, malformed, never)
        };
        let error = refused.unwrap_err();
        let Error::Kernel { errno, words, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*errno, Errno::ERANGE);
        assert!(words.contains("policy"), "{words:?}");
        assert!(
            error
                .to_string()
                .ends_with(&format!("; the kernel says: {words}"))
        );
    }
}

/// moby/ipvs takes a dump that ends with an error for a whole one. No kernel can
/// be made to do it at will, so this is one of our own.
#[test]
fn a_dump_that_ends_with_an_error_is_one() {
    let (near, far) = UnixDatagram::pair().unwrap();
    let mut exchange = Exchange::on(Socket::from(OwnedFd::from(near)));
    let kernel = std::thread::spawn(move || {
        let mut asked = [0; 256];
        for errno in [-4_i32, 0] {
            let len = far.recv(&mut asked).unwrap();
            let seq = Messages::new(&asked[..len])
                .last()
                .unwrap()
                .unwrap()
                .header
                .seq;
            let mut buf = [0; 64];
            let mut batch = Batch::new(&mut buf, seq);
            let done = |body: &mut Body<'_, '_>| body.raw(&errno.to_ne_bytes());
            batch
                .message(MessageType::DONE, Flags::MULTI, done)
                .unwrap();
            far.send(batch.finish()).unwrap();
        }
    });
    let ended = exchange.dump(COMMAND, all_families, |_, _| Ok(()));
    assert!(
        matches!(
            ended,
            Err(Error::Kernel {
                errno: Errno::EINTR,
                ..
            })
        ),
        "{ended:?}"
    );
    exchange
        .dump(COMMAND, all_families, |_, _| Ok(()))
        .map(drop)
        .unwrap();
    kernel.join().unwrap();
}
