//! Turns the answers of a path into its state.

use crate::psa::action::Action;
use crate::psa::adapter::Transport;
use crate::psa::check::judge::{LOOK_AGAIN, next_check};
use crate::psa::check::unchanged::{Standing, is_as_before, is_repeated, is_report, standing};
use crate::psa::check::{ask, compare, discovery, judge, marginal, port_groups, prove, reread};
use crate::psa::claiming::run;
use crate::psa::codes;
use crate::psa::event::{Examination, Reply};
use crate::psa::evidence::{Link, link_from};
use crate::psa::state::World;
use crate::psa::state::exams::Stage;
use crate::psa::state::failures::Recheck;
use crate::psa::state::proof::Identity;
use crate::psa::state::schedule::{Key, Schedule};
use crate::psa::units::Hctl;
use crate::scsi::cdb::Command;
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::outcome::Outcome;
use crate::scsi::ownership::Ownership;
use crate::scsi::sense::SenseMeaning;
use crate::scsi::tpgs::TargetPortGroups;
use crate::scsi::vpd;

/// An examination ended.
pub(in crate::psa) fn examined(world: &mut World, examination: &Examination) {
    let id = examination.path;
    let moments = Schedule::moments(world.paths.len());
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let Some(exam) = path.exams.end(examination.ticket) else {
        return;
    };
    // An error that was reported in the meantime may be more recent than the answers.
    if let Some(at) = path.hints.as_deref().and_then(|hints| hints.due(world.now)) {
        world.schedule.no_later_than(Key::Path(id), at);
    }
    world.counters.examinations = world.counters.examinations.saturating_add(1);
    let took = world.now.since(exam.sent);
    world
        .statistics
        .check(path.name().adapter, took, &examination.replies);
    let replies = examination.replies.as_slice();
    let (ready, others) = match replies {
        [ready, others @ ..] if ready.command == Command::TestUnitReady => {
            path.exams.ready(world.now);
            (Some(ready), others)
        }
        others => (None, others),
    };
    if is_as_before(path, &exam, ready)
        && !replies.is_empty()
        && (others.is_empty() || is_repeated(path, &world.devices, world.now, others))
    {
        let at = next_check(
            &world.settings,
            world.now,
            moments,
            path,
            &mut world.retried,
        );
        world.schedule.no_later_than(Key::Path(id), at);
        let proven = |reply: &Reply| matches!(reply.command, Command::Vpd(_));
        if others.iter().any(proven) {
            path.proof.repeated(world.now);
        }
        if others.iter().any(|reply| is_report(&reply.command)) {
            port_groups::reported(world, id);
        }
        return;
    }
    // A path that does not prove its identity is asked TEST UNIT READY, which shows its state.
    let silent = |reply: &Reply| !reply.outcome.carried_out();
    if exam.stage == Stage::Check && ready.is_none() && replies.iter().any(silent) {
        path.exams.ask_ready();
        return ask::path_due(world, id);
    }
    let before = standing(path);
    // A command that was sent before the kernel failed the path says nothing about the path now.
    let outdated = path.failures.is_outdated(exam.sent);
    if !outdated {
        for reply in &examination.replies {
            take_in(world, id, reply);
        }
    }
    // Each path that I/O may use should have answered page 83h with this check.
    let not_sent = |reply: &Reply| matches!(reply.outcome, Outcome::NotSent(_));
    if !outdated && !examination.replies.iter().any(not_sent) {
        is_unanswered(world, id);
    }
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let again = path.exams.is_repeated() || outdated;
    if !outdated {
        path.health.checked(exam.sent);
    }
    let unasked =
        path.facts().transport == Transport::Usb && *path.proof.identity() == Identity::Unknown;
    let is_new = exam.stage == Stage::Inquiry && path.inquiry.is_some();
    let waits = path.failures.suspect_since().is_some() && reread::is_activatable(world, id);
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let recheck = match path.health.link() {
        Link::Up | Link::Refused(..) if !waits => Some(Recheck::Passed),
        Link::Unchecked(_) | Link::NoAnswer(_) => None,
        _ if waits => Some(Recheck::AwaitsActivation),
        _ => Some(Recheck::Failed),
    };
    if let Some(recheck) = recheck.filter(|_| !outdated) {
        path.failures.rechecked(recheck, world.now);
    }
    if exam.stage == Stage::Identify && unasked {
        let why = "VPD page 83h is not read from USB disks, because many bridges hang on it";
        discovery::is_named_by_address(world, id, why);
    }
    if is_new {
        run::claim_found(world, id);
        ask::path_due(world, id);
        return;
    }
    if exam.measures {
        if let Some(path) = world.paths.get_mut(&id) {
            path.fit.asked_size(exam.sent);
        }
        world.mark_dirty(id);
    }
    refresh_if_down(world, id);
    judge::judge(world, id);
    reread::pay_reread(world, id);
    marginal::review_marginal(world, id);
    mark_dirty_if_changed(world, id, before);
    if again {
        ask::path_due(world, id)
    } else {
        judge::schedule_next(world, id)
    }
}

/// Most checks give the same answers as the one before. Then the device is looked at only from time to time.
fn mark_dirty_if_changed(world: &mut World, id: Hctl, before: Standing) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let looked_at = world.device_of(path).map(|device| device.looked_at());
    let recent = looked_at.is_some_and(|at| world.now.since(at) < LOOK_AGAIN);
    if standing(path) != before || !recent {
        world.mark_dirty(id);
    }
}

/// A check of a path in a table ended. It should have returned page 83h. If the path has not returned the page for too
/// long, its identity is in doubt.
fn is_unanswered(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let held = world.is_held(path);
    if let Some(path) = world.paths.get_mut(&id).filter(|_| held) {
        path.proof.unanswered(world.now);
    }
}

/// Events do not always announce the return of a link or session: on FCoE none does, and on no transport is the end of
/// fast_io_fail or recovery_tmo announced. So while a path is down, its checks read its sysfs facts again.
fn refresh_if_down(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    if !path.is_up() || !path.is_present() {
        world.actions.push(Action::RefreshFacts(id));
    }
}

/// Processes one reply.
fn take_in(world: &mut World, id: Hctl, reply: &Reply) {
    if let Outcome::NotSent(_) = reply.outcome {
        return not_sent(world, id, &reply.outcome);
    }
    // A command that ends with a recovered error has transferred its data.
    let good = reply.outcome.carried_out();
    match &reply.command {
        Command::TestUnitReady => {
            if let Some(path) = world.paths.get_mut(&id) {
                path.answers.ready = Some(reply.outcome.clone());
                path.set_link(link_from(&reply.outcome));
            }
        }
        Command::Inquiry if good => inquiry_is(world, id, &reply.data),
        Command::Inquiry if reply.outcome == Outcome::Overdue => {
            let why = "no answer to INQUIRY within the deadline";
            if let Some(path) = world.paths.get_mut(&id) {
                path.set_link(Link::NoAnswer(why.to_owned()));
            }
        }
        Command::Inquiry => {
            // SPC requires a target to answer INQUIRY even where it has no logical unit; LIO does not.
            let link = match link_from(&reply.outcome) {
                lost @ Link::PermanentLoss(_) => lost,
                _ => Link::Down(format!("INQUIRY: {}", reply.outcome)),
            };
            if let Some(path) = world.paths.get_mut(&id) {
                path.set_link(link);
            }
        }
        Command::Vpd(vpd::DEVICE_IDENTIFICATION) if good => {
            prove::identify(world, id, Ok(&reply.data));
        }
        Command::Vpd(vpd::DEVICE_IDENTIFICATION) if is_refused(&reply.outcome) => {
            prove::identify(
                world,
                id,
                Err(&format!(
                    "the device refuses VPD page 83h: {}",
                    reply.outcome
                )),
            );
        }
        Command::Vpd(vpd::DEVICE_IDENTIFICATION) => {}
        // Every other page was asked for by the SATP (`Satp::ownership_page`).
        Command::Vpd(page) => {
            let found = if good {
                Ownership::parse(*page, &reply.data).map_err(|error| error.to_string())
            } else {
                Err(reply.outcome.to_string())
            };
            if let Some(path) = world.paths.get_mut(&id).filter(|_| good) {
                path.answers.owner.clone_from(&reply.data);
            }
            ownership_is(world, id, *page, found);
        }
        Command::ReportTargetPortGroups if is_refused(&reply.outcome) => {
            if let Some(path) = world.paths.get_mut(&id) {
                path.exams.extended_header_refused();
            }
        }
        Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort => {
            let groups = if good {
                TargetPortGroups::parse(&reply.data).map_err(|e| e.to_string())
            } else {
                Err(reply.outcome.to_string())
            };
            match groups {
                Ok(groups) => port_groups::port_groups_are(world, id, &groups, &reply.data),
                Err(why) => port_groups::port_groups_unknown(world, id, &reply.outcome, &why),
            }
        }
        Command::ModeSense6 if good => compare::write_protection_is(world, id, &reply.data),
        // Many devices do not answer it while they are in standby, and some never do.
        Command::ModeSense6 => {}
        Command::ReadCapacity16 => compare::capacity_is(world, id, reply, good),
        Command::SetTargetPortGroups(_) => {}
    }
}

/// This host could not send a command. What is known about the path stays, and users are notified once.
fn not_sent(world: &mut World, id: Hctl, outcome: &Outcome) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    if path.answers.ready.as_ref() == Some(outcome) {
        return;
    }
    path.answers.ready = Some(outcome.clone());
    let name = path.name().to_string();
    let kept = [
        ("reason", &*outcome.to_string()),
        ("effect", "the path keeps its state"),
    ];
    world.notify(codes::CHECK_NOT_SENT, name, &kept);
}

fn inquiry_is(world: &mut World, id: Hctl, data: &[u8]) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    match StandardInquiry::parse(data) {
        Ok(inquiry) => {
            let absent = path.proof.inquired(inquiry.peripheral_qualifier);
            if path.proof.is_vacant() {
                // INQUIRY data of a LUN without a unit are not those of the unit, and are not kept.
                return absent
                    .into_iter()
                    .for_each(|why| prove::is_absent(world, id, &why));
            }
            let before = path.inquiry.replace(inquiry);
            let changed = before.is_some() && before != path.inquiry;
            // It may be another unit: from now on decisions for the new data must not apply to the unit from before.
            if changed {
                path.proof.doubt("its INQUIRY data changed");
            }
            if changed && path.owner.claim().is_some() {
                run::claim(world, id);
            }
        }
        Err(error) => {
            let name = path.name().to_string();
            path.set_inquiry_invalid(&error.to_string());
            world.notify(
                codes::INQUIRY_UNREADABLE,
                name,
                &[("reason", &error.to_string())],
            );
        }
    }
}

/// The page that names the owning controller was read. If it could not be read, what is known stays.
fn ownership_is(world: &mut World, id: Hctl, page: u8, found: Result<Ownership, String>) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    match found {
        Ok(ownership) => {
            path.access.owned(ownership);
        }
        Err(why) if path.access.unreadable(&why) => {
            let name = path.name().to_string();
            let page = format!("{page:02X}h");
            world.notify(
                codes::OWNER_UNREADABLE,
                name,
                &[("page", &page), ("reason", &why)],
            );
        }
        Err(_) => {}
    }
}

/// Whether the device reports that it does not support the command, or a field of it.
fn is_refused(outcome: &Outcome) -> bool {
    outcome
        .sense()
        .is_some_and(|sense| sense.meaning() == SenseMeaning::InvalidOpcodeOrField)
}
