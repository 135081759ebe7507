//! Translates `blacklist` and `blacklist_exceptions`: disks that get no map.
//!
//! In multipath-tools such a disk stays a plain disk and may be in use. Here
//!
//! - vendor and product become a SATP rule for VMW_SATP_LOCAL: the device is claimed and checked, and stays available
//!   as `/dev/sdX`. [`super::arrays`] creates the rule, because a blacklist takes precedence over `devices` for the
//!   same arrays, and because an exception covers only a part of them;
//! - a WWID becomes such a rule for the device;
//! - an entry of any kind that matches every disk becomes `map = false` for every device, and a WWID that is excepted
//!   from it `map = true` for the device.
//!
//! MASK_PATH removes a disk from the host, which would disrupt a data disk. Where this is wanted (`--mask`: management
//! LUNs, LUNs of other hosts), the same entries become claim rules. A SATP rule for a transport is looked up after
//! those for arrays, so a protocol can be expressed only by a claim rule.

use super::conf::Section;
use super::entries::{DEVICE, Entry, Named, entries};
use super::made::{Made, Wanted, Why};
use super::plan::{Plan, Remark, in_words, together};
use super::region::Region;
use super::report::Outcome;
use crate::config::settings_file::{Key, Owner, Setting};
use crate::psa::adapter::Transport;
use crate::psa::claim::lists::Permission;
use crate::psa::satp::rules::{Group, SatpRule};
use std::collections::BTreeSet;

/// The entries by vendor and product, which become SATP rules.
#[derive(Debug, Default)]
pub(super) struct Left {
    blacklist: Vec<Entry>,
    exceptions: Vec<Entry>,
}

impl Left {
    pub(super) fn regions(&self) -> impl Iterator<Item = &Region> {
        let all = self.blacklist.iter().chain(&self.exceptions);
        all.flat_map(Entry::regions)
    }

    /// The line that blacklists the arrays of a region, unless an exception covers them.
    pub(super) fn line_of(&self, region: &Region) -> Option<usize> {
        let line = line_of(&self.blacklist, region)?;
        line_of(&self.exceptions, region).is_none().then_some(line)
    }

    /// The line of the exception that takes the arrays of a region out of the blacklist.
    pub(super) fn taken_back(&self, region: &Region) -> Option<usize> {
        line_of(&self.blacklist, region)?;
        line_of(&self.exceptions, region)
    }
}

fn line_of(entries: &[Entry], region: &Region) -> Option<usize> {
    let covers = |entry: &&Entry| entry.regions().any(|own| own.covers(region));
    entries.iter().find(covers).map(|entry| entry.line)
}

/// Translates the sections. The entries by vendor and product are returned if they are to become SATP rules.
///
/// A disk is blacklisted if an entry names it and no exception of the same kind takes it back.
pub(super) fn translate(
    plan: &mut Plan,
    blacklist: &[&Section],
    exceptions: &[&Section],
    products: Vec<Entry>,
    wanted: Wanted,
) -> Left {
    let mut blacklist = entries(plan, blacklist, false);
    blacklist.extend(products);
    let (exceptions, idle): (Vec<Entry>, Vec<Entry>) = entries(plan, exceptions, true)
        .into_iter()
        .partition(|entry| {
            let is_excepted = |other: &Entry| other.kind == entry.kind && other.named.is_ok();
            !matches!(entry.named, Err((Outcome::Same, _))) && blacklist.iter().any(is_excepted)
        });
    for entry in idle {
        let why = format!("it has no effect: no {} is blacklisted", entry.kind);
        let remark = entry.named.clone().err();
        entry.report(plan, remark.unwrap_or((Outcome::LeftOut, why)));
    }
    if wanted.mask {
        mask(plan, blacklist, exceptions, wanted);
        return Left::default();
    }
    let is_device = |entry: &Entry| entry.kind == DEVICE;
    let (devices, blacklist): (Vec<Entry>, Vec<Entry>) = blacklist.into_iter().partition(is_device);
    let (excepted, exceptions): (Vec<Entry>, Vec<Entry>) =
        exceptions.into_iter().partition(is_device);
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    kinds.extend(blacklist.iter().map(|entry| entry.kind.clone()));
    let (mut blacklist, mut exceptions) = (blacklist, exceptions);
    for kind in kinds {
        let of = |all: &mut Vec<Entry>| -> Vec<Entry> {
            let (of, rest) = std::mem::take(all)
                .into_iter()
                .partition(|entry| entry.kind == kind);
            *all = rest;
            of
        };
        let (listed, excepted) = (of(&mut blacklist), of(&mut exceptions));
        leave(plan, listed, excepted, wanted);
    }
    let mut left = Left::default();
    let is_whole = excepted.iter().all(|entry| entry.named.is_ok());
    for mut entry in devices {
        if !is_whole && entry.regions().any(Region::is_any) {
            entry.report(plan, (Outcome::Refused, NOT_ALONE.to_owned()));
            continue;
        }
        match masked(plan, &mut entry) {
            Some(remark) => entry.report(plan, remark),
            None => left.blacklist.push(entry),
        }
    }
    left.exceptions = excepted;
    left
}

/// The remark on an entry that is refused, or whose arrays are all masked by claim rules. Arrays that are masked are
/// removed from the entry.
fn masked(plan: &Plan, entry: &mut Entry) -> Option<Remark> {
    let named = match &mut entry.named {
        Err(remark) => return Some(remark.clone()),
        Ok(named) => named,
    };
    let mut there = Vec::new();
    named.retain(|one| match is_masked(plan, one) {
        Some(remark) => {
            there.push(remark);
            false
        }
        None => true,
    });
    named.is_empty().then(|| together(there))
}

fn is_masked(plan: &Plan, named: &Named) -> Option<Remark> {
    let matches = named.matches();
    let rule = plan
        .is_masked(&matches)
        .or_else(|| plan.is_masked(&named.literally()))?;
    Some((Outcome::There, format!("claim {rule} masks it")))
}

/// Reports on the entries that became SATP rules.
pub(super) fn report(plan: &mut Plan, left: Left, made: &Made) {
    let is_listed = |region: &Region| line_of(&left.blacklist, region).is_some();
    let idle: Vec<bool> = left
        .exceptions
        .iter()
        .map(|entry| !entry.regions().any(is_listed))
        .collect();
    for entry in left.blacklist {
        let remark = made.remarks(|one| one.why == Why::Blacklist(entry.line));
        let remark = if remark.is_empty() {
            let excepted = entry
                .regions()
                .all(|region| line_of(&left.exceptions, region).is_some());
            if excepted {
                let why = "blacklist_exceptions excepts all of it".to_owned();
                (Outcome::LeftOut, why)
            } else {
                let what =
                    "a rule for these and other arrays leaves them as plain disks".to_owned();
                (Outcome::There, what)
            }
        } else {
            together(remark)
        };
        entry.report(plan, remark);
    }
    for (entry, idle) in left.exceptions.into_iter().zip(idle) {
        if let Err(remark) = &entry.named {
            let remark = remark.clone();
            entry.report(plan, remark);
            continue;
        }
        let remark = made.remarks(|one| one.why == Why::Exception(entry.line));
        let remark = if !remark.is_empty() {
            together(remark)
        } else if idle {
            let what = "no device that it names is blacklisted, or only some of them are";
            (Outcome::LeftOut, what.to_owned())
        } else {
            let what = "imported with the rules of its device section".to_owned();
            (Outcome::Imported, what)
        };
        entry.report(plan, remark);
    }
}

const NOT_ALONE: &str = "it applies to every disk, but its exceptions cannot be imported: without them no disk would get a map";

// ---- without MASK_PATH -----------------------------------------------------------------------------------------

/// Prevents maps for the disks that entries of one kind name, except those that exceptions of this kind take back.
fn leave(plan: &mut Plan, listed: Vec<Entry>, excepted: Vec<Entry>, wanted: Wanted) {
    if let Some(all) = excepted.iter().find(|entry| entry.is_everything()) {
        let why = format!("{} excepts all entries of this kind", plan.at(all.line));
        for entry in listed {
            let remark = entry.named.clone().err();
            entry.report(
                plan,
                remark.unwrap_or_else(|| (Outcome::LeftOut, why.clone())),
            );
        }
        for entry in excepted {
            let what = "every disk may get a map".to_owned();
            entry.report(plan, (Outcome::Same, what));
        }
        return;
    }
    let is_device = |named: &Named| matches!(named, Named::Device(_));
    let are_devices = excepted
        .iter()
        .all(|entry| entry.named.is_ok() && entry.names().iter().all(is_device));
    let everything = listed.iter().any(Entry::is_everything);
    let devices: Vec<Named> = excepted
        .iter()
        .flat_map(|entry| entry.names().to_vec())
        .collect();
    for entry in listed {
        let remark = match &entry.named {
            Err(remark) => remark.clone(),
            Ok(_) if entry.is_everything() && !are_devices => {
                (Outcome::Refused, NOT_ALONE.to_owned())
            }
            Ok(_) if entry.is_everything() => no_map(plan, Owner::EveryDevice, false),
            Ok(named) => {
                let remark = named.iter().map(|named| {
                    if devices.contains(named) {
                        let why = "blacklist_exceptions excepts it".to_owned();
                        return (Outcome::LeftOut, why);
                    }
                    one(plan, named, wanted)
                });
                together(remark.collect())
            }
        };
        entry.report(plan, remark);
    }
    for entry in excepted {
        let remark = if let Err(remark) = &entry.named {
            remark.clone()
        } else if !everything {
            let what = "it is not blacklisted here".to_owned();
            (Outcome::Same, what)
        } else if !are_devices {
            let why =
                "no setting can express it; with --mask it becomes a claim rule for NMP".to_owned();
            (Outcome::Refused, why)
        } else {
            let remark = entry.names().iter().map(|named| match named {
                Named::Device(device) => no_map(plan, Owner::Device(device.clone()), true),
                _ => (Outcome::Same, String::new()),
            });
            together(remark.collect())
        };
        entry.report(plan, remark);
    }
}

/// Sets whether a map is created.
fn no_map(plan: &mut Plan, owner: Owner, map: bool) -> Remark {
    let is_for_all = owner == Owner::EveryDevice;
    let (outcome, what) = plan.set(Key { owner, name: "map" }, Setting::Bool(map));
    if is_for_all {
        let what = format!("{what}: it matches every SCSI disk, so only excepted disks get a map");
        return (outcome, what);
    }
    (outcome, what)
}

/// Prevents maps for one device, or for the disks of a transport.
fn one(plan: &mut Plan, named: &Named, wanted: Wanted) -> Remark {
    if let Some(remark) = is_masked(plan, named) {
        return remark;
    }
    let device = match named {
        Named::Device(device) => device.clone(),
        // Such a disk has only one path.
        Named::Transport(Transport::Sata | Transport::Usb) => {
            let why = "a local disk with one path gets no map".to_owned();
            return (Outcome::Same, why);
        }
        Named::Transport(transport) => {
            let why = format!(
                "SATP rules for arrays would take precedence over one for transport {}; with --mask it becomes a claim rule for MASK_PATH",
                transport.as_str()
            );
            return (Outcome::Refused, why);
        }
        Named::Arrays(_) | Named::Everything => return (Outcome::Same, String::new()),
    };
    let rule = SatpRule {
        satp: "VMW_SATP_LOCAL".to_owned(),
        device: Some(device.into()),
        description: "blacklisted in multipath.conf".to_owned(),
        group: Group::User,
        ..SatpRule::default()
    };
    let what = in_words(&rule);
    let (outcome, remarks) = plan.add_satp_rule(rule, wanted.force);
    together(vec![(outcome, what), (outcome, remarks)])
}

// ---- with MASK_PATH --------------------------------------------------------------------------------------------

/// Creates claim rules. The first rule that matches counts, so the masks of kinds without exceptions come first, then
/// for each kind with exceptions the exceptions, followed by its masks.
fn mask(plan: &mut Plan, blacklist: Vec<Entry>, exceptions: Vec<Entry>, wanted: Wanted) {
    let kinds: BTreeSet<String> = exceptions.iter().map(|entry| entry.kind.clone()).collect();
    let exceptions = exceptions.into_iter().map(|entry| (true, entry));
    let blacklist = blacklist.into_iter().map(|entry| (false, entry));
    let mut all: Vec<(bool, Entry)> = exceptions.chain(blacklist).collect();
    all.sort_by_cached_key(|(excepts, entry)| {
        (kinds.contains(&entry.kind), entry.kind.clone(), !excepts)
    });
    for (excepts, entry) in all {
        let remark = match &entry.named {
            Err(remark) => remark.clone(),
            Ok(named) if excepts => {
                let rules = named
                    .iter()
                    .map(|named| plan.add_numbered(named.matches(), "NMP", Permission::default()));
                let (outcome, mut detail) = together(rules.collect());
                let later = kinds.iter().filter(|kind| **kind > entry.kind);
                let later: Vec<&str> = later.map(String::as_str).collect();
                if !later.is_empty() {
                    let later = later.join(", ");
                    detail += &format!("; it is also tried before the masks by {later}");
                }
                (outcome, detail)
            }
            Ok(named) => {
                let may = Permission {
                    reserved: false,
                    force: wanted.force,
                };
                let remark = named.iter().map(|named| match is_masked(plan, named) {
                    Some(remark) => remark,
                    None => plan.add_numbered(named.matches(), "MASK_PATH", may),
                });
                together(remark.collect())
            }
        };
        entry.report(plan, remark);
    }
}
