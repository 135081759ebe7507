//! Explains why things are as they are: the trace of every decision on a device or a path, as text for users.

use crate::psa::check::{hints, marginal};
use crate::psa::claiming::selection;
use crate::psa::identity::Problem;
use crate::psa::mpp::Plugin;
use crate::psa::reconcile::lone;
use crate::psa::reconcile::lone::Lone;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::outages::Apd;
use crate::psa::state::path::Path;
use crate::psa::state::proof::Identity;
use crate::psa::table::model::{GroupState, Map};
use crate::psa::units::Millis;

/// A titled list of lines.
pub(super) type Section = (&'static str, Vec<String>);

/// How rules that do not match are shown.
#[derive(Clone, Copy)]
enum Rules {
    /// Successive rules that fail for the same reason share a line.
    Summarized,
    /// Each rule has a line.
    Each,
}

impl World {
    /// Explains a device or a path, given any of its names. Returns the full name of what was found, and the sections;
    /// `None` if nothing has this name. Successive rules that do not match for the same reason share a line.
    #[must_use]
    pub fn explain(&self, subject: &str) -> Option<(String, Vec<Section>)> {
        self.explain_with(subject, Rules::Summarized)
    }

    /// As [`World::explain`], with a line for each rule that was tried.
    #[must_use]
    pub(crate) fn explain_in_full(&self, subject: &str) -> Option<(String, Vec<Section>)> {
        self.explain_with(subject, Rules::Each)
    }

    fn explain_with(&self, subject: &str, rules: Rules) -> Option<(String, Vec<Section>)> {
        if let Some(device) = self.find_device(subject) {
            return Some((device.id().to_string(), self.explain_device(device, rules)));
        }
        let path = self.find_path(subject)?;
        let mut sections = self.explain_path(path, rules);
        if let Some(device) = self.device_of(path) {
            sections.extend(self.explain_device(device, rules));
        }
        Some((format!("{} ({})", path.name(), path.facts().hctl), sections))
    }

    fn explain_path(&self, path: &Path, rules: Rules) -> Vec<Section> {
        let facts = path.facts();
        let disk = facts.block.as_ref().map_or_else(
            || "no disk".to_owned(),
            |b| format!("{} ({})", b.name, b.dev),
        );
        let mut address = vec![
            format!(
                "{disk} at {}, {} through {} ({})",
                facts.hctl,
                facts.transport.as_str(),
                facts.adapter.identifier,
                facts.adapter.driver
            ),
            format!("target {}{}", facts.target.identifier, port_state(path)),
        ];
        if facts.device_type != 0 {
            address.push(format!(
                "peripheral device type {} is not a disk: it is not claimed",
                facts.device_type
            ));
        }
        if facts.sg.is_none() {
            address.push(
                "it has no sg device, so it is not checked: load the module sg (`modprobe sg`)"
                    .to_owned(),
            );
        }
        vec![
            ("Path", address),
            ("State", self.state_lines(path)),
            ("Identity", identity_lines(path)),
            ("Claim rules", self.claim_lines(path, rules)),
        ]
    }

    /// Every claim rule that is tried on the path, by the rules that are loaded now.
    fn claim_lines(&self, path: &Path, rules: Rules) -> Vec<String> {
        let (Some(claim), Some(subject)) = (path.owner.claim(), self.subject(path)) else {
            return vec!["not claimed: its INQUIRY data are not known".to_owned()];
        };
        let (now, mut lines) = match rules {
            Rules::Each => self.rules.claim.trace(&subject),
            Rules::Summarized => self.rules.claim.summarize(&subject),
        };
        if now != claim {
            // New rules do not affect what is already claimed.
            let before = self.rules.claim.describe(claim);
            lines.push(format!(
                "it stays as it was claimed before these rules were loaded: {before}"
            ));
        }
        lines
    }

    fn state_lines(&self, path: &Path) -> Vec<String> {
        let mut lines = vec![state_line(path, self.now)];
        match path.facts().device_state.as_str() {
            "running" => {}
            // Only an admin may bring such a device back. If a probe hung again, the error handling would stop every
            // device of the host once more.
            "offline" => lines.push(format!(
                "the kernel's error handling set it to `offline`; when the fault is fixed: \
                 echo running > /sys/bus/scsi/devices/{}/state",
                path.facts().hctl
            )),
            other => lines.push(format!("its state in the kernel is `{other}`")),
        }
        if let Some(why) = path.access.problem() {
            lines.push(format!(
                "its report of target port groups or owners cannot be read: {why}"
            ));
        }
        lines.extend(hints::hint_line(self, path));
        lines.extend(marginal::marginal_line(self, path));
        if path.failures.hold_until() > self.now {
            lines.push(format!(
                "the kernel failed it {} times in a row although checks succeeded: not reinstated for another {} ms",
                path.failures.relapses().saturating_add(1),
                path.failures.hold_until().since(self.now).0
            ));
        }
        lines
    }

    fn explain_device(&self, device: &Device, rules: Rules) -> Vec<Section> {
        let mut sections = Vec::new();
        let claims: Vec<String> = self
            .paths_of(device)
            .map(|path| match path.owner.claim() {
                Some(claim) => format!("{}: {}", path.name(), self.rules.claim.describe(claim)),
                None => format!("{}: not claimed yet", path.name()),
            })
            .collect();
        sections.push(("Claim rules", claims));
        let (title, mut lines) = match device.plugin() {
            Plugin::Hpp => ("HPP", self.hpp_lines(device)),
            _ => ("SATP", self.satp_lines(device, rules)),
        };
        lines.push(match &device.disposition {
            Disposition::Stacked => match lone::lone(self, device) {
                Some(Lone::Mapped(why)) => {
                    format!("it gets a map, although only one path leads to it: {why}")
                }
                _ => "it gets a map".to_owned(),
            },
            Disposition::Off => "turned off by an admin: no map, its disks stay hidden".to_owned(),
            Disposition::LeftAlone(why) => format!("left alone: {why}"),
            Disposition::Foreign(what) => {
                format!("foreign: its map contains {what}; the agent does not change it")
            }
            Disposition::Undecided(why) => format!("not decided yet: {why}"),
        });
        if let Some((first, second)) = device.repeated() {
            lines.push(format!(
                "{first} and {second} are two LUNs of one target port with the same identity: they may be two units"
            ));
        }
        sections.push((title, lines));
        if device.plugin() == Plugin::Nmp {
            sections.push(("PSP", vec![self.psp_line(device)]));
        }
        sections.push((
            "Paths",
            self.paths_of(device)
                .map(|path| self.member_line(path))
                .collect(),
        ));
        let mut table = match self.map_of(device.wwid()) {
            Some(map) => map_lines(map),
            None => vec!["no map".to_owned()],
        };
        if let Some(map) = self.map_of(device.wwid()).filter(|map| map.read_only) {
            let writable = self
                .paths_of(device)
                .any(|path| path.is_read_only() == Some(false));
            table.push(match (writable, map.open_count) {
                (false, _) => "read-only, as all its disks are".to_owned(),
                (true, 0) => "read-only, but its disks are not: it was not set by the agent".to_owned(),
                (true, _) => {
                    "read-only, but its disks are not: it becomes writable when all users have closed it".to_owned()
                }
            });
        }
        table.extend(self.takeover_lines(device));
        match device.apd() {
            Apd::No | Apd::Lost { .. } => {}
            Apd::Waiting { deadline, .. } => {
                table.push(format!(
                    "all paths down: I/O is queued for another {} ms",
                    deadline.since(self.now).0
                ));
            }
            Apd::TimedOut { since } => {
                table.push(format!(
                    "all paths down for {} ms: I/O fails until a path returns",
                    self.now.since(since).0
                ));
            }
        }
        if let Apd::Lost { since } = device.apd() {
            table.push(format!(
                "permanently lost for {} ms: every path reports that the unit is gone; I/O fails",
                self.now.since(since).0
            ));
        }
        if let Some(failure) = device.work.failure() {
            table.push(format!(
                "the last action failed ({} times in a row): {}",
                failure.count, failure.text
            ));
        }
        if device.work.pending().is_some() {
            table.push("a new grouping is planned, and waits until the states settle".to_owned());
        }
        sections.push(("Map", table));
        sections
    }

    /// Every SATP rule that is tried on the device, by the rules that are loaded now, and the result.
    fn satp_lines(&self, device: &Device, rules: Rules) -> Vec<String> {
        let Some(selection) = &device.selection else {
            return vec!["none yet: no path has proven its identity".to_owned()];
        };
        let question = selection::satp_question(self, device);
        let traced = question.map(|(facts, evidence)| match rules {
            Rules::Each => self.rules.satp.trace(&facts, &evidence),
            Rules::Summarized => self.rules.satp.summarize(&facts, &evidence),
        });
        let mut lines = traced.map_or_else(Vec::new, |(_, lines)| lines);
        lines.push(format!(
            "SATP {}: {}",
            selection.satp.name(),
            self.satp_device_config(device)
        ));
        lines
    }

    fn hpp_lines(&self, device: &Device) -> Vec<String> {
        let settings = self.device_settings(device);
        let scheme = settings.scheme.unwrap_or_default();
        let judged = match &device.selection {
            Some(s) if s.satp.reports_port_groups() => "by the reported target port groups",
            _ => "by TEST UNIT READY only: all ports are alike",
        };
        vec![
            format!("{} {}", scheme.name(), scheme.config(&settings)),
            format!("in effect: {}", scheme.in_effect()),
            format!("its paths are judged {judged}"),
        ]
    }

    fn psp_line(&self, device: &Device) -> String {
        let settings = self.device_settings(device);
        let origin = match (settings.psp, &device.selection) {
            (Some(_), _) => "set by the admin",
            (None, Some(s)) if s.psp == s.satp.default_psp() => "default of the SATP",
            (None, Some(_)) => "set by the SATP rule",
            (None, None) => "default",
        };
        format!(
            "{} ({origin}): {}",
            self.psp_of(device).name(),
            self.psp_device_config(device)
        )
    }

    fn member_line(&self, path: &Path) -> String {
        let disk = path
            .facts()
            .block
            .as_ref()
            .map_or("no disk", |block| block.name.as_str());
        let group = path
            .access
            .port_group()
            .map_or_else(String::new, |id| format!(", port group {id}"));
        let mut line = format!(
            "{} {disk}{group}: {}",
            path.name(),
            state_line(path, self.now)
        );
        let identity = path.proof.identity();
        if let Identity::Quarantined { .. } | Identity::Nameless(_) = identity {
            line.push_str("; ");
            line.push_str(&identity_line(identity));
        }
        line
    }
}

fn port_state(path: &Path) -> String {
    path.facts()
        .target
        .port_state
        .as_ref()
        .map_or_else(String::new, |state| format!(", {state}"))
}

fn state_line(path: &Path, now: Millis) -> String {
    let reason = &path.judgement().reason;
    let why = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    format!(
        "{}{why} (for {} s)",
        path.state().as_str(),
        now.since(path.health.since())
            .0
            .checked_div(1000)
            .unwrap_or(0)
    )
}

fn identity_lines(path: &Path) -> Vec<String> {
    let mut lines = vec![identity_line(path.proof.identity())];
    let problem = path.proof.problem().into_iter();
    lines.extend(problem.map(|why| format!("why it must be proven again: {why}")));
    let remark = path.proof.remark().into_iter();
    lines.extend(remark.map(|why| format!("a part of VPD page 83h was not read: {why}")));
    lines
}

fn identity_line(identity: &Identity) -> String {
    match identity {
        Identity::Unknown => "not known yet: no answer to INQUIRY page 83h".to_owned(),
        Identity::Assumed(wwid) => {
            format!(
                "{wwid}, from the table in which it was found; not proven since the agent started"
            )
        }
        Identity::Proven(unit) => format!(
            "{} (WWID {}), proven by VPD page 83h",
            unit.device_id, unit.wwid
        ),
        Identity::Stale(unit) => format!(
            "{} (WWID {}), must be proven again before the path carries I/O",
            unit.device_id, unit.wwid
        ),
        Identity::Nameless(why) => format!("the logical unit reports no identity: {why}"),
        Identity::Absent {
            expected,
            qualifier,
        } => format!(
            "{} where {expected} is expected",
            Problem::NoLogicalUnit(*qualifier)
        ),
        Identity::Quarantined { expected, found } => {
            format!("quarantined: {found} answers where {expected} is expected")
        }
    }
}

/// Describes a map.
fn map_lines(map: &Map) -> Vec<String> {
    let mut lines = vec![format!(
        "{} (dm {}, {} users)",
        map.name, map.dev, map.open_count
    )];
    if map.suspended {
        lines.push("suspended, but not by the agent: it is being resumed".to_owned());
    }
    match (&map.table, &map.status) {
        (Ok(table), Ok(status)) => {
            let queueing = if table.features.queue_if_no_path {
                "queues"
            } else {
                "fails"
            };
            lines.push(format!("{queueing} I/O while no path works"));
            for (number, (group, status)) in (1..).zip(table.groups.iter().zip(&status.groups)) {
                let state = match status.state {
                    GroupState::Active => "in use",
                    GroupState::Enabled => "enabled",
                    GroupState::Disabled => "disabled",
                };
                let paths: Vec<String> = status
                    .paths
                    .iter()
                    .map(|p| format!("{} {}", p.dev, if p.active { "A" } else { "F" }))
                    .collect();
                lines.push(format!(
                    "group {number} ({}, {state}): {}",
                    group.selector.name,
                    paths.join(", ")
                ));
            }
        }
        (Err(why), _) | (_, Err(why)) => lines.push(format!("not read as a multipath map: {why}")),
    }
    lines
}
