//! The proof that a path leads to its logical unit: what is known, what has to be asked again, and every transition.
//!
//! Input: answers to INQUIRY and to VPD page 83h, and reasons to doubt what was proven. Output: an [`Answer`] for each
//! page. No other code changes an [`Identity`]. Invariants: a path may carry I/O only while it is [`Identity::Proven`];
//! only [`Proof::doubt`], [`Proof::reassign`], or an answer that contradicts it, ends what was proven. Every name that page 83h lists
//! identifies the unit, not only the one that dm-psa would prefer.
//!
//! | | assume | reassign | doubt | lists the expected | lists another | no logical unit | says nothing |
//! |---|---|---|---|---|---|---|---|
//! | Unknown | Assumed | Assumed | Unknown | Proven | Proven | Nameless | Nameless |
//! | Assumed | Assumed | Assumed | Assumed | Proven | Quarantined | Absent | Assumed |
//! | Proven | Proven | Assumed | Stale | Proven | Quarantined | Absent | Proven, then Stale |
//! | Stale | Stale | Assumed | Stale | Proven | Quarantined | Absent | Stale |
//! | Absent | Absent | Assumed | Absent | Proven | Quarantined | Absent | Absent |
//! | Nameless | Nameless | Assumed | Nameless | Proven | Proven | Nameless | Nameless |
//! | Quarantined | Quarantined | Assumed | Quarantined | Proven | Quarantined | Absent | Quarantined |
//!
//! "Says nothing" is a page that is refused, truncated, or lists no name; that does not prove absence. A proven path is
//! asked once more. If the second answer says nothing either, what was proven is in doubt ([`Identity::Stale`]): the
//! path is used only while no other serves, and it is never failed for this if it is the last. The same holds if page
//! 83h has not been answered at all for `VALID`.
//!
//! Tests: the table in this file; `tests/world.rs`, identity; `tests/scsi_properties.rs`.

use crate::psa::identity::{Listing, LogicalUnit, Names, Problem, contradict};
use crate::psa::names::Wwid;
use crate::psa::units::Millis;
use crate::scsi::inquiry::PeripheralQualifier;
use serde::{Deserialize, Serialize};

/// A proof remains valid for this long while page 83h is asked for and not answered (busy, timeouts).
const VALID: Millis = Millis::from_secs(60);

/// Which logical unit is behind a path, and how certain that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Not asked yet, or no answer yet.
    Unknown,
    /// The path is in the table of this device's map, found at start; nothing has been proven yet.
    Assumed(Wwid),
    /// Proven by VPD page 83h, and valid.
    Proven(LogicalUnit),
    /// Proven once, but in doubt since. It has to be proven again before the path carries I/O.
    Stale(LogicalUnit),
    /// INQUIRY or page 83h reports that there is no longer a logical unit behind the LUN.
    Absent {
        /// WWID of the device that the path belongs to.
        expected: Wwid,
        /// PERIPHERAL QUALIFIER, as received.
        qualifier: PeripheralQualifier,
    },
    /// The logical unit does not name itself: the reason. It never gets a map.
    Nameless(String),
    /// A logical unit answers that is not the one that the path was in use for.
    Quarantined {
        /// WWID of the device that the path belongs to.
        expected: Wwid,
        /// The unit that answers.
        found: LogicalUnit,
    },
}

/// What an answer to page 83h means for the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The answer may be older than the last reason to ask: the path has to be asked again.
    Outdated,
    /// The logical unit is the expected one, or the first one that this path named.
    Proven(Box<Proven>),
    /// Another logical unit is there.
    Different {
        /// The text for the log.
        found: String,
        /// Whether this was not known before.
        news: bool,
    },
    /// No logical unit is there.
    Absent {
        /// The text for the log.
        why: String,
        /// Whether this was not known before.
        news: bool,
    },
    /// The page does not identify the unit; what was known stays.
    Unproven {
        /// Why it does not.
        why: String,
        /// Whether this was not known before.
        news: bool,
        /// The path has to be asked once more now.
        repeat: bool,
    },
    /// A path that never named a unit does not name one now either.
    Nameless {
        /// Why.
        why: String,
        /// Whether this was not known before.
        news: bool,
    },
}

/// The details of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The logical unit.
    pub unit: LogicalUnit,
    /// The page lists other names too, and the names differ from those of the previous page.
    pub lists_others: bool,
    /// TARGET PORT GROUP of the path.
    pub port_group: Option<u16>,
    /// RELATIVE TARGET PORT IDENTIFIER of the path.
    pub relative_port: Option<u16>,
    /// Another unit answered before.
    pub was_quarantined: bool,
    /// No unit was there before.
    pub was_absent: bool,
    /// A part of the page that could not be read, if that was not known before.
    pub remark: Option<String>,
}

/// What is known about the logical unit behind a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    identity: Identity,
    /// When it was last proven.
    proven_at: Millis,
    /// The page that proved it, or the last page that a path without proof answered.
    page: Vec<u8>,
    /// The names of the page that last proved the identity. A page that disproves it is compared with these, however
    /// often it is answered; so are the pages of other paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Names,
    /// The next check has to read INQUIRY data and page 83h although the path is in use.
    owed: bool,
    /// The last INQUIRY reported that nothing is there. The page 83h in the same examination may be more recent, and it
    /// is not known whose INQUIRY data belong to it.
    vacant: bool,
    /// Why the identity is in doubt, or why page 83h did not identify the unit.
    problem: Option<String>,
    /// The part of the page that could not be read.
    remark: Option<String>,
}

impl Default for Proof {
    fn default() -> Proof {
        Proof {
            identity: Identity::Unknown,
            proven_at: Millis(0),
            page: Vec::new(),
            names: Names::new(),
            owed: false,
            vacant: false,
            problem: None,
            remark: None,
        }
    }
}

impl Proof {
    /// The identity of the logical unit.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the path may be given I/O.
    #[must_use]
    pub fn may_carry_io(&self) -> bool {
        matches!(self.identity, Identity::Proven(_))
    }

    /// The logical unit, if it was proven and has not been disproven since.
    #[must_use]
    pub fn unit(&self) -> Option<&LogicalUnit> {
        match &self.identity {
            Identity::Proven(unit) | Identity::Stale(unit) => Some(unit),
            _ => None,
        }
    }

    /// The names of the page that last proved it.
    #[must_use]
    pub fn names(&self) -> &[(u8, Wwid)] {
        &self.names
    }

    /// Whether another logical unit answers.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        matches!(self.identity, Identity::Quarantined { .. })
    }

    /// Whether nothing is behind the LUN.
    #[must_use]
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.identity, Identity::Absent { .. })
    }

    /// Whether it was proven, but has to be proven again before the path carries I/O.
    #[must_use]
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self.identity, Identity::Stale(_))
    }

    /// Whether the next check has to read page 83h even if nothing else requires it.
    #[must_use]
    pub(crate) fn is_owed(&self) -> bool {
        self.owed
    }

    /// Whether the last INQUIRY reported that nothing is there.
    #[must_use]
    pub(crate) fn is_vacant(&self) -> bool {
        self.vacant
    }

    /// When it was last proven.
    #[must_use]
    pub(crate) fn proven_at(&self) -> Millis {
        self.proven_at
    }

    /// VPD page 83h as it was received.
    #[must_use]
    pub fn page(&self) -> &[u8] {
        &self.page
    }

    /// Why the identity is in doubt, or why page 83h did not identify the unit.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The part of page 83h that could not be read, behind the designators that count.
    #[must_use]
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// WWID of the device that the path belongs to, if it has to be that device.
    #[must_use]
    pub fn expected(&self) -> Option<&Wwid> {
        match &self.identity {
            Identity::Proven(unit) | Identity::Stale(unit) => Some(&unit.wwid),
            Identity::Assumed(wwid) => Some(wwid),
            Identity::Absent { expected, .. } | Identity::Quarantined { expected, .. } => {
                Some(expected)
            }
            Identity::Unknown | Identity::Nameless(_) => None,
        }
    }

    /// The path is in the table of this device's map, so it belongs to the device unless an answer says otherwise.
    /// Returns whether nothing was known about it.
    pub fn assume(&mut self, wwid: &Wwid) -> bool {
        if self.identity != Identity::Unknown {
            return false;
        }
        self.identity = Identity::Assumed(wwid.to_owned());
        true
    }

    /// The path turned out to be in the table of this device's map, and belonged to another one, by the best of its names.
    /// The next check reads its page again.
    pub fn reassign(&mut self, wwid: &Wwid) {
        self.identity = Identity::Assumed(wwid.to_owned());
        self.problem = None;
        self.owed = true;
    }

    /// What was proven may no longer be true. This is the only way from Proven to Stale. Returns whether that is news.
    pub fn doubt(&mut self, why: &str) -> bool {
        let Identity::Proven(unit) = &self.identity else {
            return false;
        };
        self.identity = Identity::Stale(unit.clone());
        self.problem = Some(why.to_owned());
        true
    }

    /// Has the next check read INQUIRY data and page 83h, whatever its purpose.
    pub(crate) fn owe(&mut self) {
        self.owed = true;
    }

    /// INQUIRY was answered. If the path belongs to a device, and PERIPHERAL QUALIFIER is not "connected", no logical
    /// unit is behind it. Returns the text for the log, if that is news.
    pub(crate) fn inquired(&mut self, qualifier: PeripheralQualifier) -> Option<String> {
        self.vacant = qualifier != PeripheralQualifier::Connected && self.expected().is_some();
        if !self.vacant {
            return None;
        }
        let news = self.vacated(qualifier);
        news.then(|| Problem::NoLogicalUnit(qualifier).to_string())
    }

    /// Nothing is behind the LUN of a path that belongs to a device. Returns whether that is news.
    fn vacated(&mut self, qualifier: PeripheralQualifier) -> bool {
        let Some(expected) = self.expected().cloned() else {
            return false;
        };
        let news = !self.is_absent();
        self.identity = Identity::Absent {
            expected,
            qualifier,
        };
        // When a unit appears, its INQUIRY data are read together with its identity.
        self.owed = true;
        self.problem = None;
        news
    }

    /// Whether this page is byte for byte the one that the proven path returned before; then nothing follows from it.
    #[must_use]
    pub fn repeats(&self, page83: &[u8]) -> bool {
        self.may_carry_io() && !self.owed && self.problem.is_none() && self.page == page83
    }

    /// A page for which [`Proof::repeats`] is true came in.
    pub fn repeated(&mut self, now: Millis) {
        self.proven_at = now;
    }

    /// Page 83h was asked for and not answered. Returns whether the proof is now too old and therefore in doubt.
    pub(crate) fn unanswered(&mut self, now: Millis) -> bool {
        let late = now.since(self.proven_at) >= VALID;
        late && self.doubt("VPD page 83h was not answered for a minute")
    }

    /// Page 83h was answered, or refused for this reason. `again` means that something happened since it was asked for.
    pub fn answered(&mut self, page83: Result<&[u8], &str>, again: bool, now: Millis) -> Answer {
        if self.vacant || (self.owed && again) {
            return Answer::Outdated;
        }
        let listing = match page83 {
            Ok(page) => Listing::parse(page),
            Err(why) => Err(Problem::Unreadable(why.to_owned())),
        };
        match listing {
            Ok(listing) => self.listed(&listing, page83.unwrap_or_default(), now),
            Err(Problem::NoLogicalUnit(qualifier)) if self.expected().is_some() => {
                let news = self.vacated(qualifier);
                let why = Problem::NoLogicalUnit(qualifier).to_string();
                Answer::Absent { why, news }
            }
            Err(problem) => {
                let why = match problem {
                    Problem::Unreadable(why) => why,
                    other => other.to_string(),
                };
                self.says_nothing(page83.unwrap_or_default(), why)
            }
        }
    }

    fn listed(&mut self, listing: &Listing, page83: &[u8], now: Millis) -> Answer {
        let unit = match self.expected() {
            None => Ok(&listing.best),
            Some(wwid) => {
                let contradicted = contradict(&listing.ranked(), &self.names, wwid);
                let found = listing.find(wwid).filter(|_| !contradicted);
                found.ok_or_else(|| wwid.clone())
            }
        };
        self.owed = false;
        self.problem = None;
        let unit = match unit {
            Ok(unit) => unit,
            Err(expected) => {
                // A name that it shares with the expected unit does not distinguish the two.
                let own = listing.names().find(|unit| unit.wwid != expected);
                let found = own.unwrap_or(&listing.best).clone();
                let text = format!("{found} answers where {expected} is expected");
                let quarantined = Identity::Quarantined { expected, found };
                let news = self.identity != quarantined;
                self.identity = quarantined;
                page83.clone_into(&mut self.page);
                return Answer::Different { found: text, news };
            }
        };
        let remark = listing.remark.clone();
        let unit = match &self.identity {
            // The path keeps the name by which the unit was known.
            Identity::Proven(before) | Identity::Stale(before) => before.clone(),
            _ => unit.clone(),
        };
        let names = listing.ranked();
        let proven = Proven {
            unit: unit.clone(),
            lists_others: names.len() > 1 && names != self.names,
            port_group: listing.port_group,
            relative_port: listing.relative_port,
            was_quarantined: self.is_quarantined(),
            was_absent: self.is_absent(),
            remark: remark.clone().filter(|_| remark != self.remark),
        };
        self.names = names;
        self.remark = remark;
        self.identity = Identity::Proven(unit);
        self.proven_at = now;
        page83.clone_into(&mut self.page);
        Answer::Proven(Box::new(proven))
    }

    fn says_nothing(&mut self, page83: &[u8], why: String) -> Answer {
        if self.expected().is_none() {
            self.owed = false;
            page83.clone_into(&mut self.page);
            return self.nameless(why);
        }
        let repeat = self.problem.is_none() && self.may_carry_io();
        let differs = self.problem.as_ref() != Some(&why);
        let news = !repeat && (self.doubt(&why) || differs);
        self.problem = Some(why.clone());
        Answer::Unproven { why, news, repeat }
    }

    /// The path does not name its unit, or must not be asked for the name.
    pub(crate) fn nameless(&mut self, why: String) -> Answer {
        let news = !matches!(self.identity, Identity::Nameless(_));
        if news && self.expected().is_none() {
            self.identity = Identity::Nameless(why.clone());
        }
        Answer::Nameless { why, news }
    }

    /// The device that the path belonged to no longer needs the path; it belongs to the unit that answers. Returns that
    /// unit.
    pub(crate) fn release(&mut self) -> Option<LogicalUnit> {
        let Identity::Quarantined { found, .. } = &self.identity else {
            return None;
        };
        let found = found.clone();
        // The answer may no longer be true when the path is given I/O, so the path has to prove itself first.
        self.identity = Identity::Stale(found.clone());
        self.owed = true;
        self.names.clear();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::vpd::{
        Association, CodeSet, Designator, DesignatorType, DeviceIdentification,
    };

    /// A page that lists these NAA 6 identifiers.
    fn page(units: &[u8]) -> Vec<u8> {
        let naa = |unit: &u8| Designator {
            protocol_identifier: None,
            code_set: CodeSet::Binary,
            association: Association::LogicalUnit,
            designator_type: DesignatorType::Naa,
            bytes: [vec![0x60; 15], vec![*unit]].concat(),
        };
        DeviceIdentification {
            peripheral_qualifier: PeripheralQualifier::Connected,
            designators: units.iter().map(naa).collect(),
        }
        .to_bytes()
    }

    fn unit(n: u8) -> LogicalUnit {
        Listing::parse(&page(&[n])).unwrap().best
    }

    fn nothing(qualifier: u8) -> Vec<u8> {
        let mut page = page(&[1]);
        page[0] = qualifier << 5;
        page
    }

    fn proof(identity: Identity) -> Proof {
        Proof {
            identity,
            page: page(&[1]),
            ..Proof::default()
        }
    }

    const STATES: [&str; 7] = [
        "Unknown",
        "Assumed",
        "Proven",
        "Stale",
        "Absent",
        "Nameless",
        "Quarantined",
    ];

    fn state(name: &str) -> Proof {
        let expected = unit(1).wwid;
        proof(match name {
            "Unknown" => Identity::Unknown,
            "Assumed" => Identity::Assumed(expected),
            "Proven" => Identity::Proven(unit(1)),
            "Stale" => Identity::Stale(unit(1)),
            "Absent" => Identity::Absent {
                expected,
                qualifier: PeripheralQualifier::NotConnected,
            },
            "Nameless" => Identity::Nameless("it is refused".to_owned()),
            _ => Identity::Quarantined {
                expected,
                found: unit(2),
            },
        })
    }

    fn name(proof: &Proof) -> String {
        let text = format!("{:?}", proof.identity);
        let end = text.find(|c: char| !c.is_alphanumeric());
        text[..end.unwrap_or(text.len())].to_owned()
    }

    /// The table in the module documentation, read from this file: every state with every input.
    #[test]
    fn the_transitions_follow_the_table() {
        let text = include_str!("proof.rs");
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter_map(|line| line.strip_prefix("//! | "))
            .map(|row| row.trim_end_matches(" |").split(" | ").collect())
            .collect();
        let inputs: [&dyn Fn(&mut Proof); 7] = [
            &|proof| {
                proof.assume(&"3123".into());
            },
            &|proof| {
                proof.reassign(&"3123".into());
            },
            &|proof| {
                proof.doubt("a test");
            },
            &|proof| {
                proof.answered(Ok(&page(&[1, 7])), false, Millis(9));
            },
            &|proof| {
                proof.answered(Ok(&page(&[2, 3])), false, Millis(9));
            },
            &|proof| {
                proof.answered(Ok(&nothing(1)), false, Millis(9));
            },
            &|proof| {
                proof.answered(Err("it is refused"), false, Millis(9));
            },
        ];
        let mut walked = 0;
        for from in STATES {
            let row = rows.iter().find(|row| row[0] == from).unwrap();
            assert_eq!(row.len(), 8, "{row:?}");
            for (input, wanted) in inputs.iter().zip(&row[1..]) {
                let mut proof = state(from);
                let mut found = Vec::new();
                for _ in wanted.split(", then ") {
                    input(&mut proof);
                    found.push(name(&proof));
                }
                assert_eq!(found.join(", then "), **wanted, "{from}: {row:?}");
                assert_eq!(proof.may_carry_io(), name(&proof) == "Proven");
                walked += 1;
            }
        }
        assert_eq!(walked, 49);
    }

    #[test]
    fn every_qualifier_but_000b_means_no_logical_unit() {
        for qualifier in 1..8 {
            let mut by_page = state("Proven");
            let answer = by_page.answered(Ok(&nothing(qualifier)), false, Millis(9));
            let text = format!("PERIPHERAL QUALIFIER {qualifier:03b}b");
            assert!(
                matches!(&answer, Answer::Absent { why, news: true } if why.contains(&text)),
                "{answer:?}"
            );
            let mut by_inquiry = state("Proven");
            let said = by_inquiry.inquired(PeripheralQualifier::from_byte(qualifier << 5));
            assert!(said.unwrap().contains(&text));
            for mut proof in [by_page, by_inquiry] {
                assert!(proof.is_absent() && proof.is_owed() && !proof.may_carry_io());
                assert_eq!(proof.expected(), Some(&unit(1).wwid));
                assert_eq!(proof.inquired(PeripheralQualifier::NotCapable), None);
            }
        }
    }

    #[test]
    fn a_page_proves_nothing_while_inquiry_reports_no_logical_unit() {
        let mut proof = state("Proven");
        proof.inquired(PeripheralQualifier::NotConnected);
        let page = page(&[1]);
        assert_eq!(
            proof.answered(Ok(&page), false, Millis(9)),
            Answer::Outdated
        );
        proof.inquired(PeripheralQualifier::Connected);
        proof.answered(Ok(&page), false, Millis(9));
        assert!(proof.may_carry_io());
    }

    #[test]
    fn an_answer_that_may_be_older_than_the_reason_to_ask_proves_nothing() {
        let mut proof = state("Stale");
        proof.owe();
        let page = page(&[1]);
        assert_eq!(proof.answered(Ok(&page), true, Millis(9)), Answer::Outdated);
        assert!(!proof.may_carry_io() && proof.is_owed());
        proof.answered(Ok(&page), false, Millis(9));
        assert!(proof.may_carry_io() && !proof.is_owed());
        assert_eq!(proof.proven_at(), Millis(9));
    }

    #[test]
    fn an_unanswered_page_keeps_the_proof_for_a_minute() {
        let mut proof = state("Stale");
        proof.answered(Ok(&page(&[1])), false, Millis(1_000));
        assert!(!proof.unanswered(Millis(60_999)));
        proof.repeated(Millis(2_000));
        assert!(!proof.unanswered(Millis(61_500)));
        assert!(proof.unanswered(Millis(62_000)));
        assert!(proof.is_stale() && !proof.unanswered(Millis(99_000)));
    }

    #[test]
    fn the_name_of_a_device_stays_while_it_is_listed() {
        let mut proof = state("Proven");
        let answer = proof.answered(Ok(&page(&[1, 9])), false, Millis(9));
        let Answer::Proven(proven) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(proven.unit, unit(1));
        assert!(proof.repeats(&page(&[1, 9])) && !proof.repeats(&page(&[1])));
        proof.owe();
        assert!(!proof.repeats(&page(&[1, 9])));
    }

    /// Units that share a name by which the map is named: a T10 text without a serial number, or one of two NAA
    /// identifiers.
    #[test]
    fn a_shared_name_proves_nothing_however_often_it_is_answered() {
        let text = |own: u8| {
            let mut page = DeviceIdentification::parse(&page(&[own])).unwrap();
            page.designators.push(Designator {
                protocol_identifier: None,
                code_set: CodeSet::Ascii,
                association: Association::LogicalUnit,
                designator_type: DesignatorType::T10VendorId,
                bytes: b"VENDOR  PRODUCT".to_vec(),
            });
            page.to_bytes()
        };
        let both = |own: u8| page(&[own, 9]);
        let pages: [&dyn Fn(u8) -> Vec<u8>; 2] = [&text, &both];
        for (page, shared) in pages
            .into_iter()
            .zip(["1VENDOR_PRODUCT".into(), unit(9).wwid])
        {
            let mut proof = Proof::default();
            assert!(proof.assume(&shared));
            proof.answered(Ok(&page(1)), false, Millis(1));
            assert!(proof.may_carry_io(), "{shared}");
            for now in 2..5 {
                proof.answered(Ok(&page(2)), false, Millis(now));
                assert!(proof.is_quarantined(), "{shared}: {proof:?}");
            }
            let mut back = proof.clone();
            back.answered(Ok(&page(1)), false, Millis(9));
            assert!(back.may_carry_io(), "{shared}");
            // If the path is released, it goes to the other unit.
            assert_eq!(proof.release(), Some(unit(2)));
            proof.answered(Ok(&page(2)), false, Millis(9));
            assert!(proof.may_carry_io(), "{shared}");
        }
    }

    #[test]
    fn a_released_path_proves_itself_before_it_carries_io() {
        let mut proof = state("Quarantined");
        assert_eq!(proof.release(), Some(unit(2)));
        assert!(proof.is_stale() && proof.is_owed());
        proof.answered(Ok(&page(&[2])), false, Millis(9));
        assert_eq!(proof.identity(), &Identity::Proven(unit(2)));
        assert_eq!(proof.release(), None);
    }
}
