//! Converts the WWID of multipath-tools, which is the `ID_SERIAL` of udev, into the device identifier of ESXi.
//! [`crate::psa::identity`] has the opposite direction.

/// The device identifier of a WWID: `3600...` becomes `naa.600...`.
///
/// # Errors
/// What it is instead, and what to do.
pub(super) fn device(wwid: &str) -> Result<String, String> {
    let hex = |scheme: &str, digits: &str, lengths: &[usize]| {
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        (is_hex && lengths.contains(&digits.len())).then(|| format!("{scheme}.{digits}"))
    };
    // udev writes lower case digits, and multipath-tools compares case-sensitively, so the entry never had an effect.
    let small = wwid.to_ascii_lowercase();
    if wwid.starts_with(['2', '3']) && wwid != small && device(&small).is_ok() {
        return Err(format!(
            "`{wwid}` matches no disk, because WWIDs have no capital letters: write {small} if you mean that disk"
        ));
    }
    let is_name = |text: &str| {
        let named = ["iqn.", "naa.", "eui."];
        named.iter().any(|scheme| text.starts_with(scheme)) && !text.contains('\\')
    };
    let device = match wwid.split_at_checked(1) {
        Some(("3", digits)) => hex("naa", digits, &[16, 32]),
        Some(("2", digits)) => hex("eui", digits, &[16, 24, 32]),
        Some(("8", text)) if is_name(text) => Some(text.to_owned()),
        _ => None,
    };
    // The text that udev generates from a T10 designator has lost its blanks.
    device.ok_or_else(|| {
        format!("the device identifier cannot be derived from `{wwid}`: `psactl storage core device list` shows it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wwids() {
        for (wwid, wanted) in [
            (
                "3600a098038304437415d4b6a59684a52",
                "naa.600a098038304437415d4b6a59684a52",
            ),
            ("35000c50012345678", "naa.5000c50012345678"),
            ("20017380000000001", "eui.0017380000000001"),
            ("8iqn.2001-05.com.x:y", "iqn.2001-05.com.x:y"),
        ] {
            assert_eq!(device(wwid).as_deref(), Ok(wanted));
        }
        for wwid in [
            "",
            "3600",
            "3600x",
            "3600A098038304437415d4b6a59684a52",
            "1ATA_X_1",
            "SATA_X",
            "0QEMU",
            "8x",
            "ä",
            "3^600.*",
        ] {
            assert!(device(wwid).is_err(), "{wwid}");
        }
    }
}
