//! Parses the texts of the table and status of a map, as printed by the kernel.
//!
//! Most looks at a map find the same as the last one, so the texts are first compared by a hash, and parsed only if
//! they differ. Under I/O they always differ, because the path selectors print counters, although the map may be the
//! same.

use super::ioctl::{Answer, Buffer, Target};
use crate::psa::table::model::{Map, NO_TABLE};
use crate::psa::table::{parse, status};
use crate::psa::units::Sectors;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Buffers for the texts of one map, reused from look to look.
#[derive(Default)]
pub(super) struct Room {
    pub(super) table: Buffer,
    pub(super) status: Buffer,
}

/// Two answers of the kernel about one map.
pub(super) struct Texts<'a> {
    /// The table; its header is not used.
    pub(super) table: Answer<'a>,
    /// The status.
    pub(super) status: Answer<'a>,
}

impl Texts<'_> {
    /// A hash of everything that [`Texts::read`] reads: if two looks at one name have the same hash, the map is the
    /// same.
    pub(super) fn print(&self) -> u64 {
        let header = &self.status.header;
        let mut hasher = DefaultHasher::new();
        (header.uuid(), header.dev(), header.event_nr()).hash(&mut hasher);
        (header.open_count(), header.suspended(), header.read_only()).hash(&mut hasher);
        for answer in [&self.table, &self.status] {
            (answer.header.target_count(), answer.data).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The map with this name; `None` if the answers do not have the kernel's format.
    pub(super) fn read(&self, name: &str) -> Option<Map> {
        let header = &self.status.header;
        let (table, status) = (self.table.targets()?, self.status.targets()?);
        Some(Map {
            name: name.to_owned(),
            uuid: header.uuid()?.to_owned(),
            dev: header.dev(),
            event_nr: header.event_nr(),
            open_count: header.open_count(),
            suspended: header.suspended(),
            read_only: header.read_only(),
            table: multipath(&table).and_then(|(length, params)| {
                parse::parse(length, params).map_err(|error| error.to_string())
            }),
            status: multipath(&status)
                .and_then(|(_, info)| status::parse(info).map_err(|error| error.to_string())),
        })
    }
}

/// The length and text of a map's only target, if it is a multipath target.
fn multipath<'a>(targets: &[Target<'a>]) -> Result<(Sectors, &'a str), String> {
    match targets {
        [] => Err(NO_TABLE.to_owned()),
        [one] if one.kind == "multipath" && one.start == 0 => Ok((Sectors(one.length), one.text)),
        [one] => Err(format!("it is a map of type {}", one.kind)),
        [first, ..] => Err(format!(
            "it has {} targets, the first of type {}",
            targets.len(),
            first.kind
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ioctl::tests::{answer, data};
    use super::*;

    const TABLE: &str = "1 queue_if_no_path 0 1 1 service-time 0 1 2 8:16 1 1 ";
    const STATUS: &str = "2 0 0 0 1 1 A 0 1 2 8:16 A 0 0 1 ";

    fn one<'a>(kind: &'a str, text: &'a str) -> Vec<u8> {
        data(&[(0, 2048, kind, text)])
    }

    fn texts<'a>(table: &'a [u8], status: &'a [u8]) -> Texts<'a> {
        Texts {
            table: answer(table, 1),
            status: answer(status, 1),
        }
    }

    #[test]
    fn reads_a_map() {
        let (table, status) = (one("multipath", TABLE), one("multipath", STATUS));
        let map = texts(&table, &status).read("naa.6").unwrap();
        assert_eq!(
            (map.name.as_str(), map.uuid.as_str()),
            ("naa.6", "mpath-36")
        );
        assert_eq!((map.dev.major, map.dev.minor), (253, 7));
        assert_eq!((map.event_nr, map.open_count, map.suspended), (5, 2, false));
        let (table, status) = (map.table.unwrap(), map.status.unwrap());
        assert_eq!(table.length, Sectors(2048));
        assert!(table.features.queue_if_no_path && status.belongs_to(&table));
    }

    #[test]
    fn describes_maps_of_other_types() {
        let shell = Texts {
            table: answer(&[], 0),
            status: answer(&[], 0),
        };
        assert!(shell.read("x").unwrap().is_shell());
        let linear = one("linear", "8:0 0");
        let map = texts(&linear, &linear).read("x").unwrap();
        assert_eq!(map.table.unwrap_err(), "it is a map of type linear");
        let two = data(&[(0, 8, "multipath", TABLE), (8, 8, "error", "")]);
        let two = Texts {
            table: answer(&two, 2),
            status: answer(&two, 2),
        };
        assert_eq!(
            two.read("x").unwrap().status.unwrap_err(),
            "it has 2 targets, the first of type multipath"
        );
        // Cut off, or not in this format at all.
        assert_eq!(texts(&linear[..linear.len() - 1], &linear).read("x"), None);
        assert_eq!(texts(&linear, b"nonsense").read("x"), None);
    }

    #[test]
    fn a_fingerprint_covers_everything_that_is_read() {
        let (table, status) = (one("multipath", TABLE), one("multipath", STATUS));
        let first = texts(&table, &status).print();
        assert_eq!(texts(&table, &status).print(), first);

        let other = one("multipath", &TABLE.replace("8:16", "8:32"));
        assert_ne!(texts(&other, &status).print(), first);
        let longer = data(&[(0, 4096, "multipath", TABLE)]);
        assert_ne!(texts(&longer, &status).print(), first);
        let failed = one("multipath", &STATUS.replace("8:16 A", "8:16 F"));
        assert_ne!(texts(&table, &failed).print(), first);
        for (suspended, open_count) in [(true, 2), (false, 3)] {
            let mut texts = texts(&table, &status);
            texts.status = texts.status.but(suspended, open_count);
            assert_ne!(texts.print(), first);
        }
    }

    #[test]
    fn io_changes_the_fingerprint_but_not_the_map() {
        let (table, status) = (one("multipath", TABLE), one("multipath", STATUS));
        let busy = one("multipath", &STATUS.replace("A 0 0 1", "A 0 4096 1"));
        let (idle, busy) = (texts(&table, &status), texts(&table, &busy));
        assert_ne!(idle.print(), busy.print());
        assert_eq!(idle.read("x"), busy.read("x"));
    }
}
