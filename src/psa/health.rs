//! From the answers of a path to its state.

use super::action::{Action, Severity};
use super::adapter::Transport;
use super::device::Device;
use super::event::{Examination, Reply};
use super::identity::Problem;
use super::path::{Exam, Path, PathState, Stage};
use super::proof::Identity;
use super::satp::{Class, Evidence, Judgement, Link, PortGroup, link_from};
use super::schedule::{Key, Schedule};
use super::settings::Settings;
use super::units::{Hctl, Millis};
use super::world::World;
use crate::scsi::cdb::Command;
use crate::scsi::inquiry::{StandardInquiry, Tpgs};
use crate::scsi::mode;
use crate::scsi::outcome::Outcome;
use crate::scsi::ownership::{CLARIION_PAGE, Ownership, RDAC_PAGE};
use crate::scsi::sense::SenseMeaning;
use crate::scsi::tpgs::{AccessState, TargetPortGroups};
use crate::scsi::vpd;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};

/// A device is looked at so often even if nothing seems to have changed. Whatever changes has it looked at, and a look takes
/// longer than all of its checks.
const LOOK_AGAIN: Millis = Millis::from_secs(300);

/// What of a path a table is made of.
type Standing = (
    PathState,
    Option<Class>,
    Discriminant<Identity>,
    Discriminant<Link>,
    Option<Millis>,
    Option<u16>,
);

fn standing(path: &Path) -> Standing {
    (
        path.judgement.state,
        path.judgement.class,
        discriminant(path.proof.identity()),
        discriminant(&path.link),
        path.suspect_since,
        path.port_group,
    )
}

/// Whether a path works by all that is known of it, and nothing is to be found out.
pub(super) fn is_well(path: &Path) -> bool {
    path.judged
        && path.answers.ready == Some(Outcome::Good)
        && path.link == Link::Up
        && path.proof.may_carry_io()
        && path.suspect_since.is_none()
        && path.lost_at.is_none()
        && path.failed_since.is_none()
        && path.marginal.is_none()
        && !path.again
        && !path.reread_owed
        && is_online(path)
        && path.facts.device_state == RUNNING
}

/// Whether a check that just ended leaves everything as it is: a path that works answered as it did the time before, it was
/// judged since its device was looked at, and nothing is to be found out. So it is with most checks, and they cost only
/// what it takes to see that.
fn is_as_before(path: &Path, exam: &Exam, ready: Option<&Reply>) -> bool {
    let is_ready = ready.is_none_or(|ready| ready.outcome == Outcome::Good);
    exam.stage == Stage::Check && is_ready && is_well(path)
}

/// Whether such a path, of a device that was looked at lately, told byte for byte what it told before: who it is, and how the
/// port groups are.
fn is_repeated(
    path: &Path,
    devices: &BTreeMap<String, Device>,
    now: Millis,
    replies: &[Reply],
) -> bool {
    let Some(device) = path.device.as_ref().and_then(|wwid| devices.get(wwid)) else {
        return false;
    };
    let mut states = device.groups.values().map(|group| group.access);
    let settled = !states.any(|access| access == AccessState::Transitioning);
    let repeated = |reply: &Reply| match &reply.command {
        Command::Vpd(vpd::DEVICE_IDENTIFICATION) => path.proof.repeats(&reply.data),
        Command::ModeSense6 => {
            let write_protected = mode::is_write_protected(&reply.data).ok();
            let known = write_protected == Some(false) || path.is_read_only() == write_protected;
            write_protected.is_some() && path.write_protected == write_protected && known
        }
        Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort => {
            settled && path.report_problem.is_none() && device.report == reply.data
        }
        _ => false,
    };
    now.since(device.looked_at) < LOOK_AGAIN
        && replies
            .iter()
            .all(|reply| reply.outcome == Outcome::Good && repeated(reply))
}

fn is_report(command: &Command) -> bool {
    matches!(
        command,
        Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort
    )
}

/// Whether the target port is there to all that sysfs says, where the transport has one.
fn is_online(path: &Path) -> bool {
    let port = path.facts.target.port_state.as_deref();
    matches!(port, None | Some("Online" | "LOGGED_IN"))
}

/// sysfs `state` of a SCSI device that takes commands.
const RUNNING: &str = "running";

/// A retry comes no sooner than so much for each path that is retried, or a fabric with thousands of paths that fails would
/// have the agent do nothing else than to find them still failed: with a look at what sysfs says, a retry costs ten times a
/// check. Most returns are announced, and are examined at once.
const RETRY_SHARE: Millis = Millis(1);

impl World {
    /// An examination ended.
    pub(super) fn examined(&mut self, examination: &Examination) {
        let id = examination.path;
        let moments = Schedule::moments(self.paths.len());
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let Some(exam) = path.exam.filter(|exam| exam.ticket == examination.ticket) else {
            return;
        };
        path.exam = None;
        // An error that was reported meanwhile may be younger than the answers.
        if let Some(at) = path.hints.as_deref().and_then(|hints| hints.due(self.now)) {
            self.schedule.no_later_than(Key::Path(id), at);
        }
        self.counters.examinations = self.counters.examinations.saturating_add(1);
        let took = self.now.since(exam.sent);
        self.statistics
            .check(path.name.adapter, took, &examination.replies);
        let replies = examination.replies.as_slice();
        let (ready, others) = match replies {
            [ready, others @ ..] if ready.command == Command::TestUnitReady => {
                path.ready_at = self.now;
                (Some(ready), others)
            }
            others => (None, others),
        };
        if is_as_before(path, &exam, ready)
            && !replies.is_empty()
            && (others.is_empty() || is_repeated(path, &self.devices, self.now, others))
        {
            let at = next_check(&self.settings, self.now, moments, path, &mut self.retried);
            self.schedule.no_later_than(Key::Path(id), at);
            let proven = |reply: &Reply| matches!(reply.command, Command::Vpd(_));
            if others.iter().any(proven) {
                path.proof.repeated(self.now);
            }
            if others.iter().any(|reply| is_report(&reply.command)) {
                self.reported(id);
            }
            return;
        }
        // What a path is like that does not say who it is, TEST UNIT READY shows.
        let silent = |reply: &Reply| !reply.outcome.carried_out();
        if exam.stage == Stage::Check && ready.is_none() && replies.iter().any(silent) {
            path.ready_at = Millis(0);
            return self.path_due(id);
        }
        let before = standing(path);
        // What was sent before the kernel failed the path says nothing about it now.
        let outdated = path.suspect_since.is_some_and(|since| exam.sent < since);
        if !outdated {
            for reply in &examination.replies {
                self.take_in(id, reply);
            }
        }
        // Page 83h was to be answered with this check by each path that I/O may use.
        let not_sent = |reply: &Reply| matches!(reply.outcome, Outcome::NotSent(_));
        if !outdated && !examination.replies.iter().any(not_sent) {
            self.is_unanswered(id);
        }
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let again = path.again || outdated;
        if !outdated {
            path.lost_at = matches!(path.link, Link::PermanentLoss(_)).then_some(exam.sent);
        }
        let unasked =
            path.facts.transport == Transport::Usb && *path.proof.identity() == Identity::Unknown;
        let is_new = exam.stage == Stage::Inquiry && path.inquiry.is_some();
        let waits = path.suspect_since.is_some() && self.is_activatable(id);
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if !outdated && path.suspect_since.is_some() {
            match path.link {
                // I/O fails and checks say that it is well, or would be once activated: if that happens again it
                // has relapsed. One that waits for an activation has not: the takeover budget says when that is tried.
                Link::Up | Link::Refused(..) if !waits => {
                    path.suspect_since = None;
                    path.last_relapse = self.now;
                }
                Link::Unchecked(_) | Link::NoAnswer(_) => {}
                // Another host took the unit: nothing is wrong with the path.
                _ if waits => {
                    path.suspect_since = None;
                    path.last_relapse = Millis(0);
                    path.relapses = 0;
                }
                // The check agrees with the kernel: no relapse, and no sign that those before are over.
                _ => path.suspect_since = None,
            }
        }
        if exam.stage == Stage::Identify && unasked {
            let why = "USB disks are not asked for VPD page 83h, because many bridges hang on it";
            self.is_named_by_address(id, why);
        }
        if is_new {
            self.claim_found(id);
            self.path_due(id);
            return;
        }
        if exam.measures {
            if let Some(path) = self.paths.get_mut(&id) {
                path.measured_at = Some(exam.sent);
            }
            self.mark_dirty(id);
        }
        self.refresh_if_down(id);
        self.judge(id);
        self.pay_reread(id);
        self.review_marginal(id);
        self.mark_dirty_if_changed(id, before);
        if again {
            self.path_due(id)
        } else {
            self.schedule_next(id)
        }
    }

    /// Most checks say what the one before said: then the device needs no look, but for one now and then.
    fn mark_dirty_if_changed(&mut self, id: Hctl, before: Standing) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let looked_at = self.device_of(path).map(|device| device.looked_at);
        let recent = looked_at.is_some_and(|at| self.now.since(at) < LOOK_AGAIN);
        if standing(path) != before || !recent {
            self.mark_dirty(id);
        }
    }

    /// A check of a path in a table ended. Page 83h was to be answered with it; if it was not for long, that is a reason
    /// to doubt.
    fn is_unanswered(&mut self, id: Hctl) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let held = self.is_held(path);
        if let Some(path) = self.paths.get_mut(&id).filter(|_| held) {
            path.proof.unanswered(self.now);
        }
    }

    /// The return of a link or of a session is announced by no event on some transports (FCoE, and the end of
    /// fast_io_fail and recovery_tmo on all): what sysfs says of a path is read again with its checks while it is down.
    fn refresh_if_down(&mut self, id: Hctl) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        if path.link != Link::Up || !is_online(path) || path.facts.device_state != RUNNING {
            self.actions.push(Action::RefreshFacts(id));
        }
    }

    /// One answer.
    fn take_in(&mut self, id: Hctl, reply: &Reply) {
        if let Outcome::NotSent(_) = reply.outcome {
            return self.not_sent(id, &reply.outcome);
        }
        // A recovered error comes with its data.
        let good = reply.outcome.carried_out();
        match &reply.command {
            Command::TestUnitReady => {
                if let Some(path) = self.paths.get_mut(&id) {
                    path.answers.ready = Some(reply.outcome.clone());
                    link_is(path, link_from(&reply.outcome));
                }
            }
            Command::Inquiry if good => self.inquiry_is(id, &reply.data),
            Command::Inquiry if reply.outcome == Outcome::Overdue => {
                let why = "no answer to INQUIRY within the deadline";
                if let Some(path) = self.paths.get_mut(&id) {
                    link_is(path, Link::NoAnswer(why.to_owned()));
                }
            }
            Command::Inquiry => {
                // SPC has a target answer INQUIRY where it has no logical unit; LIO does not.
                let link = match link_from(&reply.outcome) {
                    lost @ Link::PermanentLoss(_) => lost,
                    _ => Link::Down(format!("INQUIRY: {}", reply.outcome)),
                };
                if let Some(path) = self.paths.get_mut(&id) {
                    link_is(path, link);
                }
            }
            Command::Vpd(page @ (CLARIION_PAGE | RDAC_PAGE)) => {
                let found = if good {
                    Ownership::parse(*page, &reply.data).map_err(|error| error.to_string())
                } else {
                    Err(reply.outcome.to_string())
                };
                if let Some(path) = self.paths.get_mut(&id).filter(|_| good) {
                    path.answers.owner.clone_from(&reply.data);
                }
                self.ownership_is(id, *page, found);
            }
            Command::Vpd(_) if good => self.identify(id, Ok(&reply.data)),
            Command::Vpd(_) if is_refused(&reply.outcome) => {
                self.identify(
                    id,
                    Err(&format!("VPD page 83h is refused: {}", reply.outcome)),
                );
            }
            Command::Vpd(_) => {}
            Command::ReportTargetPortGroups if is_refused(&reply.outcome) => {
                if let Some(path) = self.paths.get_mut(&id) {
                    path.short_header = true;
                    path.ask_groups = true;
                    path.again = true;
                }
            }
            Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort => {
                let groups = if good {
                    TargetPortGroups::parse(&reply.data).map_err(|e| e.to_string())
                } else {
                    Err(reply.outcome.to_string())
                };
                match groups {
                    Ok(groups) => self.port_groups_are(id, &groups, &reply.data),
                    Err(why) => self.port_groups_unknown(id, &reply.outcome, &why),
                }
            }
            Command::ModeSense6 if good => self.write_protection_is(id, &reply.data),
            // Many devices do not answer it while they wait, and some never.
            Command::ModeSense6 => {}
            Command::ReadCapacity16 => self.capacity_is(id, reply, good),
            Command::SetTargetPortGroups(_) => {}
        }
    }

    /// This host could not send a command: what is known of the path stays, and people are told once.
    fn not_sent(&mut self, id: Hctl, outcome: &Outcome) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if path.answers.ready.as_ref() == Some(outcome) {
            return;
        }
        path.answers.ready = Some(outcome.clone());
        let name = path.name.to_string();
        let kept = [
            ("reason", &*outcome.to_string()),
            ("effect", "the path counts as before"),
        ];
        self.notify(Severity::Warning, "CHECK_NOT_SENT", name, &kept);
    }

    fn inquiry_is(&mut self, id: Hctl, data: &[u8]) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        match StandardInquiry::parse(data) {
            Ok(inquiry) => {
                let absent = path.proof.inquired(inquiry.peripheral_qualifier);
                if path.proof.is_vacant() {
                    // What it says of an empty place is not what the unit said.
                    return absent.into_iter().for_each(|why| self.is_absent(id, &why));
                }
                let before = path.inquiry.replace(inquiry);
                let changed = before.is_some() && before != path.inquiry;
                // Perhaps it is another unit: what it is taken for from now on must not hold for the one before.
                if changed {
                    path.proof.doubt("its INQUIRY data changed");
                }
                if changed && path.claim.is_some() {
                    self.claim(id);
                }
            }
            Err(error) => {
                let name = path.name.to_string();
                path.link = Link::Down(format!("INQUIRY: {error}"));
                self.notify(
                    Severity::Warning,
                    "INQUIRY_UNREADABLE",
                    name,
                    &[("reason", &error.to_string())],
                );
            }
        }
    }

    /// The page that names the owner was read, or could not be: then what is known stays.
    fn ownership_is(&mut self, id: Hctl, page: u8, found: Result<Ownership, String>) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        match found {
            Ok(ownership) => {
                path.ownership = Some(ownership);
                path.report_problem = None;
            }
            Err(why) if path.report_problem.as_ref() != Some(&why) => {
                path.report_problem = Some(why.clone());
                let name = path.name.to_string();
                let page = format!("{page:02X}h");
                self.notify(
                    Severity::Warning,
                    "OWNER_UNREADABLE",
                    name,
                    &[("page", &page), ("reason", &why)],
                );
            }
            Err(_) => {}
        }
    }

    /// The evidence on a path.
    pub(super) fn evidence<'a>(
        path: &'a Path,
        groups: &'a std::collections::BTreeMap<u16, PortGroup>,
    ) -> Evidence<'a> {
        Evidence {
            tpgs: path
                .inquiry
                .as_ref()
                .map_or(Tpgs::None, |inquiry| inquiry.tpgs),
            port_group: path.port_group,
            relative_port: path.relative_port,
            groups,
            link: &path.link,
            ownership: path.ownership,
            handler: &path.facts.handler,
        }
    }

    /// What the SATP of its device makes of a path.
    pub(super) fn judge(&mut self, id: Hctl) {
        self.compare_disk(id);
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let device = self.device_of(path);
        let transition_until = self.transition_until(path, device);
        if transition_until != path.transition_until
            && let Some(path) = self.paths.get_mut(&id)
        {
            path.transition_until = transition_until;
        }
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let device = self.device_of(path);
        let mut judgement = self.judgement(path, device);
        let off = &self.memory.paths_off;
        if !off.is_empty()
            && off.contains(&path.name.to_string())
            && judgement.state != PathState::Masked
        {
            judgement.state = PathState::Off;
            judgement.reason = "turned off by the administrator".to_owned();
        }
        if judgement == path.judgement {
            if let Some(path) = self.paths.get_mut(&id) {
                path.judged = true;
            }
            return;
        }
        let before = path.judgement.clone();
        let subject = path.name.to_string();
        let device_id = device.map(|device| device.id.clone()).unwrap_or_default();
        let now = self.now;
        if let Some(path) = self.paths.get_mut(&id) {
            let serves = judgement.state.serves_io()
                || matches!(judgement.state, PathState::Standby | PathState::Off);
            path.failed_since = if serves {
                None
            } else {
                Some(path.failed_since.unwrap_or(now))
            };
            if before.state != judgement.state {
                path.since = now;
            }
            path.judgement = judgement.clone();
            path.judged = true;
        }
        // A refusal is the array's will, and so is an identity that has yet to be proven.
        let path = self.paths.get(&id);
        let broken = path.is_some_and(|path| path.link.is_broken());
        let stopped = before.state.serves_io()
            && matches!(judgement.state, PathState::Dead | PathState::Unknown);
        if stopped && broken {
            self.failed(id);
        }
        if before.class == Some(Class::Standby) && judgement.class == Some(Class::Optimized) {
            self.taken_over(id);
        }
        if before.state != judgement.state && !device_id.is_empty() {
            let severity = if judgement.state == PathState::Dead {
                Severity::Warning
            } else {
                Severity::Info
            };
            self.notify(
                severity,
                "PATH_STATE",
                subject,
                &[
                    ("device", &device_id),
                    ("from", before.state.as_str()),
                    ("to", judgement.state.as_str()),
                    ("reason", &judgement.reason),
                ],
            );
        }
    }

    /// A path that waited serves. Where one controller serves at a time, those that served wait from now on: a path that
    /// is down cannot say so itself.
    fn taken_over(&mut self, id: Hctl) {
        let device = self.paths.get(&id).and_then(|path| self.device_of(path));
        let Some(device) = device.filter(|device| {
            let selection = device.selection.as_ref();
            selection.is_some_and(|selection| selection.satp.is_exclusive())
        }) else {
            return;
        };
        for member in device.paths.clone() {
            let Some(path) = self.paths.get_mut(&member).filter(|_| member != id) else {
                continue;
            };
            if path.link == Link::Up {
                self.examine_now(member);
            } else if path.judgement.class == Some(Class::Optimized) {
                path.judgement.class = Some(Class::Standby);
            }
        }
    }

    fn judgement(&self, path: &Path, device: Option<&Device>) -> Judgement {
        let class = path.judgement.class;
        if path.is_masked() {
            let reason = "owned by MASK_PATH".to_owned();
            return Judgement {
                state: PathState::Masked,
                reason,
                class,
            };
        }
        if !path.is_ours() {
            let reason = "not claimed: automatic claiming is off".to_owned();
            return Judgement {
                state: PathState::Unknown,
                reason,
                class,
            };
        }
        let elsewhere = match path.proof.identity() {
            Identity::Quarantined { expected, found } => Some(format!(
                "quarantined: {found} answers where {expected} is expected"
            )),
            Identity::Absent { qualifier, .. } if !matches!(path.link, Link::PermanentLoss(_)) => {
                Some(Problem::NoLogicalUnit(*qualifier).to_string())
            }
            _ => None,
        };
        if let Some(reason) = elsewhere {
            return Judgement {
                state: PathState::Dead,
                reason,
                class,
            };
        }
        let groups = BTreeMap::new();
        let evidence = Self::evidence(path, device.map_or(&groups, |device| &device.groups));
        let satp = device
            .and_then(|device| device.selection.as_ref())
            .map(|selection| selection.satp);
        let Some(satp) = satp else {
            // A path that is down is so to every SATP; none may be chosen before a path of the device works.
            let (state, reason) = match &path.link {
                Link::Down(why) => (PathState::Dead, why.clone()),
                Link::PermanentLoss(sense) => (PathState::Dead, format!("permanent loss: {sense}")),
                Link::NoAnswer(why) | Link::Unchecked(why) => (PathState::Unknown, why.clone()),
                _ => (PathState::Unknown, "its SATP is not chosen yet".to_owned()),
            };
            return Judgement {
                state,
                reason,
                class: None,
            };
        };
        let mut judgement = satp.judge(&evidence);
        judgement.class = judgement.class.or(class);
        if let Some(reason) = &path.mismatch {
            return Judgement {
                state: PathState::Dead,
                reason: format!("quarantined: {reason}"),
                class: judgement.class,
            };
        }
        if path.is_transition_overdue(self.now) && judgement.state != PathState::Dead {
            return Judgement {
                state: PathState::Unknown,
                reason: "the change of its access state does not end".to_owned(),
                class: judgement.class,
            };
        }
        let unproven = matches!(
            path.proof.identity(),
            Identity::Stale(_) | Identity::Assumed(_)
        );
        if unproven && (judgement.state.serves_io() || judgement.state == PathState::Standby) {
            let reason = "it answers, and has yet to prove that it is still the same logical unit";
            let reason = match path.proof.problem() {
                Some(why) => format!("{reason}: {why}"),
                None => reason.to_owned(),
            };
            return Judgement {
                state: PathState::Unknown,
                reason,
                class: judgement.class,
            };
        }
        judgement
    }

    /// When the path is examined next.
    pub(super) fn schedule_next(&mut self, id: Hctl) {
        if let Some(path) = self.paths.get(&id) {
            let moments = Schedule::moments(self.paths.len());
            let at = next_check(&self.settings, self.now, moments, path, &mut self.retried);
            self.schedule.no_later_than(Key::Path(id), at);
        }
    }
}

/// When a path is examined next that was just examined.
fn next_check(
    settings: &Settings,
    now: Millis,
    moments: u64,
    path: &Path,
    retried: &mut BTreeSet<Hctl>,
) -> Millis {
    let failed = path
        .failed_since
        .is_some_and(|since| now.since(since) < settings.retry_backoff_after_ms);
    // One on trial would be found well for ever if it were so whenever the clock ticks.
    if failed || path.is_on_trial() {
        retried.insert(path.facts.hctl);
        let count = u64::try_from(retried.len()).unwrap_or(u64::MAX);
        let share = Millis(count.saturating_mul(RETRY_SHARE.0));
        let all_served = share.min(settings.check_interval_ms);
        return now.after(settings.retry_interval_ms.max(all_served));
    }
    if !retried.is_empty() {
        retried.remove(&path.facts.hctl);
    }
    let tick = |name: &str| Schedule::tick(now, settings.check_interval_ms, moments, name);
    match &path.device {
        Some(wwid) => tick(wwid),
        None => tick(&path.name.to_string()),
    }
}

fn link_is(path: &mut Path, link: Link) {
    // A path that was down may come back as another logical unit: it proves itself again.
    if matches!(
        link,
        Link::Down(_) | Link::NoAnswer(_) | Link::PermanentLoss(_)
    ) {
        path.proof.doubt("it was down");
    }
    path.link = link;
}

/// Whether the device says that it does not know the command, or a field of it.
fn is_refused(outcome: &Outcome) -> bool {
    outcome
        .sense()
        .is_some_and(|sense| sense.meaning() == SenseMeaning::InvalidOpcodeOrField)
}
