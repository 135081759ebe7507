//! The rows of a listing of rules, and the names of its columns.
//!
//! A row is a rule as text, with values under the names of their columns. ESXi prints a column as `Rule Group` in a
//! table and as `RuleGroup` in other formats, and so does PowerCLI, so names are compared by letters and digits only.
//! Releases have different columns; a missing column is empty.

use super::report::{Entry, Outcome};
use crate::cli::layout::Layout;
use crate::cli::layout_rules::ClaimRuleLine;
use crate::psa::satp::rules::SatpRule;

/// ESXi 6 has the maximum copy size in MB, under this name. ESXi 7 has it in KiB, under the name that psactl uses.
pub(super) const TRANSFER_SIZE_MB: &str = "XCOPY Max Transfer Size";

/// The columns of `nmp device list`, of all releases.
const DEVICE_COLUMNS: [&str; 10] = [
    "Device Display Name",
    "Storage Array Type",
    "Storage Array Type Device Config",
    "Path Selection Policy",
    "Path Selection Policy Device Config",
    "Path Selection Policy Device Custom Config",
    "Working Paths",
    "Is Local SAS Device",
    "Is Boot USB Device",
    "Is USB",
];

/// The additional columns in psactl's listing of devices, which contain nothing to import.
const OUR_COLUMNS: [&str; 2] = ["Device Mapper Name", "Path Activation"];

/// A rule, a SATP or a device of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The line where it begins, from 1.
    pub line: usize,
    /// Column names and values.
    pub cells: Vec<(String, String)>,
}

impl Row {
    /// The value of a column; empty if the listing does not have it.
    #[must_use]
    pub(super) fn get(&self, column: &str) -> &str {
        let cell = self.cells.iter().find(|(name, _)| is_same(name, column));
        cell.map_or("", |(_, value)| value)
    }

    /// Whether the listing has the column.
    #[must_use]
    pub(super) fn has(&self, column: &str) -> bool {
        self.cells.iter().any(|(name, _)| is_same(name, column))
    }
}

/// The rows of a listing, and the text that belongs to none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rows {
    /// Its rows in order.
    pub rows: Vec<Row>,
    /// Remarks on other text in the listing.
    pub asides: Vec<Entry>,
}

impl Rows {
    pub(super) fn aside(&mut self, line: usize, text: &str, outcome: Outcome, why: &str) {
        self.asides.push(Entry {
            line,
            subject: text.trim().to_owned(),
            outcome,
            detail: why.to_owned(),
        });
    }
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
}

/// Whether two names denote the same column.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    letters(one).eq(letters(other))
}

/// The columns of listings of rules, of all releases.
pub(super) fn columns() -> impl Iterator<Item = &'static str> {
    let claim = ClaimRuleLine::COLUMNS.iter().map(|(name, _)| *name);
    let satp = SatpRule::COLUMNS.iter().map(|(name, _)| *name);
    let devices = DEVICE_COLUMNS.into_iter().chain(OUR_COLUMNS);
    claim.chain(satp).chain(devices).chain([TRANSFER_SIZE_MB])
}

/// Whether these are the columns of a supported listing: at least four that are known, or the two of `satp list`.
pub(super) fn are_columns<'a>(names: impl Iterator<Item = &'a str> + Clone) -> bool {
    let has = |column: &str| names.clone().any(|name| is_same(name, column));
    names.clone().filter(|name| is_column(name)).count() >= 4 || (has("Name") && has("Default PSP"))
}

/// Whether a column with this name is known.
pub(super) fn is_column(name: &str) -> bool {
    columns().any(|column| is_same(column, name))
}

/// Whether a line is a command, or an empty shell prompt, that was copied together with the output.
pub(super) fn is_command(line: &str) -> bool {
    let line = line.trim();
    let named = ["esxcli ", "localcli ", "psactl "];
    let is_prompt = line.ends_with(['#', '$', ']', '>', '%'])
        && !line.contains('=')
        && line.split_whitespace().count() <= 2;
    is_prompt || named.iter().any(|name| line.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_matched_by_their_letters() {
        assert!(is_same("Rule Group", "RuleGroup"));
        assert!(is_same("PSP Options", "pspoptions"));
        assert!(!is_same("Rule", "Rule Class"));
        assert!(is_column("XCOPYMaxTransferSizeKiB") && is_column("XCOPY Max Transfer Size"));
        assert!(!is_column("Rules"));
    }

    #[test]
    fn commands_are_distinguished_from_listings() {
        for line in [
            "[root@esx01:~] esxcli storage nmp satp rule list",
            "~ # esxcli corestorage claimrule list",
            "[root@esx01:~]",
            "PS C:\\>",
        ] {
            assert!(is_command(line), "{line}");
        }
        assert!(!is_command("MP  101  runtime  vendor  NMP  vendor=X"));
    }
}
