//! The fast path. Most checks repeat the result of the one before, and must cost only what it takes to notice that.

use crate::psa::check::judge::LOOK_AGAIN;
use crate::psa::event::Reply;
use crate::psa::evidence::{Class, Link, PathState};
use crate::psa::lookup::OrderedLookup;
use crate::psa::names::Wwid;
use crate::psa::state::device::Device;
use crate::psa::state::exams::{Exam, Stage};
use crate::psa::state::path::Path;
use crate::psa::state::proof::Identity;
use crate::psa::units::Millis;
use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;
use crate::scsi::{mode, vpd};
use std::mem::{Discriminant, discriminant};

/// The properties of a path on which its place in a table depends.
pub(in crate::psa) type Standing = (
    PathState,
    Option<Class>,
    Discriminant<Identity>,
    Discriminant<Link>,
    Option<Millis>,
    Option<u16>,
);

pub(in crate::psa) fn standing(path: &Path) -> Standing {
    (
        path.state(),
        path.class(),
        discriminant(path.proof.identity()),
        discriminant(path.health.link()),
        path.failures.suspect_since(),
        path.access.port_group(),
    )
}

/// Whether a check that just ended leaves everything as it is: a path that works answered as it did before, it was
/// judged since its device was looked at, and nothing has to be found out. This is the case for most checks.
pub(in crate::psa) fn is_as_before(path: &Path, exam: &Exam, ready: Option<&Reply>) -> bool {
    let is_ready = ready.is_none_or(|ready| ready.outcome == Outcome::Good);
    exam.stage == Stage::Check && is_ready && path.is_well()
}

/// Whether the replies of such a path, whose device was looked at recently, are byte for byte those from before: the
/// identity and the states of the port groups.
pub(in crate::psa) fn is_repeated(
    path: &Path,
    devices: &OrderedLookup<Wwid, Device>,
    now: Millis,
    replies: &[Reply],
) -> bool {
    let Some(device) = path.device().and_then(|wwid| devices.get(wwid)) else {
        return false;
    };
    let repeated = |reply: &Reply| match &reply.command {
        Command::Vpd(vpd::DEVICE_IDENTIFICATION) => path.proof.repeats(&reply.data),
        Command::ModeSense6 => {
            let write_protected = mode::is_write_protected(&reply.data).ok();
            let known = write_protected == Some(false) || path.is_read_only() == write_protected;
            write_protected.is_some() && path.fit.write_protected() == write_protected && known
        }
        Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort => {
            path.access.problem().is_none() && device.ports.repeats(&reply.data)
        }
        _ => false,
    };
    now.since(device.looked_at()) < LOOK_AGAIN
        && replies
            .iter()
            .all(|reply| reply.outcome == Outcome::Good && repeated(reply))
}

pub(in crate::psa) fn is_report(command: &Command) -> bool {
    matches!(
        command,
        Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort
    )
}
