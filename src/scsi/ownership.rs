//! Parses the vendor specific VPD pages in which older arrays with two controllers report which one serves a logical
//! unit.
//!
//! No standard describes these pages. The layout follows the fields that the kernel's handlers `scsi_dh_emc` (page C0h)
//! and `scsi_dh_rdac` (page C9h) read. The handlers read single bytes and ignore the length, so a page that ends early,
//! or has a wrong PAGE LENGTH, is accepted here too if those bytes are present.

use super::reader::{ParseError, ParseProblem, Reader};
use super::vpd;
use serde::{Deserialize, Serialize};

/// CLARiiON and VNX: state of the logical unit and of the storage processors.
pub(crate) const CLARIION_PAGE: u8 = 0xc0;

/// Arrays with RDAC controllers: volume access control.
pub(crate) const RDAC_PAGE: u8 = 0xc9;

/// The role of the controller behind a path for a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// This controller serves it.
    Owner,
    /// The other controller owns it. This one forwards I/O, or takes the unit over with the first I/O (AVT, IOSHIP).
    Forwards,
    /// The other controller serves it.
    Peer,
    /// No logical unit is bound to the LUN.
    Unbound,
}

impl Ownership {
    /// Parses page C0h: byte 4 is the state of the logical unit.
    ///
    /// # Errors
    /// The page is truncated, is another page, or has an unknown state.
    pub(crate) fn parse_clariion(data: &[u8]) -> Result<Ownership, ParseError> {
        let mut r = vpd::page_partly(CLARIION_PAGE, data)?.value.body;
        r.entering("LUN STATE");
        let at = r.clone();
        match r.u8()? {
            0 => Ok(Ownership::Unbound),
            1 => Ok(Ownership::Peer),
            2 => Ok(Ownership::Owner),
            other => Err(at.error(ParseProblem::Unexpected {
                found: other.into(),
                expected: "0 to 2",
            })),
        }
    }

    /// Parses page C9h. After the page identifier (`vac` and one character for the version), byte 8 has CVP (bit 0:
    /// this controller owns the volume), IOSHIP (bit 5) and AVTE (bit 7).
    ///
    /// # Errors
    /// The page is truncated, is another page, or lacks its identifier.
    pub(crate) fn parse_rdac(data: &[u8]) -> Result<Ownership, ParseError> {
        let mut r = vpd::page_partly(RDAC_PAGE, data)?.value.body;
        r.entering("PAGE IDENTIFIER");
        let at = r.clone();
        let identifier: [u8; 4] = r.array()?;
        if !identifier.starts_with(b"vac") {
            return Err(at.error(ParseProblem::Unexpected {
                found: u32::from_be_bytes(identifier).into(),
                expected: "`vac` and a version",
            }));
        }
        r.entering("AVTE, CVP");
        let bits = r.u8()?;
        Ok(if bits & 0x01 != 0 {
            Ownership::Owner
        } else if bits & 0xa0 != 0 {
            Ownership::Forwards
        } else {
            Ownership::Peer
        })
    }

    /// Parses the page with this code.
    ///
    /// # Errors
    /// Those of the parser of that page; [`ParseProblem::Unexpected`] if there is none.
    pub fn parse(page: u8, data: &[u8]) -> Result<Ownership, ParseError> {
        match page {
            CLARIION_PAGE => Ownership::parse_clariion(data),
            RDAC_PAGE => Ownership::parse_rdac(data),
            other => Err(
                Reader::new("VPD page", data).error(ParseProblem::Unexpected {
                    found: other.into(),
                    expected: "a page that names the owning controller",
                }),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clariion_names_the_state_of_the_unit() {
        let page = |state| [0, 0xc0, 0, 5, state, 0, 0, 1, 0];
        for (state, found) in [
            (0, Ownership::Unbound),
            (1, Ownership::Peer),
            (2, Ownership::Owner),
        ] {
            assert_eq!(Ownership::parse(0xc0, &page(state)).unwrap(), found);
        }
        assert!(Ownership::parse(0xc0, &page(3)).is_err());
        assert!(Ownership::parse(0xc0, &[0, 0xc0, 0, 5]).is_err());
        assert!(Ownership::parse(0xc0, &[0, 0x83, 0, 1, 2]).is_err());
    }

    #[test]
    fn rdac_names_the_owner_and_the_mode() {
        let page = |bits| [0, 0xc9, 0, 6, b'v', b'a', b'c', b'e', bits, 1];
        for (bits, found) in [
            (0x01, Ownership::Owner),
            (0x81, Ownership::Owner),
            (0x80, Ownership::Forwards),
            (0x20, Ownership::Forwards),
            (0x00, Ownership::Peer),
        ] {
            assert_eq!(Ownership::parse(0xc9, &page(bits)).unwrap(), found);
        }
        assert!(Ownership::parse(0xc9, &[0, 0xc9, 0, 5, b'e', b'd', b'i', b'd', 1]).is_err());
    }

    /// Real arrays send `vac1`.
    #[test]
    fn the_fourth_character_of_the_rdac_identifier_is_a_version() {
        for version in [b'1', b'2', b'e', 0] {
            let page = [0, 0xc9, 0, 5, b'v', b'a', b'c', version, 1];
            assert_eq!(Ownership::parse(0xc9, &page), Ok(Ownership::Owner));
        }
        assert!(Ownership::parse(0xc9, &[0, 0xc9, 0, 4, b'v', b'a', b'c', b'1']).is_err());
    }

    #[test]
    fn a_page_that_ends_early_serves_if_the_byte_is_there() {
        let rdac = [0, 0xc9, 0, 0x2c, b'v', b'a', b'c', b'1', 1];
        assert_eq!(Ownership::parse(0xc9, &rdac), Ok(Ownership::Owner));
        assert_eq!(
            Ownership::parse(0xc0, &[0, 0xc0, 0, 200, 1]),
            Ok(Ownership::Peer)
        );
    }
}
