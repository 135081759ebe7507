//! Receives what transports report by netlink instead of uevents: ports and sessions that fail or recover.
//!
//! No uevent is raised when a remote port becomes `Blocked` or a session `FAILED`. Their drivers post messages of their
//! own: FC events (`fc_host_post_event`, `scsi_netlink_fc.h`) and iSCSI events (`iscsi_conn_error_event`,
//! `iscsi_if.h`). Neither contains the state, so they cause it to be read. FC messages also carry the fabric's
//! notifications about its ports ([`super::fpin`]).

use super::fpin::{self, Notification};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `NETLINK_SCSITRANSPORT`.
    Fc,
    /// `NETLINK_ISCSI`.
    Iscsi,
}

impl Kind {
    /// The sysfs class that exists while the module of the transport is loaded.
    pub(super) fn class(self) -> &'static str {
        match self {
            Kind::Fc => "fc_host",
            Kind::Iscsi => "iscsi_session",
        }
    }
}

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A SCSI host.
    Host(u32),
    /// An iSCSI session.
    Session(u32),
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    /// Something happened at this place.
    Uevent(Place),
    /// A notification of the fabric to this SCSI host.
    Fabric(u32, Notification),
}

/// A socket that receives the events of a transport.
#[derive(Debug)]
pub(super) struct Listener {
    kind: Kind,
    socket: OwnedFd,
}

impl Listener {
    /// Listens to a transport. Its module must already be loaded, because opening the socket would make the kernel load
    /// it.
    ///
    /// # Errors
    /// The kernel's error; EPERM without CAP_NET_ADMIN.
    pub(super) fn open(kind: Kind) -> io::Result<Listener> {
        // Numbers of multicast groups: SCSI_NL_GRP_FC_EVENTS is written as 1 << 2 and used as a number, so it is
        // group 4; ISCSI_NL_GRP_ISCSID is group 1.
        let (protocol, group) = match kind {
            Kind::Fc => (SockProtocol::NetlinkSCSITransport, 4),
            Kind::Iscsi => (SockProtocol::NetlinkISCSI, 1),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1 << (group - 1)))?;
        Ok(Listener { kind, socket })
    }

    /// Passes the content of every waiting message to `take`. Returns whether messages were lost.
    pub(super) fn drain(&self, mut take: impl FnMut(Received)) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let message = buffer.get(..length).unwrap_or_default();
                    if let Some(place) = place(self.kind, message) {
                        take(Received::Uevent(place));
                    }
                    for (host, notification) in notifications(self.kind, message) {
                        take(Received::Fabric(host, notification));
                    }
                }
                Err(nix::errno::Errno::EAGAIN) => return false,
                Err(nix::errno::Errno::EINTR) => {}
                // ENOBUFS: the queue was full. The rest of it is read in the next turn.
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `struct nlmsghdr`.
const NETLINK_HEADER: usize = 16;
/// `SCSI_NL_MAGIC`, `FC_NL_ASYNC_EVENT`.
const SCSI_MAGIC: u16 = 0xa1b2;
const FC_EVENT: u16 = 0x0100;

/// `FCH_EVT_LINK_FPIN` and `FCH_EVT_LINK_FPIN_ACK`.
const FPIN_EVENTS: [u32; 2] = [0x501, 0x502];

/// `ISCSI_KEVENT_*`.
const RECV_PDU: u32 = 101;
const CONN_ERROR: u32 = 102;
const UNBIND_SESSION: u32 = 105;
const CREATE_SESSION: u32 = 106;
const CONN_LOGIN_STATE: u32 = 109;

/// The place at which, according to a message, something happened.
fn place(kind: Kind, message: &[u8]) -> Option<Place> {
    let body = message.get(NETLINK_HEADER..)?;
    match kind {
        // struct scsi_nl_hdr: version, transport, magic, msgtype, msglen (8 bytes); struct fc_nl_event continues with
        // seconds (8), vendor_id (8), host_no (2).
        Kind::Fc => {
            let known = half(body, 2)? == SCSI_MAGIC && half(body, 4)? == FC_EVENT;
            known.then_some(Place::Host(half(body, 24)?.into()))
        }
        // struct iscsi_uevent: type (4), iferror (4), transport_handle (8), request (24), then the event's data, which
        // for these types begin with the number of the session.
        Kind::Iscsi => match word(body, 0)? {
            RECV_PDU | CONN_ERROR | UNBIND_SESSION | CREATE_SESSION | CONN_LOGIN_STATE => {
                Some(Place::Session(word(body, 40)?))
            }
            _ => None,
        },
    }
}

/// The fabric's notifications in an FC message, and the SCSI host that received them.
fn notifications(kind: Kind, message: &[u8]) -> Vec<(u32, Notification)> {
    let read = || {
        let Some(Place::Host(host)) = place(kind, message) else {
            return None;
        };
        // struct fc_nl_event continues with the length of the data (2), a number (4), the code (4) and the data.
        let body = message.get(NETLINK_HEADER..)?;
        let length = usize::from(half(body, 26)?);
        let is_fpin = FPIN_EVENTS.contains(&word(body, 32)?);
        let data = body.get(36..)?;
        let els = data.get(..length.min(data.len()))?;
        is_fpin.then(|| {
            fpin::parse(els)
                .into_iter()
                .map(|notification| (host, notification))
                .collect()
        })
    };
    read().unwrap_or_default()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// As received on Linux 6.12: the link of an FCoE port of host 1 went down.
    const LINK: &str = "380000001100000000000000000000000101b2a10001280031\
        54006b00000000000000000000000001000400030000000400000000000000";
    /// As received on Linux 6.12: a connection error of session 1.
    const CONNECTION: &str = "48000000000000000000000000000000660000000000000020e1a3c0ffffffff\
        0000000000000000000000000000000000000000000000000100000000000000fc03000000000000";

    #[test]
    fn messages_name_their_host_or_session() {
        assert_eq!(place(Kind::Fc, &bytes(LINK)), Some(Place::Host(1)));
        assert_eq!(
            place(Kind::Iscsi, &bytes(CONNECTION)),
            Some(Place::Session(1))
        );
        assert_eq!(notifications(Kind::Fc, &bytes(LINK)), []);
        // A message of the other protocol, or a truncated one.
        assert_eq!(place(Kind::Fc, &bytes(CONNECTION)), None);
        for length in 0..42 {
            assert_eq!(place(Kind::Fc, &bytes(LINK)[..length]), None);
            assert_eq!(place(Kind::Iscsi, &bytes(CONNECTION)[..length]), None);
        }
    }
}
