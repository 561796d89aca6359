//! Generic netlink: the header its families share, and how to find a family's
//! number. Source: linux/genetlink.h.

use super::{Attributes, Batch, Body, Fault, Flags, Full, Malformed, MessageType};
use crate::bytes::Reader;

/// Bytes of `struct genlmsghdr`.
pub const HEADER_BYTES: usize = 4;

/// A family's message type. Given out when its module loads: 28 on one kernel,
/// 30 on the next, another after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FamilyId(pub u16);

numbers! {
    /// Commands of the controller, `CTRL_CMD_*`.
    ControlCommand(u8) {
        /// A family, in a reply.
        NEW_FAMILY = 1;
        /// Asks for a family.
        GET_FAMILY = 3;
    }
}

/// `CTRL_ATTR_FAMILY_ID`.
const ATTR_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`.
const ATTR_NAME: u16 = 2;
/// `CTRL_ATTR_VERSION`.
const ATTR_VERSION: u16 = 3;
/// `CTRL_ATTR_MAXATTR`.
const ATTR_MAX: u16 = 5;

/// Appends a request to a family: its header, then what `fill` writes. Returns
/// its sequence number.
///
/// # Errors
/// [`Full`] when it does not fit; the batch is then as it was.
pub fn request<'b>(
    batch: &mut Batch<'b>,
    family: FamilyId,
    command: u8,
    version: u8,
    flags: Flags,
    fill: impl FnOnce(&mut Body<'_, 'b>),
) -> Result<u32, Full> {
    batch.message(MessageType(family.0), flags | Flags::REQUEST, |body| {
        body.raw(&[command, version, 0, 0]);
        fill(body);
    })
}

/// Appends a request for the family called `name`; the kernel loads its module
/// when it has to. The reply is a [`Family`].
///
/// # Errors
/// [`Full`] when it does not fit; the batch is then as it was.
pub fn get_family(batch: &mut Batch<'_>, name: &str) -> Result<u32, Full> {
    let control = FamilyId(MessageType::GENL_CTRL.0);
    let ControlCommand(command) = ControlCommand::GET_FAMILY;
    request(batch, control, command, 1, Flags::empty(), |body| {
        body.text(ATTR_NAME, name);
    })
}

/// A family's message, past the generic header.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The family's command.
    pub command: u8,
    /// The family's version.
    pub version: u8,
    /// Its attributes.
    pub attributes: Attributes<'a>,
}

impl<'a> Message<'a> {
    /// Reads the generic header of `body`, which starts at `offset` in its
    /// datagram: the fields of [`super::Reply::Data`].
    ///
    /// # Errors
    /// [`Malformed`] when fewer than 4 bytes are there.
    pub fn parse(mut body: Reader<'a>, offset: usize) -> Result<Self, Malformed> {
        match body.take::<HEADER_BYTES>("generic netlink header") {
            Ok([command, version, _, _]) => Ok(Self {
                command,
                version,
                attributes: Attributes::new(body, offset.saturating_add(HEADER_BYTES)),
            }),
            Err(short) => Err(Malformed {
                what: short.what,
                offset,
                fault: Fault::Short {
                    wanted: short.wanted,
                    had: short.had,
                },
            }),
        }
    }
}

/// What the controller says of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its message type.
    pub id: FamilyId,
    /// Its version.
    pub version: u32,
    /// Its highest top-level attribute; 0 when the kernel does not say.
    pub attribute_max: u32,
}

impl Family {
    /// Reads the reply to [`get_family`].
    ///
    /// # Errors
    /// [`Malformed`] when it breaks the format, is another command, or names no
    /// id.
    pub fn parse(body: Reader<'_>, offset: usize) -> Result<Self, Malformed> {
        let message = Message::parse(body, offset)?;
        if ControlCommand(message.command) != ControlCommand::NEW_FAMILY {
            return Err(Malformed {
                what: "controller command",
                offset,
                fault: Fault::Value(message.command.into()),
            });
        }
        let mut id = None;
        let mut version = 0;
        let mut attribute_max = 0;
        for attribute in message.attributes {
            let attribute = attribute?;
            match attribute.kind {
                ATTR_ID => id = Some(FamilyId(attribute.u16("CTRL_ATTR_FAMILY_ID")?)),
                ATTR_VERSION => version = attribute.u32("CTRL_ATTR_VERSION")?,
                ATTR_MAX => attribute_max = attribute.u32("CTRL_ATTR_MAXATTR")?,
                _ => {}
            }
        }
        let id = id.ok_or(Malformed {
            what: "CTRL_ATTR_FAMILY_ID",
            offset,
            fault: Fault::Missing,
        })?;
        Ok(Self {
            id,
            version,
            attribute_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Messages, Reply};
    use std::string::ToString;

    #[test]
    fn a_family_is_asked_for_by_name() {
        let mut buf = [0xa5; 64];
        let mut batch = Batch::new(&mut buf, 3);
        assert_eq!(get_family(&mut batch, "IPVS"), Ok(3));
        let sent = batch.finish();
        let message = Messages::new(sent).next().unwrap().unwrap();
        assert_eq!(message.header.kind, MessageType::GENL_CTRL);
        assert_eq!(message.header.flags, Flags::REQUEST);
        assert_eq!(message.header.len as usize, sent.len());
        let inner = Message::parse(message.body, message.offset).unwrap();
        assert_eq!((inner.command, inner.version), (3, 1));
        let mut attributes = inner.attributes;
        let name = attributes.next().unwrap().unwrap();
        assert_eq!((name.kind, name.value.peek()), (2, &b"IPVS\0"[..]));
        assert_eq!(attributes.next(), None);
    }

    #[test]
    fn a_family_is_read_from_its_reply_and_needs_an_id() {
        let reply = |command: u8, with_id: bool| {
            let mut buf = [0; 128];
            let mut batch = Batch::new(&mut buf, 3);
            batch
                .message(MessageType::GENL_CTRL, Flags::empty(), |body| {
                    body.raw(&[command, 2, 0, 0]);
                    body.text(ATTR_NAME, "IPVS");
                    if with_id {
                        body.u16(ATTR_ID, 30);
                    }
                    body.u32(ATTR_VERSION, 1);
                    body.u32(4, 0);
                    body.u32(ATTR_MAX, 6);
                })
                .unwrap();
            let message = Messages::new(batch.finish()).next().unwrap().unwrap();
            match Reply::parse(&message) {
                Ok(Reply::Data { body, offset, .. }) => Family::parse(body, offset),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            reply(1, true),
            Ok(Family {
                id: FamilyId(30),
                version: 1,
                attribute_max: 6
            })
        );
        assert_eq!(
            reply(1, false).unwrap_err().to_string(),
            "CTRL_ATTR_FAMILY_ID at byte 16: missing"
        );
        assert_eq!(
            reply(3, true).unwrap_err().to_string(),
            "controller command at byte 16: 0x3 is not a value it can have"
        );
    }
}
