//! What an import of multipath.conf is to do, and the SATP rules that it creates.

use super::plan::{Remark, together};
use super::region::Region;
use super::report::Outcome;
use crate::psa::satp::rules::SatpRule;

/// Options of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Remove blacklisted disks from the host, instead of leaving them unchanged.
    pub mask: bool,
    /// Accept rules that look like a mistake.
    pub force: bool,
}

/// Why a rule is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// For a section, by its number: the last one that applies to these arrays.
    Section(usize),
    /// For values in `defaults`.
    Defaults,
    /// Because the blacklist entry at this line would include these arrays, which an exception takes back.
    Exception(usize),
    /// For the blacklist entry at this line.
    Blacklist(usize),
}

/// A rule that is created, or that exists already.
#[derive(Debug)]
pub(super) struct One {
    pub(super) region: Region,
    pub(super) rule: SatpRule,
    pub(super) why: Why,
    /// The keywords in it, with their lines.
    pub(super) keywords: Vec<(&'static str, usize)>,
    pub(super) remark: Remark,
}

/// All rules that are created.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) rules: Vec<One>,
}

impl Made {
    /// The outcome of the rules that contain a line; `None` if no rule contains it.
    pub(super) fn fate(&self, line: usize) -> Option<Outcome> {
        let has = |one: &&One| one.keywords.iter().any(|(_, of)| *of == line);
        let of = self.rules.iter().filter(has);
        let remarks: Vec<Remark> = of.map(|one| one.remark.clone()).collect();
        (!remarks.is_empty()).then(|| together(remarks).0)
    }

    /// The remarks on the rules that `is` selects. If there are many, only some are listed individually.
    pub(super) fn remarks(&self, is: impl Fn(&One) -> bool) -> Vec<Remark> {
        let of: Vec<&One> = self.rules.iter().filter(|one| is(one)).collect();
        let shown = if of.len() > SHOWN + 1 {
            SHOWN
        } else {
            of.len()
        };
        let mut remarks: Vec<Remark> = of
            .iter()
            .take(shown)
            .map(|one| one.remark.clone())
            .collect();
        let rest: Vec<Remark> = of
            .iter()
            .skip(shown)
            .map(|one| one.remark.clone())
            .collect();
        if !rest.is_empty() {
            let count = rest.len();
            let refused = rest
                .iter()
                .find(|(outcome, _)| *outcome == Outcome::Refused);
            let why = refused.map_or_else(String::new, |(_, why)| format!("; {why}"));
            let (outcome, _) = together(rest);
            let more = format!("and {count} more rules, for arrays that have their own rules{why}");
            remarks.push((outcome, more));
        }
        remarks
    }

    /// The remark on the rules that contain a keyword of `defaults`.
    pub(super) fn of_defaults(&self, name: &str) -> Option<Remark> {
        let of = self.rules.iter().filter(|one| {
            one.why == Why::Defaults && one.keywords.iter().any(|(keyword, _)| *keyword == name)
        });
        let remarks: Vec<Remark> = of.map(|one| one.remark.clone()).collect();
        let count = remarks.len();
        let (outcome, _) = (count > 0).then(|| together(remarks))?;
        let plural = if count == 1 { "" } else { "s" };
        let what = format!(
            "{count} SATP rule{plural} for arrays whose rule here, or whose entry in the hardware table of multipath-tools, differs"
        );
        Some((outcome, what))
    }
}

/// How many rules of a section the report lists individually.
const SHOWN: usize = 8;
