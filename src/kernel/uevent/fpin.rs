//! Parses Fabric Performance Impact Notifications (FPIN, FC-LS-5): the fabric reports that a link loses frames, or that
//! a port cannot keep up. The HBA's driver passes the ELS to the kernel (`fc_host_fpin_rcv`), which counts and posts
//! it.
//!
//! Pure functions: bytes in, ports out.

use crate::scsi::ParseError;
use crate::scsi::reader::Reader;
use std::collections::BTreeSet;

/// `ELS_FPIN`.
const FPIN: u8 = 0x16;
/// Tags of the descriptors that name ports (`ELS_FPIN_LIN_DESC_TAG`, `ELS_FPIN_PEER_CONGEST_DESC_TAG`). Congestion of
/// the local port, or a dropped frame, is no reason to prefer one path over another.
const LINK_INTEGRITY: u32 = 0x0002_0001;
const PEER_CONGESTION: u32 = 0x0002_0003;

/// The content of a notification: the names of the ports, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Notification {
    pub(super) ports: BTreeSet<u64>,
    pub(super) what: &'static str,
}

/// Parses the descriptors of an ELS. Truncated or unknown descriptors are left out.
///
/// All numbers are big-endian. The ELS is a command byte, three zero bytes and the length of all descriptors. A
/// descriptor is a tag (4 bytes), the length of the rest (4), and the rest.
pub(super) fn parse(els: &[u8]) -> Vec<Notification> {
    let mut reader = Reader::new("FPIN", els);
    let mut found = Vec::new();
    if reader.u8() != Ok(FPIN) || reader.skip(7).is_err() {
        return found;
    }
    while let (Ok(tag), Ok(length)) = (reader.u32(), reader.u32()) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let descriptor = reader.part_up_to(length, &mut None);
        let (what, numbers) = match tag {
            LINK_INTEGRITY => ("errors on the link", 2),
            PEER_CONGESTION => ("congestion at the port", 1),
            _ => continue,
        };
        let ports = ports(descriptor, numbers);
        if !ports.is_empty() {
            found.push(Notification { ports, what });
        }
    }
    found
}

/// The ports in a descriptor. Its fields are: the port that detected the problem (8 bytes), the port at the other end
/// of its link (8), type (2), modifier (2), threshold or period and, for link integrity, count (4 each), the number of
/// ports behind that link (4), and their names (8 each).
fn ports(mut descriptor: Reader<'_>, numbers: usize) -> BTreeSet<u64> {
    let mut ports = BTreeSet::new();
    let mut read = || {
        descriptor.skip(8)?;
        ports.insert(descriptor.u64()?);
        descriptor.skip(4 + 4 * numbers)?;
        for _ in 0..descriptor.u32()? {
            ports.insert(descriptor.u64()?);
        }
        Ok::<(), ParseError>(())
    };
    // If the descriptor is truncated, the ports read so far are returned.
    let _ = read();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETECTING: u64 = 0x2000_0000_0000_0001;
    const ATTACHED: u64 = 0x2000_0000_0000_0002;

    /// An ELS with these descriptors: tag, how many numbers of 4 bytes precede the count of ports, ports.
    fn els(descriptors: &[(u32, usize, &[u64])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (tag, numbers, ports) in descriptors {
            let length = 16 + 4 + 4 * numbers + 4 + 8 * ports.len();
            body.extend(tag.to_be_bytes());
            body.extend((length as u32).to_be_bytes());
            body.extend(DETECTING.to_be_bytes());
            body.extend(ATTACHED.to_be_bytes());
            body.extend([0, 1, 0, 0]);
            body.extend(vec![0; 4 * numbers]);
            body.extend((ports.len() as u32).to_be_bytes());
            ports
                .iter()
                .for_each(|port| body.extend(port.to_be_bytes()));
        }
        let mut els = vec![FPIN, 0, 0, 0];
        els.extend((body.len() as u32).to_be_bytes());
        els.extend(body);
        els
    }

    #[test]
    fn the_ports_behind_a_bad_link_are_reported() {
        let notifications = parse(&els(&[
            (LINK_INTEGRITY, 2, &[7, 8]),
            (0x0002_0002, 2, &[9]),
            (PEER_CONGESTION, 1, &[10]),
        ]));
        assert_eq!(notifications.len(), 2);
        assert_eq!(notifications[0].ports, BTreeSet::from([7, 8, ATTACHED]));
        assert_eq!(notifications[0].what, "errors on the link");
        assert_eq!(notifications[1].ports, BTreeSet::from([10, ATTACHED]));
        assert_eq!(notifications[1].what, "congestion at the port");
    }

    #[test]
    fn truncated_or_invalid_notifications_are_skipped() {
        let whole = els(&[(LINK_INTEGRITY, 2, &[7, 8])]);
        for length in 0..whole.len() {
            for notifications in parse(&whole[..length]) {
                assert!(
                    notifications
                        .ports
                        .is_subset(&BTreeSet::from([7, 8, ATTACHED]))
                );
            }
        }
        assert_eq!(parse(&[0x15; 64]), []);
        let mut absurd = whole.clone();
        // More ports than fit into any frame, and a length beyond the end.
        absurd[8 + 36..8 + 40].fill(0xff);
        absurd[12..16].fill(0xff);
        assert_eq!(parse(&absurd)[0].ports, BTreeSet::from([7, 8, ATTACHED]));
    }
}
