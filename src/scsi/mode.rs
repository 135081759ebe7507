//! Parses the header of MODE SENSE (6) parameter data (SPC-5 7.5.5), as a direct access block device fills it (SBC-4
//! 6.5.1).

use super::reader::{ParseError, Reader};

/// Length of the header, in bytes.
pub(crate) const HEADER_LENGTH: u8 = 4;

/// WP: whether the logical unit rejects writes through this path. An array can answer differently for each initiator
/// port and target port, so paths to one unit may differ.
///
/// # Errors
/// Fewer than the four bytes of a header.
pub(crate) fn is_write_protected(data: &[u8]) -> Result<bool, ParseError> {
    let mut r = Reader::new("MODE DATA LENGTH", data);
    r.u8()?;
    r.entering("MEDIUM TYPE");
    r.u8()?;
    r.entering("DEVICE-SPECIFIC PARAMETER");
    let parameter = r.u8()?;
    r.entering("BLOCK DESCRIPTOR LENGTH");
    r.u8()?;
    Ok(parameter & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wp_is_the_highest_bit_of_the_third_byte() {
        assert_eq!(is_write_protected(&[3, 0, 0x80, 0]), Ok(true));
        // DPOFUA, which LIO and many arrays set, is unrelated to write protection.
        assert_eq!(is_write_protected(&[0x45, 0, 0x10, 8, 1]), Ok(false));
        let error = is_write_protected(&[3, 0, 0x80]).unwrap_err();
        assert!(
            error.to_string().contains("BLOCK DESCRIPTOR LENGTH"),
            "{error}"
        );
    }
}
