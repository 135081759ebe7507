//! Reads `Name: value` lines: `nmp device list`, psactl's `--formatter=list`, and `Format-List` of PowerCLI. A blank
//! line ends a record. The heading above a record names it; for a device, the name is given only there.

use super::report::Outcome;
use super::rows::{Row, Rows, is_column, is_same};

/// Whether a line contains a value of a rule.
pub(super) fn is_line(line: &str) -> bool {
    parts(line).is_some_and(|(name, _)| is_column(name))
}

fn parts(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    // PowerShell pads names, and shows the quotes of a text that was quoted twice.
    let quoted = value
        .trim()
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let inner = quoted.filter(|_| name.ends_with(' '));
    Some((name.trim(), inner.unwrap_or(value)))
}

/// Reads the records of a text.
///
/// # Errors
/// None: lines in another format are reported.
pub(super) fn read(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    let mut is_open = false;
    let mut heading: Option<&str> = None;
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            is_open = false;
            continue;
        }
        // The next device begins without a blank line before it.
        let is_device = |line: &str| {
            ["naa.", "eui.", "t10.", "mpx."]
                .iter()
                .any(|id| line.starts_with(id))
        };
        if is_device(line) && !line.trim().contains(' ') {
            is_open = false;
            heading = Some(line.trim());
            continue;
        }
        let named = parts(line).filter(|(name, _)| is_open || is_column(name));
        let Some((name, value)) = named else {
            // A heading names the record, and the record repeats the name.
            let is_heading = !is_open && !line.starts_with(' ');
            if is_heading {
                heading = Some(line.trim());
            } else {
                let why = "not a line of the form Column: value";
                rows.aside(at + 1, line, Outcome::Refused, why);
            }
            continue;
        };
        if !is_open {
            is_open = true;
            rows.rows.push(Row {
                line: at + 1,
                cells: Vec::new(),
            });
            if let (Some(row), Some(device), true) = (
                rows.rows.last_mut(),
                heading.take(),
                is_same(name, "Device Display Name"),
            ) {
                row.cells.push(("Device".to_owned(), device.to_owned()));
            }
        }
        if let Some(row) = rows.rows.last_mut() {
            row.cells.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_above() {
        let text = "\
naa.6001
   Device Display Name: X (naa.6001)
   Path Selection Policy: VMW_PSP_RR
mpx.vmhba0:C0:T0:L0
   Device Display Name: Y

Device              : naa.6002
DeviceDisplayName   : Z
PathSelectionPolicy : \"VMW_PSP_MRU\"
";
        let rows = read(text).unwrap();
        let devices: Vec<&str> = rows.rows.iter().map(|row| row.get("Device")).collect();
        assert_eq!(devices, ["naa.6001", "mpx.vmhba0:C0:T0:L0", "naa.6002"]);
        assert_eq!(rows.rows[0].get("Path Selection Policy"), "VMW_PSP_RR");
        assert_eq!(rows.rows[2].get("Path Selection Policy"), "VMW_PSP_MRU");
        assert_eq!(rows.asides, []);
    }

    #[test]
    fn records() {
        let text = "\
VMW_SATP_X
   Name: VMW_SATP_X
   Description:  a: b
   Model: 

ClaimOptions : tpgs_on
Name         : VMW_SATP_Y
 wrapped
";
        let rows = read(text).unwrap();
        assert_eq!(rows.rows.len(), 2);
        assert_eq!(rows.rows[0].get("Description"), " a: b");
        assert_eq!(rows.rows[0].get("Model"), "");
        assert_eq!(rows.rows[1].get("Name"), "VMW_SATP_Y");
        assert_eq!(rows.rows[1].get("Claim Options"), "tpgs_on");
        assert_eq!(rows.asides[0].line, 8);
    }
}
