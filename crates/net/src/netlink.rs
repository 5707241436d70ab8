//! The netlink wire: messages with nested attributes, several per send, and a socket that waits for nobody.
//!
//! rtnetlink and nfnetlink answer a request before the `send` that carried it returns, so every receive here is
//! non-blocking: a kernel that stays silent is an error, never a hang. What messages mean lives in `rtnl`, `nft`
//! and `conntrack`. Layout: netlink(7), `struct nlmsghdr` and `struct nlattr` of linux/netlink.h.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
pub const ACK: u16 = 4;
/// `NLM_F_DUMP`.
pub const DUMP: u16 = 0x300;
/// `NLM_F_CREATE | NLM_F_EXCL`.
pub const CREATE_NEW: u16 = 0x600;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_CREATE | NLM_F_APPEND`.
pub const APPEND: u16 = 0xc00;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
/// The part of an attribute's type that is its number.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// The kernel fills at most this much per receive of a dump.
const DUMP_BYTES: usize = 64 * 1024;
/// Room for an acknowledgement; the copy of the request that may follow in it is not needed.
const ANSWER_BYTES: usize = 2 * 1024;
/// Room for notifications that come together; of a long one the beginning is enough.
const NOTIFICATION_BYTES: usize = 16 * 1024;
/// More messages than this in one answer (a dump of routes or flows) is refused.
const MAX_MESSAGES: usize = 4_000_000;

/// Messages to send together, in order.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    messages: u32,
    last: usize,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Appends a message; `body` writes the family's header and the attributes. Its sequence number is its place.
    pub fn message(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        let sequence = self.messages;
        self.messages += 1;
        self.last = start;
        self.put(&[0; 4]).put(&kind.to_ne_bytes()).put(&(flags | REQUEST).to_ne_bytes());
        self.put(&sequence.to_ne_bytes()).put(&[0; 4]);
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.align();
        self
    }
    /// Raw bytes: the family's own header.
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
    /// An attribute.
    pub fn attr(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.put(&((payload.len() + 4) as u16).to_ne_bytes()).put(&kind.to_ne_bytes()).put(payload);
        self.align();
        self
    }
    /// An attribute of 32 bits in the machine's order (rtnetlink).
    pub fn attr_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }
    /// An attribute of 32 bits in network order (nfnetlink).
    pub fn attr_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }
    /// A text with its closing zero.
    pub fn attr_text(&mut self, kind: u16, text: &str) -> &mut Self {
        self.put(&((text.len() + 5) as u16).to_ne_bytes()).put(&kind.to_ne_bytes());
        self.put(text.as_bytes()).put(&[0]);
        self.align();
        self
    }
    /// An attribute made of attributes.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.put(&[0; 2]).put(&(kind | NLA_F_NESTED).to_ne_bytes());
        body(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }
    /// Asks that the message added last be acknowledged.
    pub fn acknowledge_last(&mut self) -> &mut Self {
        if let Some(flags) = u16_at(&self.bytes, self.last + 6) {
            self.bytes[self.last + 6..self.last + 8].copy_from_slice(&(flags | ACK).to_ne_bytes());
        }
        self
    }
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
    /// How many messages.
    pub fn len(&self) -> u32 {
        self.messages
    }
    /// The bytes as they are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A received message: its type and what follows the header.
pub struct Received<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// `nlmsg_pid`: of a notification, the socket whose request caused it.
    pub port: u32,
    /// The rest.
    pub body: &'a [u8],
}

/// The messages in a received buffer. One that is longer than the buffer is cut: a refusal carries the whole request
/// behind its code. Nonsense ends the walk.
pub fn messages(mut buffer: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(buffer, 0)? as usize;
        let body = buffer.get(HEADER..length.min(buffer.len()))?;
        let (kind, sequence, port) = (u16_at(buffer, 4)?, u32_at(buffer, 8)?, u32_at(buffer, 12)?);
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Received { kind, sequence, port, body })
    })
}

/// The attributes in `buffer`: number (without flags) and payload; a torn tail ends the walk.
pub fn attrs(mut buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(buffer, 0)?);
        let payload = buffer.get(4..length)?;
        let kind = u16_at(buffer, 2)? & NLA_TYPE_MASK;
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The payload of the first attribute with this number.
pub fn attr(buffer: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(buffer).find(|(k, _)| *k == kind).map(|(_, payload)| payload)
}

/// A text attribute's payload without its zero.
pub fn text(payload: &[u8]) -> &str {
    std::str::from_utf8(payload.split(|b| *b == 0).next().unwrap_or_default()).unwrap_or_default()
}

/// Four bytes at `at`, in the machine's order.
pub fn u32_at(buffer: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(buffer.get(at..at + 4)?.try_into().ok()?))
}

/// Two bytes at `at`, in the machine's order.
pub fn u16_at(buffer: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(buffer.get(at..at + 2)?.try_into().ok()?))
}

/// A request that the kernel refused: which message of the batch, and why.
#[derive(Debug)]
pub struct Refused {
    /// Place in the batch, from 0.
    pub message: u32,
    /// The kernel's reason.
    pub cause: io::Error,
}

impl From<Refused> for dhow_types::Error {
    fn from(refused: Refused) -> Self {
        refused.cause.into()
    }
}

impl From<io::Error> for Refused {
    fn from(cause: io::Error) -> Self {
        Self { message: 0, cause }
    }
}

/// A netlink socket. It belongs for ever to the network namespace of the thread that opened it.
pub struct Socket {
    fd: OwnedFd,
    port: u32,
}

impl Socket {
    /// rtnetlink: devices, addresses, routes.
    pub fn route() -> io::Result<Self> {
        Self::open(None, 0)
    }
    /// nfnetlink: nftables, connection tracking.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER), 0)
    }
    /// nfnetlink, subscribed to multicast `groups` (a mask).
    pub fn netfilter_groups(groups: u32) -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER), groups)
    }

    fn open(protocol: Option<rustix::net::Protocol>, groups: u32) -> io::Result<Self> {
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        let port = SocketAddrNetlink::try_from(rustix::net::getsockname(&fd)?)?.pid();
        Ok(Self { fd, port })
    }

    /// The socket's number, by which notifications name who caused them.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The descriptor, to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends the batch and reads the answers. The last message that should be acknowledged must carry [`ACK`];
    /// refusals come back without being asked for.
    pub fn request(&self, batch: &Batch) -> Result<(), Refused> {
        self.converse(batch, &mut [0u8; ANSWER_BYTES], &mut |_| {})
    }

    /// As [`Socket::request`], for requests that are answered with data: `each` sees every message of the answer.
    pub fn exchange(&self, batch: &Batch, each: &mut dyn FnMut(Received<'_>)) -> Result<(), Refused> {
        self.converse(batch, &mut vec![0u8; DUMP_BYTES], each)
    }

    fn converse(&self, batch: &Batch, buffer: &mut [u8], each: &mut dyn FnMut(Received<'_>)) -> Result<(), Refused> {
        self.send(batch.bytes())?;
        let mut outcome = Ok(());
        let (mut answered, mut seen) = (false, 0usize);
        loop {
            let length = match rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(io::Error::from(e).into()),
            };
            for message in messages(&buffer[..length]) {
                seen += 1;
                match message.kind {
                    NLMSG_ERROR => {
                        answered = true;
                        let code = u32_at(message.body, 0).map_or(0, |c| (c as i32).wrapping_neg());
                        if code != 0 && outcome.is_ok() {
                            let cause = io::Error::from_raw_os_error(code);
                            outcome = Err(Refused { message: message.sequence, cause });
                        }
                    }
                    NLMSG_DONE => answered = true,
                    _ => each(message),
                }
            }
            if seen > MAX_MESSAGES {
                return Err(io::Error::other("the kernel's answer over netlink is too long").into());
            }
        }
        match (outcome, answered) {
            (Ok(()), false) => Err(io::Error::other("the kernel gave no answer over netlink").into()),
            (outcome, _) => outcome,
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        let send = || rustix::net::sendto(&self.fd, bytes, SendFlags::empty(), &kernel);
        match send() {
            // Larger than the socket's buffer: a table with thousands of ports. The buffer grows once and stays.
            Err(rustix::io::Errno::MSGSIZE) => {
                sockopt::set_socket_send_buffer_size_force(&self.fd, bytes.len() * 2)?;
                send()?
            }
            other => other?,
        };
        Ok(())
    }

    /// Gives the notifications that came together to `each`. `Ok(false)` says that some were lost.
    pub fn heard(&self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        let mut buffer = [0u8; NOTIFICATION_BYTES];
        match rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => messages(&buffer[..length]).for_each(each),
            Err(rustix::io::Errno::NOBUFS) => return Ok(false),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut batch = Batch::new();
        batch.message(16, ACK, |m| {
            m.put(&[9; 4]).attr_text(3, "eth0").nest(18, |n| {
                n.attr(1, b"veth").attr_u32(2, 7).attr_be32(5, 1);
            });
        });
        batch.message(17, 0, |m| {
            m.attr(1, b"x");
        });
        let all: Vec<_> = messages(batch.bytes()).collect();
        assert_eq!(all.iter().map(|m| (m.kind, m.sequence)).collect::<Vec<_>>(), [(16, 0), (17, 1)]);
        let body = &all[0].body[4..];
        assert_eq!(text(attr(body, 3).unwrap()), "eth0");
        let nested = attr(body, 18).unwrap();
        assert_eq!((attr(nested, 1).unwrap(), u32_at(attr(nested, 2).unwrap(), 0)), (&b"veth"[..], Some(7)));
        assert_eq!(attr(nested, 5).unwrap(), [0, 0, 0, 1]);
        assert_eq!(batch.len(), 2);
    }

    #[test]
    fn torn_and_hostile_lengths_end_the_walk() {
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0, "a length of zero must not loop");
        let mut cut = [0u8; 20];
        cut[0] = 200;
        assert_eq!(messages(&cut).map(|m| m.body.len()).collect::<Vec<_>>(), [4]);
        assert_eq!(attrs(&[0; 8]).count(), 0);
        assert_eq!(attrs(&[3, 0, 1, 0, 9]).count(), 0);
        assert_eq!(attrs(&[255, 255, 1, 0, 9]).count(), 0);
        assert_eq!(attrs(&[5, 0, 1, 0, 9]).collect::<Vec<_>>(), [(1, &[9u8][..])]);
    }
}
