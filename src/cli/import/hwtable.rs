//! The built-in table of arrays in multipath-tools 0.15, as far as its values become rules and settings; the data are
//! in `hwtable.csv`. In the order of precedence it comes with the `devices` of multipath.conf, before `defaults`. NVMe
//! is left out, because NVMe devices are not paths here.
//!
//! Vendors and products are patterns of dm-psa rules, separated by `|`.

use super::region::Region;
use crate::psa::pattern::Pattern;
use std::sync::LazyLock;

const TABLE: &str = include_str!("hwtable.csv");

/// A line of the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) regions: Vec<Region>,
    values: Vec<(&'static str, &'static str)>,
}

impl Row {
    /// The value of a keyword.
    pub(super) fn get(&self, name: &str) -> Option<&'static str> {
        let mut values = self.values.iter();
        values.find_map(|(keyword, value)| (*keyword == name).then_some(*value))
    }
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(rows);

/// The table, in its original order: if several lines match an array, the last one counts.
pub(super) fn table() -> &'static [Row] {
    &ROWS
}

fn rows() -> Vec<Row> {
    let mut lines = TABLE.lines();
    let names: Vec<&'static str> = lines.next().unwrap_or_default().split(',').collect();
    lines.map(|line| row(&names, line)).collect()
}

fn row(names: &[&'static str], line: &'static str) -> Row {
    let cells: Vec<&'static str> = line.split(',').collect();
    let patterns = |at: usize| -> Vec<Option<Pattern>> {
        let texts = cells.get(at).copied().unwrap_or_default().split('|');
        texts.map(|text| Pattern::parse(text).ok()).collect()
    };
    let (vendors, models) = (patterns(0), patterns(1));
    let with = |vendor: &Option<Pattern>| {
        let one = |model: &Option<Pattern>| Region::new(vendor.clone(), model.clone());
        models.iter().map(one).collect::<Vec<_>>()
    };
    let values = names.iter().copied().zip(cells.iter().copied()).skip(2);
    Row {
        regions: vendors.iter().flat_map(with).collect(),
        values: values.filter(|(_, value)| !value.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        let table = table();
        // 137 lines minus 12 for NVMe.
        assert_eq!(table.len(), 125);
        let count = |name: &str, value: &str| {
            let of = table.iter().filter(|row| row.get(name) == Some(value));
            of.count()
        };
        assert_eq!(count("prio", "alua"), 51);
        assert_eq!(count("prio", "rdac"), 25);
        assert_eq!(count("path_grouping_policy", "multibus"), 31);
        assert_eq!(count("path_grouping_policy", "group_by_serial"), 4);
        assert_eq!(count("no_path_retry", "30"), 52);
        assert_eq!(count("dev_loss_tmo", "infinity"), 3);
        for line in TABLE.lines().skip(1) {
            for text in line.split(',').take(2).flat_map(|cell| cell.split('|')) {
                let pattern = Pattern::parse(text).unwrap();
                assert_eq!(pattern.as_str(), text, "{line}");
            }
        }
        assert!(
            table
                .iter()
                .all(|row| !row.regions.iter().any(Region::is_any))
        );
    }
}
