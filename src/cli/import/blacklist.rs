//! `blacklist` and `blacklist_exceptions`: disks that are to get no map.
//!
//! In multipath-tools such a disk stays what it is, a disk, and may be in use. The same is said here by a SATP rule for
//! VMW_SATP_LOCAL: the device is claimed and checked, and left as `/dev/sdX`. MASK_PATH takes it away from the host,
//! which a data disk would not survive; where that is wanted (`--mask`: management LUNs, LUNs of other hosts), the
//! same entries become claim rules. A SATP rule for a transport is looked up after those for arrays, so a protocol is
//! expressible as a claim rule alone.

use super::conf::Section;
use super::devices::{Patterns, models, vendors};
use super::expression::{self, Matches};
use super::multipath::{Wanted, refuse, subject, value};
use super::plan::{Plan, Told, in_words, together};
use super::report::Outcome;
use super::wwid;
use crate::psa::adapter::Transport;
use crate::psa::claim::Match;
use crate::psa::claim::lists::Permission;
use crate::psa::pattern::Pattern;
use crate::psa::satp::rules::{Group, SatpRule};
use std::collections::BTreeSet;

/// What an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Device(String),
    Strings(Option<Pattern>, Option<Pattern>),
    Transport(Transport),
}

impl Named {
    fn everything() -> Named {
        Named::Strings(None, None)
    }

    /// As it is written: `Universal Xport`, where the pattern is whatever begins so.
    fn literally(&self) -> Match {
        let plain = |pattern: &Option<Pattern>| {
            let text = pattern.as_ref().and_then(|pattern| pattern.literal());
            text.map_or_else(|| pattern.clone(), |text| Some(Pattern::literally(text)))
        };
        match self {
            Named::Strings(vendor, model) => Named::Strings(plain(vendor), plain(model)).matches(),
            other => other.matches(),
        }
    }

    fn matches(&self) -> Match {
        match self {
            Named::Device(device) => Match::Device(device.clone()),
            Named::Transport(transport) => Match::Transport(*transport),
            Named::Strings(vendor, model) => {
                let pattern = |p: &Option<Pattern>| p.clone().unwrap_or_else(Pattern::any);
                Match::Vendor {
                    vendor: pattern(vendor),
                    model: pattern(model),
                    pci: None,
                }
            }
        }
    }
}

/// An entry: where it stands, what it is called, and what it names or what is to be said of it.
struct Entry {
    /// `device`, `wwid`, ...: an exception excepts from entries of its own kind.
    kind: String,
    line: usize,
    subject: String,
    /// The lines of its keywords, if it is a section.
    within: Vec<(usize, String)>,
    named: Result<Vec<Named>, Told>,
}

/// Translates the sections.
///
/// A disk is blacklisted if any kind of entry names it that no exception of the same kind takes back. Of claim rules
/// the first counts, so the masks of a kind without exceptions come first; then each kind with exceptions, these
/// before its masks.
pub(super) fn translate(
    plan: &mut Plan,
    blacklist: &[&Section],
    exceptions: &[&Section],
    wanted: Wanted,
) {
    let blacklist = entries(plan, blacklist, false);
    let (effective, idle): (Vec<Entry>, Vec<Entry>) = entries(plan, exceptions, true)
        .into_iter()
        .partition(|entry| {
            let is_excepted = |other: &Entry| other.kind == entry.kind && other.named.is_ok();
            entry.named.is_ok() && blacklist.iter().any(is_excepted)
        });
    for entry in idle {
        let why = format!("no {} is blacklisted that it would take back", entry.kind);
        let told = entry.named.clone().err();
        entry.tell(plan, told.unwrap_or((Outcome::LeftOut, why)));
    }
    let kinds: BTreeSet<String> = effective.iter().map(|entry| entry.kind.clone()).collect();
    let effective = effective.into_iter().map(|entry| (true, entry));
    let blacklist = blacklist.into_iter().map(|entry| (false, entry));
    let mut all: Vec<(bool, Entry)> = effective.chain(blacklist).collect();
    all.sort_by_cached_key(|(excepts, entry)| {
        (kinds.contains(&entry.kind), entry.kind.clone(), !excepts)
    });
    for (excepts, entry) in all {
        if excepts {
            let later = kinds.iter().filter(|kind| **kind > entry.kind);
            let later: Vec<&str> = later.map(String::as_str).collect();
            entry.except(plan, wanted, &later);
        } else {
            entry.blacklist(plan, wanted);
        }
    }
}

impl Entry {
    /// Lets what it names have no map.
    fn blacklist(self, plan: &mut Plan, wanted: Wanted) {
        let told = match &self.named {
            Err(told) => told.clone(),
            Ok(named) => {
                let told = named.iter().map(|named| leave(plan, named, wanted));
                together(told.collect())
            }
        };
        self.tell(plan, told);
    }

    /// Takes what it names back; the kinds `later` have exceptions too, and their masks come later.
    fn except(self, plan: &mut Plan, wanted: Wanted, later: &[&str]) {
        let told = match &self.named {
            Err(told) => told.clone(),
            Ok(named) if wanted.mask => {
                let rules = named
                    .iter()
                    .map(|named| plan.add_numbered(named.matches(), "NMP", Permission::default()));
                let (outcome, mut detail) = together(rules.collect());
                if !later.is_empty() {
                    let later = later.join(", ");
                    detail += &format!("; it is tried before the masks by {later} too");
                }
                (outcome, detail)
            }
            Ok(_) => (
                Outcome::Refused,
                "VMW_SATP_LOCAL would take it too: give it a SATP rule of its own, `psactl storage nmp satp rule add`, or import with --mask".to_owned(),
            ),
        };
        self.tell(plan, told);
    }

    fn tell(self, plan: &mut Plan, told: Told) {
        let inner = match told.0 {
            Outcome::Refused => (Outcome::LeftOut, "its section is refused".to_owned()),
            outcome => (outcome, "with its section".to_owned()),
        };
        for (line, subject) in self.within {
            plan.tell(line, subject, inner.clone());
        }
        plan.tell(self.line, self.subject, told);
    }
}

/// Lets a device have no map.
fn leave(plan: &mut Plan, named: &Named, wanted: Wanted) -> Told {
    let matches = named.matches();
    let masked = plan
        .is_masked(&matches)
        .or_else(|| plan.is_masked(&named.literally()));
    if let Some(rule) = masked {
        return (Outcome::There, format!("claim {rule} masks it"));
    }
    if wanted.mask {
        let may = Permission {
            reserved: false,
            force: wanted.force,
        };
        return plan.add_numbered(matches, "MASK_PATH", may);
    }
    let local = SatpRule {
        satp: "VMW_SATP_LOCAL".to_owned(),
        description: "blacklisted in multipath.conf".to_owned(),
        group: Group::User,
        ..SatpRule::default()
    };
    let rule = match named {
        Named::Device(device) => SatpRule {
            device: Some(device.clone()),
            ..local
        },
        Named::Strings(None, None) => {
            let why = "it is for every device: dm-psa takes what its rules say, and has no list of what is allowed alone";
            return (Outcome::Refused, why.to_owned());
        }
        Named::Strings(vendor, model) => SatpRule {
            vendor: vendor.clone(),
            model: model.clone(),
            ..local
        },
        // One path leads to a SATA disk.
        Named::Transport(Transport::Sata) => {
            let why = "a local disk that one path leads to gets no map".to_owned();
            return (Outcome::Same, why);
        }
        Named::Transport(transport) => {
            let why = format!(
                "SATP rules for arrays go before one for transport {}; with --mask it becomes a claim rule for MASK_PATH",
                transport.as_str()
            );
            return (Outcome::Refused, why);
        }
    };
    let what = in_words(&rule);
    let (outcome, remarks) = plan.add_satp_rule(rule, wanted.force);
    together(vec![(outcome, what), (outcome, remarks)])
}

/// `product_blacklist` of a device section: products of these vendors.
pub(super) fn products(plan: &mut Plan, vendors: &Patterns, value: &str, wanted: Wanted) -> Told {
    match models(value) {
        Err(why) => (Outcome::Refused, why),
        Ok(models) => {
            let named = pairs(vendors, &models);
            let told = named.iter().map(|named| leave(plan, named, wanted));
            together(told.collect())
        }
    }
}

/// Each vendor with each product.
fn pairs(vendors: &Patterns, models: &Patterns) -> Vec<Named> {
    let with = |vendor: &Option<Pattern>| {
        let named = |model: &Option<Pattern>| Named::Strings(vendor.clone(), model.clone());
        models.iter().map(named).collect::<Vec<_>>()
    };
    vendors.iter().flat_map(with).collect()
}

// ---- reading ------------------------------------------------------------------------------------------------

fn entries(plan: &mut Plan, sections: &[&Section], excepting: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    for section in sections {
        for keyword in &section.keywords {
            let Some(said) = value(plan, &section.name, keyword) else {
                continue;
            };
            let named = match said.name {
                "wwid" => wwids(said.value),
                "protocol" => protocols(said.value),
                "devnode" => Err(devnode(said.value, excepting)),
                "property" => Err(property(said.value, excepting)),
                _ => {
                    let why = "multipath-tools has no such keyword in this section".to_owned();
                    Err((Outcome::Refused, why))
                }
            };
            entries.push(Entry {
                kind: keyword.name.clone(),
                line: keyword.line,
                subject: subject(&section.name, keyword),
                within: Vec::new(),
                named,
            });
        }
        for below in section.sections.iter().filter(|s| s.name == "device") {
            for inner in &below.sections {
                refuse(plan, inner, "section device has no such section in it");
            }
            entries.push(device(plan, &section.name, below));
        }
    }
    entries
}

fn device(plan: &mut Plan, outer: &str, section: &Section) -> Entry {
    let name = format!("{outer} device");
    let mut found: [Option<&str>; 2] = [None, None];
    let mut within = Vec::new();
    for keyword in &section.keywords {
        let Some(said) = value(plan, &name, keyword) else {
            continue;
        };
        let [vendor, product] = &mut found;
        match said.name {
            "vendor" => *vendor = Some(said.value),
            "product" => *product = Some(said.value),
            _ => {
                let why = "multipath-tools has no such keyword in this section".to_owned();
                plan.tell(said.line, said.subject(&name), (Outcome::Refused, why));
                continue;
            }
        }
        within.push((keyword.line, subject(&name, keyword)));
    }
    let named = match found {
        [None, None] => Err("it names neither vendor nor product".to_owned()),
        [vendor, product] => {
            let of =
                |what: &str, value: Option<&str>, read: fn(&str) -> Result<Patterns, String>| {
                    value
                        .map_or(Ok(vec![None]), read)
                        .map_err(|why| format!("{what}: {why}"))
                };
            of("vendor", vendor, vendors).and_then(|vendors| {
                let models = of("product", product, models)?;
                Ok(pairs(&vendors, &models))
            })
        }
    };
    Entry {
        kind: "device".to_owned(),
        line: section.line,
        subject: name,
        within,
        named: named.map_err(|why| (Outcome::Refused, why)),
    }
}

fn wwids(value: &str) -> Result<Vec<Named>, Told> {
    let refused = |why: String| (Outcome::Refused, why);
    if ["eui.", "nvme.", "uuid."]
        .iter()
        .any(|scheme| value.starts_with(scheme))
    {
        let why = "an NVMe namespace: only SCSI disks are paths".to_owned();
        return Err((Outcome::Same, why));
    }
    // Who writes a WWID means its dots.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-_".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        let device = wwid::device(value).map_err(refused)?;
        return Ok(vec![Named::Device(device)]);
    }
    match expression::parse(value).map_err(refused)? {
        Matches::Any => Ok(vec![Named::everything()]),
        Matches::Names(names) => names
            .iter()
            .map(|name| {
                if name.more {
                    let why = "the beginning of a WWID: a rule names a whole device".to_owned();
                    return Err(refused(why));
                }
                wwid::device(&name.text).map(Named::Device).map_err(refused)
            })
            .collect(),
    }
}

fn protocols(value: &str) -> Result<Vec<Named>, Told> {
    let refused = |why: String| (Outcome::Refused, why);
    let names = match expression::parse(value).map_err(refused)? {
        Matches::Any => return Ok(vec![Named::everything()]),
        Matches::Names(names) => names,
    };
    let mut named = Vec::new();
    for name in names {
        let transport = match name.text.as_str() {
            "scsi:fcp" => Transport::Fc,
            "scsi:iscsi" => Transport::Iscsi,
            "scsi:sas" => Transport::Sas,
            "scsi:ata" => Transport::Sata,
            "scsi:spi" => Transport::Parallel,
            other if !other.starts_with("scsi") => continue,
            other => {
                let why = format!("there is no transport for `{other}`");
                return Err(refused(why));
            }
        };
        named.push(Named::Transport(transport));
    }
    if named.is_empty() {
        return Err((Outcome::Same, "only SCSI disks are paths".to_owned()));
    }
    Ok(named)
}

/// A devnode entry: names that the kernel gives as it finds disks.
fn devnode(value: &str, excepting: bool) -> Told {
    let same = || {
        let why = "only SCSI disks, sd*, are paths".to_owned();
        (Outcome::Same, why)
    };
    let inverted = value.strip_prefix('!');
    let beginnings = beginnings(inverted.unwrap_or(value));
    let is_disk = |name: &String| name.starts_with("sd") || "sd".starts_with(name.as_str());
    match (beginnings, inverted) {
        (Some(names), None) if !names.iter().any(is_disk) => same(),
        (Some(names), Some(_)) if names.iter().any(|name| name == "sd") => same(),
        _ if excepting => (
            Outcome::LeftOut,
            "the kernel's names of disks decide nothing here".to_owned(),
        ),
        _ => (
            Outcome::Refused,
            "the kernel gives sd names as it finds disks, so no rule goes by them: name the device, `psactl storage nmp satp rule add -s VMW_SATP_LOCAL -d naa...`".to_owned(),
        ),
    }
}

/// The texts that a name has to begin with to match an expression; `None` if that is not plain.
fn beginnings(expression: &str) -> Option<Vec<String>> {
    let body = expression.strip_prefix('^')?;
    let alternatives: Vec<&str> = match body.strip_prefix('(') {
        Some(group) => group.split_once(')')?.0.split('|').collect(),
        None => expression
            .split('|')
            .map(|one| one.strip_prefix('^'))
            .collect::<Option<_>>()?,
    };
    let beginning = |one: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let end = one.find(|c| !is_plain(c)).unwrap_or(one.len());
        let (plain, rest) = one.split_at(end);
        // What is repeated may be there no time at all.
        let plain = if rest.starts_with(['*', '?', '{']) {
            plain.get(..plain.len().checked_sub(1)?)?
        } else {
            plain
        };
        (!plain.is_empty()).then(|| plain.to_owned())
    };
    alternatives.into_iter().map(beginning).collect()
}

fn property(value: &str, excepting: bool) -> Told {
    // What multipath-tools excepts by itself: a device that names itself.
    let names_itself = ["SCSI_IDENT_", "ID_WWN", "ID_SERIAL"];
    match excepting {
        true if names_itself.iter().any(|name| value.contains(name)) => (
            Outcome::Same,
            "a device has to name itself, in VPD page 83h".to_owned(),
        ),
        true => (
            Outcome::NoEquivalent,
            "properties of udev decide nothing here".to_owned(),
        ),
        false => (
            Outcome::Refused,
            "no rule goes by a property of udev: name vendor and product, or the device".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_kernel() {
        for value in [
            "^(ram|raw|loop|fd|md|dm-|sr|scd|st)[0-9]*",
            "^hd[a-z][[0-9]*]",
            "^cciss.*",
            "^dcssblk[0-9]*",
            "!^(sd[a-z]|dasd[a-z]|nvme[0-9])",
            "^sr|^scd",
        ] {
            assert_eq!(devnode(value, false).0, Outcome::Same, "{value}");
        }
        for value in [
            "^sda",
            "^sd[a-c]$",
            "^s",
            "sda",
            ".*",
            "*",
            "^(sr|sd)",
            "^sx*",
            "^sr|sda",
            "!^sda",
            "^",
        ] {
            assert_eq!(devnode(value, false).0, Outcome::Refused, "{value}");
        }
    }

    #[test]
    fn protocols_are_transports() {
        assert_eq!(
            protocols("scsi:(fcp|iscsi)"),
            Ok(vec![
                Named::Transport(Transport::Fc),
                Named::Transport(Transport::Iscsi)
            ])
        );
        assert_eq!(protocols("nvme.*").unwrap_err().0, Outcome::Same);
        assert_eq!(protocols("scsi:srp").unwrap_err().0, Outcome::Refused);
        assert_eq!(protocols("scsi:.*").unwrap_err().0, Outcome::Refused);
    }
}
