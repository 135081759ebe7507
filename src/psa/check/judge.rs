//! Determines the state of a path: its SATP judges the evidence, and a new state is acted upon.

use crate::psa::action::{Notice, Severity};
use crate::psa::check::{ask, disks, marginal};
use crate::psa::codes;
use crate::psa::evidence::{Class, Judgement, Link, PathState};
use crate::psa::identity::Problem;
use crate::psa::settings::Settings;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::state::port_groups::TRANSITION;
use crate::psa::state::proof::Identity;
use crate::psa::state::schedule::{Key, Schedule};
use crate::psa::units::{Hctl, Millis};
use crate::scsi::tpgs::AccessState;
use std::collections::{BTreeMap, BTreeSet};

/// A device is looked at this often even if nothing seems to have changed. Every change causes a look anyway, and a
/// look takes longer than all checks of the device.
pub(in crate::psa) const LOOK_AGAIN: Millis = Millis::from_secs(300);

/// The retry interval is at least this long for each path that is being retried. Otherwise, when a fabric with
/// thousands of paths fails, the agent would only be busy finding them still failed: a retry also reads sysfs, and
/// costs ten times as much as a check. Most returns are announced, and those paths are examined immediately.
const RETRY_SHARE: Millis = Millis(1);

/// Has the SATP of its device judge a path.
pub(in crate::psa) fn judge(world: &mut World, id: Hctl) {
    disks::compare_disk(world, id);
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let device = world.device_of(path);
    let transition_until = transition_until(world, path, device);
    if transition_until != path.access.transition_until()
        && let Some(path) = world.paths.get_mut(&id)
    {
        path.access.set_transition(transition_until);
    }
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let device = world.device_of(path);
    let mut judgement = judgement(world, path, device);
    let off = &world.memory.paths_off;
    let is_stored = !off.is_empty() && off.contains(&path.name().to_string());
    if (path.is_turned_off() || is_stored) && judgement.state != PathState::Masked {
        judgement.state = PathState::Off;
        judgement.reason = match is_stored {
            true => "turned off by an admin".to_owned(),
            false => "turned off by an admin until it is removed".to_owned(),
        };
    }
    let subject = path.name().to_string();
    let device_id = device.map(|device| device.id().clone());
    let now = world.now;
    let path = world.paths.get_mut(&id);
    let Some(before) = path.and_then(|path| path.judged(judgement.clone(), now)) else {
        return;
    };
    // A refusal is the array's decision, not a failure, and neither is an identity that has yet to be proven.
    let path = world.paths.get(&id);
    let broken = path.is_some_and(|path| path.health.link().is_broken());
    let stopped =
        before.state.serves_io() && matches!(judgement.state, PathState::Dead | PathState::Unknown);
    if stopped && broken {
        marginal::failed(world, id);
    }
    if before.class == Some(Class::Standby) && judgement.class == Some(Class::Optimized) {
        taken_over(world, id);
    }
    if let Some(device_id) = device_id.filter(|_| before.state != judgement.state) {
        let severity = if judgement.state == PathState::Dead {
            Severity::Warning
        } else {
            Severity::Info
        };
        let details = [
            ("device", device_id.as_str()),
            ("from", before.state.as_str()),
            ("to", judgement.state.as_str()),
            ("reason", &judgement.reason),
        ];
        let notice = Notice::new(codes::PATH_STATE, subject, &details);
        world.raise(notice.with_severity(severity));
    }
}

/// A path that was in standby now serves. If only one controller serves at a time, the paths that served before are now
/// in standby. A path that is down cannot report that itself.
fn taken_over(world: &mut World, id: Hctl) {
    let device = world.paths.get(&id).and_then(|path| world.device_of(path));
    let Some(device) = device.filter(|device| {
        let selection = device.selection.as_ref();
        selection.is_some_and(|selection| selection.satp.is_exclusive())
    }) else {
        return;
    };
    for member in device.paths().clone() {
        let Some(path) = world.paths.get_mut(&member).filter(|_| member != id) else {
            continue;
        };
        if path.is_up() {
            ask::examine_now(world, member);
        } else if path.class() == Some(Class::Optimized) {
            path.health.set_class(Some(Class::Standby));
        }
    }
}

fn judgement(world: &World, path: &Path, device: Option<&Device>) -> Judgement {
    let class = path.class();
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
        Identity::Absent { qualifier, .. }
            if !matches!(path.health.link(), Link::PermanentLoss(_)) =>
        {
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
    let evidence = World::evidence(path, device.map_or(&groups, |device| device.ports.groups()));
    let satp = device
        .and_then(|device| device.selection.as_ref())
        .map(|selection| selection.satp);
    let Some(satp) = satp else {
        // To every SATP, a path that is down is dead. No SATP may have been chosen before a path of the device works.
        let (state, reason) = match path.health.link() {
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
    if let Some(reason) = path.fit.mismatch() {
        return Judgement {
            state: PathState::Dead,
            reason: format!("quarantined: {reason}"),
            class: judgement.class,
        };
    }
    if path.access.is_transition_overdue(world.now) && judgement.state != PathState::Dead {
        return Judgement {
            state: PathState::Unknown,
            reason: "the transition of its access state does not end".to_owned(),
            class: judgement.class,
        };
    }
    let unproven = matches!(
        path.proof.identity(),
        Identity::Stale(_) | Identity::Assumed(_)
    );
    if unproven && (judgement.state.serves_io() || judgement.state == PathState::Standby) {
        let reason = "it answers, but has not yet proven that it is still the same logical unit";
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

/// Schedules the next examination of a path.
pub(in crate::psa) fn schedule_next(world: &mut World, id: Hctl) {
    if let Some(path) = world.paths.get(&id) {
        let moments = Schedule::moments(world.paths.len());
        let at = next_check(
            &world.settings,
            world.now,
            moments,
            path,
            &mut world.retried,
        );
        world.schedule.no_later_than(Key::Path(id), at);
    }
}

/// While the access state of a path is changing: when the change should have ended.
pub(in crate::psa) fn transition_until(
    world: &World,
    path: &Path,
    device: Option<&Device>,
) -> Option<Millis> {
    let group = path
        .access
        .port_group()
        .and_then(|id| device.and_then(|device| device.ports.get(id)));
    let changes = group.is_some_and(|group| group.access == AccessState::Transitioning)
        || matches!(
            path.health.link(),
            Link::Refused(AccessState::Transitioning, _)
        );
    let time = device.and_then(|device| device.ports.transition());
    changes.then(|| {
        path.access
            .transition_until()
            .unwrap_or_else(|| world.now.after(time.unwrap_or(TRANSITION)))
    })
}

/// When a path that was just examined is examined next.
pub(in crate::psa) fn next_check(
    settings: &Settings,
    now: Millis,
    moments: u64,
    path: &Path,
    retried: &mut BTreeSet<Hctl>,
) -> Millis {
    let failed = path
        .failures
        .down_since()
        .is_some_and(|since| now.since(since) < settings.retry_backoff_after_ms);
    // A marginal path is retried off the regular tick. Otherwise one that always works at the ticks would be found good
    // forever.
    if failed || path.failures.is_on_trial() {
        retried.insert(path.facts().hctl);
        let count = u64::try_from(retried.len()).unwrap_or(u64::MAX);
        let share = Millis(count.saturating_mul(RETRY_SHARE.0));
        let all_served = share.min(settings.check_interval_ms);
        return now.after(settings.retry_interval_ms.max(all_served));
    }
    if !retried.is_empty() {
        retried.remove(&path.facts().hctl);
    }
    let tick = |name: &str| Schedule::tick(now, settings.check_interval_ms, moments, name);
    match &path.device {
        Some(wwid) => tick(wwid.as_str()),
        None => tick(&path.name().to_string()),
    }
}
