//! Servers that behave badly, each in its own way: what a health check meets in
//! the field. They serve for as long as the process lives.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use trunnion_sys::tcp::reset_on_close;

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It reads, and says nothing.
    Hangs,
    /// It says these bytes once it was asked, and ends the stream.
    Says(&'static [u8]),
    /// It says these bytes at once, without being asked, and waits.
    Greets(&'static [u8]),
    /// It says these bytes, one each so often, over and over.
    Drips(&'static [u8], Duration),
    /// It says the first bytes, then the others without end.
    Floods(&'static [u8], &'static [u8]),
    /// It resets the connection as soon as it is there.
    ResetsAtOnce,
    /// It resets it once it was asked.
    ResetsAsked,
    /// It says these bytes and resets.
    ResetsWithin(&'static [u8]),
    /// It ends the stream once it was asked.
    Closes,
}

/// Starts a server on 127.0.0.1, in the namespace of the calling thread; where
/// it listens.
#[must_use]
pub fn serve(manner: Manner) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // Whoever goes away has had enough.
                let _ = behave(manner, stream);
            });
        }
    });
    address
}

fn behave(manner: Manner, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    match manner {
        Manner::Hangs => while stream.read(&mut request)? > 0 {},
        Manner::Says(bytes) => {
            let _ = stream.read(&mut request)?;
            stream.write_all(bytes)?;
        }
        Manner::Greets(bytes) => {
            stream.write_all(bytes)?;
            while stream.read(&mut request)? > 0 {}
        }
        Manner::Drips(bytes, each) => {
            let _ = stream.read(&mut request)?;
            for byte in bytes.iter().cycle() {
                stream.write_all(&[*byte])?;
                thread::sleep(each);
            }
        }
        Manner::Floods(first, more) => {
            let _ = stream.read(&mut request)?;
            stream.write_all(first)?;
            let more = more.repeat((64 << 10) / more.len());
            loop {
                stream.write_all(&more)?;
            }
        }
        Manner::ResetsAtOnce => reset_on_close(stream.as_fd())?,
        Manner::ResetsAsked => {
            let _ = stream.read(&mut request)?;
            reset_on_close(stream.as_fd())?;
        }
        Manner::ResetsWithin(bytes) => {
            let _ = stream.read(&mut request)?;
            stream.write_all(bytes)?;
            // What was said is to be heard first.
            thread::sleep(Duration::from_millis(20));
            reset_on_close(stream.as_fd())?;
        }
        Manner::Closes => {
            let _ = stream.read(&mut request)?;
        }
    }
    Ok(())
}
