//! Reads the entries of `blacklist` and `blacklist_exceptions`: the disks that each of them names.

use super::conf::Section;
use super::expression::{self, Matches, Name};
use super::plan::{Plan, Remark};
use super::products::{models, pairs, vendors};
use super::region::Region;
use super::report::Outcome;
use super::said::{subject, value};
use super::wwid;
use crate::psa::adapter::Transport;
use crate::psa::claim::Match;
use crate::psa::names::DeviceId;
use crate::psa::pattern::Pattern;

/// What an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Everything,
    Device(String),
    Arrays(Region),
    Transport(Transport),
}

impl Named {
    /// The names taken literally: `Universal Xport`, where the pattern matches anything that begins with it.
    pub(super) fn literally(&self) -> Match {
        let plain = |pattern: &Option<Pattern>| {
            let text = pattern.as_ref().and_then(|pattern| pattern.literal());
            text.map_or_else(|| pattern.clone(), |text| Some(Pattern::literally(text)))
        };
        match self {
            Named::Arrays(region) => {
                Named::Arrays(Region::new(plain(&region.vendor), plain(&region.model))).matches()
            }
            other => other.matches(),
        }
    }

    pub(super) fn matches(&self) -> Match {
        let vendor = |region: &Region| {
            let pattern = |p: &Option<Pattern>| p.clone().unwrap_or_else(Pattern::any);
            Match::Vendor {
                vendor: pattern(&region.vendor),
                model: pattern(&region.model),
                pci: None,
            }
        };
        match self {
            Named::Everything => vendor(&Region::default()),
            Named::Device(device) => Match::Device(DeviceId::from(device.as_str())),
            Named::Transport(transport) => Match::Transport(*transport),
            Named::Arrays(region) => vendor(region),
        }
    }
}

/// An entry: its line, its name in the report, and either what it names or the remark on it.
#[derive(Debug)]
pub(super) struct Entry {
    /// `device`, `wwid`, ...: an exception applies only to entries of its own kind.
    pub(super) kind: String,
    pub(super) line: usize,
    subject: String,
    /// The lines of its keywords, if it is a section.
    within: Vec<(usize, String)>,
    pub(super) named: Result<Vec<Named>, Remark>,
}

/// The kind of entries by vendor and product.
pub(super) const DEVICE: &str = "device";

impl Entry {
    /// The entry for a `product_blacklist`.
    pub(super) fn products(
        line: usize,
        subject: String,
        named: Result<Vec<Region>, Remark>,
    ) -> Entry {
        Entry {
            kind: DEVICE.to_owned(),
            line,
            subject,
            within: Vec::new(),
            named: named.map(arrays),
        }
    }

    pub(super) fn names(&self) -> &[Named] {
        self.named.as_deref().unwrap_or_default()
    }

    pub(super) fn is_everything(&self) -> bool {
        self.names().contains(&Named::Everything)
    }

    pub(super) fn regions(&self) -> impl Iterator<Item = &Region> {
        self.names().iter().filter_map(|named| match named {
            Named::Arrays(region) => Some(region),
            _ => None,
        })
    }

    pub(super) fn report(self, plan: &mut Plan, remark: Remark) {
        let inner = match remark.0 {
            Outcome::Refused => (Outcome::LeftOut, "its section is refused".to_owned()),
            outcome => (outcome, "part of its section".to_owned()),
        };
        for (line, subject) in self.within {
            plan.report(line, subject, inner.clone());
        }
        plan.report(self.line, self.subject, remark);
    }
}

fn arrays(regions: Vec<Region>) -> Vec<Named> {
    regions.into_iter().map(Named::Arrays).collect()
}

/// Reads the entries of sections.
pub(super) fn entries(plan: &mut Plan, sections: &[&Section], excepting: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    for section in sections {
        for keyword in &section.keywords {
            let Some(said) = value(plan, &section.name, keyword) else {
                continue;
            };
            let named = match said.name {
                "wwid" => wwids(said.value),
                "protocol" => protocols(said.value),
                "devnode" => devnode(said.value, excepting),
                "property" => property(said.value, excepting),
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
        for below in &section.sections {
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
                plan.report(said.line, said.subject(&name), (Outcome::Refused, why));
                continue;
            }
        }
        within.push((keyword.line, subject(&name, keyword)));
    }
    let named = match found {
        [None, None] => Err("it has neither vendor nor product".to_owned()),
        [vendor, product] => vendor.map_or(Ok(vec![None]), vendors).and_then(|vendors| {
            let models = product.map_or(Ok(vec![None]), models)?;
            Ok(arrays(pairs(&vendors, &models)))
        }),
    };
    Entry {
        kind: DEVICE.to_owned(),
        line: section.line,
        subject: name,
        within,
        named: named.map_err(|why| (Outcome::Refused, why)),
    }
}

fn wwids(value: &str) -> Result<Vec<Named>, Remark> {
    let refused = |why: String| (Outcome::Refused, why);
    if ["eui.", "nvme.", "uuid."]
        .iter()
        .any(|scheme| value.starts_with(scheme))
    {
        let why = "an NVMe namespace: dm-psa manages only SCSI disks".to_owned();
        return Err((Outcome::Same, why));
    }
    // In a WWID, a dot is meant literally.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-_".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        let device = wwid::device(value).map_err(refused)?;
        return Ok(vec![Named::Device(device)]);
    }
    match expression::parse(value).map_err(refused)? {
        Matches::Any => Ok(vec![Named::Everything]),
        Matches::Names(names) => names
            .iter()
            .map(|name| {
                if name.more {
                    let why = "only the start of a WWID: a rule needs the whole WWID".to_owned();
                    return Err(refused(why));
                }
                wwid::device(&name.text).map(Named::Device).map_err(refused)
            })
            .collect(),
    }
}

/// The protocols of disks in multipath-tools, and the corresponding transports here. `None` means that no current disk
/// uses the protocol.
const PROTOCOLS: [(&str, Result<Option<Transport>, ()>); 11] = [
    ("scsi:fcp", Ok(Some(Transport::Fc))),
    ("scsi:iscsi", Ok(Some(Transport::Iscsi))),
    ("scsi:sas", Ok(Some(Transport::Sas))),
    ("scsi:ata", Ok(Some(Transport::Sata))),
    ("scsi:spi", Ok(Some(Transport::Parallel))),
    ("scsi:usb", Ok(Some(Transport::Usb))),
    ("scsi:adt", Ok(None)),
    ("scsi:sbp", Ok(None)),
    ("scsi:ssa", Ok(None)),
    ("scsi:srp", Err(())),
    ("scsi:unspec", Err(())),
];

fn protocols(value: &str) -> Result<Vec<Named>, Remark> {
    let refused = |why: String| (Outcome::Refused, why);
    let names = match expression::parse(value).map_err(refused)? {
        Matches::Any => return Ok(vec![Named::Everything]),
        Matches::Names(names) => names,
    };
    let fits = |protocol: &str| {
        let finds = |name: &Name| match (name.begins, name.ends && !name.more) {
            (true, true) => protocol == name.text,
            (true, false) => protocol.starts_with(&name.text),
            (false, true) => protocol.ends_with(&name.text),
            (false, false) => protocol.contains(&name.text),
        };
        names.iter().any(finds)
    };
    let found: Vec<_> = PROTOCOLS.iter().filter(|(name, _)| fits(name)).collect();
    if found.len() == PROTOCOLS.len() {
        return Ok(vec![Named::Everything]);
    }
    if let Some((name, _)) = found.iter().find(|(_, transport)| transport.is_err()) {
        return Err(refused(format!("there is no transport for `{name}`")));
    }
    let transports = found.iter().filter_map(|(_, transport)| transport.ok()?);
    let named: Vec<Named> = transports.map(Named::Transport).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    Err(if found.is_empty() {
        let what = "dm-psa manages only SCSI disks".to_owned();
        (Outcome::Same, what)
    } else {
        let why = "no SCSI disk that dm-psa manages has this protocol".to_owned();
        (Outcome::LeftOut, why)
    })
}

/// Reads a devnode entry: names that the kernel assigns in the order in which it finds disks.
fn devnode(value: &str, excepting: bool) -> Result<Vec<Named>, Remark> {
    let same = || {
        let why = "dm-psa manages only SCSI disks, sd*".to_owned();
        Err((Outcome::Same, why))
    };
    if is_every_disk(value) {
        return Ok(vec![Named::Everything]);
    }
    let inverted = value.strip_prefix('!');
    let beginnings = beginnings(inverted.unwrap_or(value));
    let is_disk = |name: &String| name.starts_with("sd") || "sd".starts_with(name.as_str());
    match (beginnings, inverted) {
        (Some(names), None) if !names.iter().any(is_disk) => same(),
        (Some(names), Some(_)) if names.iter().any(|name| name == "sd") => same(),
        _ if excepting => Err((
            Outcome::LeftOut,
            "kernel names of disks have no effect here".to_owned(),
        )),
        _ => Err((
            Outcome::Refused,
            "rules cannot match sd names, because after a reboot the name may belong to another disk: use the device identifier, `psactl storage nmp satp rule add -s VMW_SATP_LOCAL -d naa...`; a local disk with one path gets no map anyway".to_owned(),
        )),
    }
}

/// Whether an expression matches the names of all SCSI disks: `sda`, `sdaa` and so on.
fn is_every_disk(expression: &str) -> bool {
    if let Ok(Matches::Any) = expression::parse(expression) {
        return true;
    }
    let body = expression.strip_prefix('^').unwrap_or(expression);
    let body = body
        .strip_prefix('(')
        .and_then(|body| body.strip_suffix(')'))
        .unwrap_or(body);
    let mut alternatives = body.split('|');
    alternatives.any(|one| {
        let one = one.strip_prefix('^').unwrap_or(one);
        let Some(mut rest) = one.strip_prefix("sd").or_else(|| one.strip_prefix("s")) else {
            return false;
        };
        // The rest must accept any letters: a set that contains all of them, or any character.
        let mut repeats = false;
        while !rest.is_empty() {
            let set = [
                "[a-z0-9]",
                "[0-9a-z]",
                "[a-z]",
                "[a-zA-Z]",
                "[[:alpha:]]",
                "[[:alnum:]]",
                ".",
            ];
            let Some(after) = set.iter().find_map(|set| rest.strip_prefix(set)) else {
                // Digits that are optional: partitions.
                let digits = ["[0-9]*", "[[0-9]*]"];
                let Some(after) = digits.iter().find_map(|set| rest.strip_prefix(set)) else {
                    // A `$` matches all names only if more letters may come before it.
                    return rest == "$" && repeats;
                };
                rest = after;
                continue;
            };
            repeats = after.starts_with(['*', '+']);
            rest = after.strip_prefix(['*', '+', '?']).unwrap_or(after);
        }
        true
    })
}

/// The texts with which a name must begin to match an expression; `None` if this is not obvious.
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
        // An item that is repeated may occur zero times.
        let plain = if rest.starts_with(['*', '?', '{']) {
            plain.get(..plain.len().checked_sub(1)?)?
        } else {
            plain
        };
        (!plain.is_empty()).then(|| plain.to_owned())
    };
    alternatives.into_iter().map(beginning).collect()
}

fn property(value: &str, excepting: bool) -> Result<Vec<Named>, Remark> {
    if expression::parse(value) == Ok(Matches::Any) {
        return Ok(vec![Named::Everything]);
    }
    // The default exceptions of multipath-tools: devices that identify themselves.
    let names_itself = ["SCSI_IDENT_", "ID_WWN", "ID_SERIAL"];
    Err(match excepting {
        true if names_itself.iter().any(|name| value.contains(name)) => (
            Outcome::Same,
            "a device must identify itself by VPD page 83h anyway".to_owned(),
        ),
        true => (
            Outcome::Refused,
            "multipath-tools accepts only disks with this udev property; rules cannot match it"
                .to_owned(),
        ),
        false => (
            Outcome::Refused,
            "rules cannot match a udev property: use vendor and product, or the device identifier"
                .to_owned(),
        ),
    })
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
            assert_eq!(
                devnode(value, false).unwrap_err().0,
                Outcome::Same,
                "{value}"
            );
        }
        for value in [
            ".*",
            "*",
            "",
            "^sd",
            "^sd[a-z]",
            "^sd[a-z0-9]+",
            "^sd[a-z]+$",
            "^sd.*",
            "sd[a-z][[0-9]*]",
            "^(sr|sd)",
            "^s",
        ] {
            assert_eq!(
                devnode(value, false),
                Ok(vec![Named::Everything]),
                "{value}"
            );
        }
        for value in [
            "^sda",
            "^sd[a-c]$",
            "^sd[a-z]$",
            "sda",
            "^sx*",
            "^sr|sda",
            "!^sda",
            "^sd?",
        ] {
            assert_eq!(
                devnode(value, false).unwrap_err().0,
                Outcome::Refused,
                "{value}"
            );
        }
    }

    #[test]
    fn protocols_are_transports() {
        let transports = |value| protocols(value);
        assert_eq!(
            transports("scsi:(fcp|iscsi)"),
            Ok(vec![
                Named::Transport(Transport::Fc),
                Named::Transport(Transport::Iscsi)
            ])
        );
        assert_eq!(
            transports("^scsi:sas$"),
            Ok(vec![Named::Transport(Transport::Sas)])
        );
        assert_eq!(transports("scsi:.*"), Ok(vec![Named::Everything]));
        for (value, outcome) in [
            ("nvme.*", Outcome::Same),
            ("scsi:srp", Outcome::Refused),
            ("(scsi:adt|scsi:sbp)", Outcome::LeftOut),
            ("scsi:unspec", Outcome::Refused),
        ] {
            assert_eq!(transports(value).unwrap_err().0, outcome, "{value}");
        }
    }
}
