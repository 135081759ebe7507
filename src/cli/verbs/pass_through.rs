//! `psactl scsi inquiry|vpd|rtpg|tur|stpg`: sends a command to a device and decodes its answer. The agent is needed
//! only for the runtime name of a path.

use super::arguments::{flag, option, text};
use super::scsi::{page_code, show};
use super::verb::Verb;
use crate::api::requests::ListCorePaths;
use crate::cli::context::Context;
use crate::cli::decode;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_host::Readiness;
use crate::cli::record::Listing;
use crate::kernel::passthrough::sg::once::{PassThrough, PassThroughError};
use crate::psa::units::Millis;
use crate::scsi::cdb::Command;
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::SenseMeaning;
use crate::scsi::tpgs::{AccessState, SupportedStates, TargetPortGroup, TargetPortGroups};
use crate::scsi::vpd;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, value_parser};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["scsi", "inquiry"],
        about: "Read the standard INQUIRY data of a device",
        arguments: &[device, timeout],
        run: |context, given| {
            let asked = Asked::open(context, given)?;
            let data = asked.data(&Command::Inquiry)?;
            asked.show(context, &data, decode::inquiry)
        },
        legacy: false,
    },
    Verb {
        words: &["scsi", "vpd"],
        about: "Read a vital product data page of a device",
        arguments: &[device, page, timeout],
        run: |context, given| {
            let page = given.get_one::<u8>("page").copied();
            let page = page.unwrap_or(vpd::DEVICE_IDENTIFICATION);
            let asked = Asked::open(context, given)?;
            let data = asked.data(&Command::Vpd(page))?;
            asked.show(context, &data, |data| decode::vpd(data, Some(page)))
        },
        legacy: false,
    },
    Verb {
        words: &["scsi", "rtpg"],
        about: "Read the target port groups of a device and their access states",
        arguments: &[device, timeout],
        run: |context, given| {
            let asked = Asked::open(context, given)?;
            let data = asked.port_groups()?;
            asked.show(context, &data, decode::rtpg)
        },
        legacy: false,
    },
    Verb {
        words: &["scsi", "tur"],
        about: "Check whether a device is ready; exit code 1 if it is not",
        arguments: &[device, timeout],
        run: |context, given| {
            let asked = Asked::open(context, given)?;
            // Sent only once, because a unit attention is a valid answer here.
            let (outcome, _) = asked.device.send(&Command::TestUnitReady, asked.timeout)?;
            if !outcome.carried_out() {
                context.says_no();
            }
            Ok(listing(&[Readiness {
                device: asked.device.node.clone(),
                address: asked.device.path.to_string(),
                outcome,
            }]))
        },
        legacy: false,
    },
    Verb {
        words: &["scsi", "stpg"],
        about: "Set the access state of a target port group: this changes the array for every host that uses it",
        arguments: &[device, group, state, force, timeout],
        run: set_port_group,
        legacy: false,
    },
];

/// The values of `--state`.
const STATES: [(&str, AccessState); 5] = [
    ("active", AccessState::ActiveOptimized),
    ("nonoptimized", AccessState::ActiveNonOptimized),
    ("standby", AccessState::Standby),
    ("unavailable", AccessState::Unavailable),
    ("offline", AccessState::Offline),
];

/// The device that commands are sent to.
struct Asked {
    device: PassThrough,
    timeout: Millis,
}

impl Asked {
    fn open(context: &mut Context, given: &ArgMatches) -> Result<Asked, Failure> {
        let host = context.host()?;
        let mut name = text(given, "device").unwrap_or_default();
        if name.starts_with("vmhba") {
            let path = Some(name);
            let paths = context.ask(&ListCorePaths { device: None, path })?.paths;
            name = paths
                .into_iter()
                .next()
                .map(|path| path.hctl)
                .unwrap_or_default();
        }
        let seconds = given.get_one::<u64>("timeout").copied().unwrap_or(20);
        Ok(Asked {
            device: PassThrough::open(&host, &name)?,
            timeout: Millis::from_secs(seconds),
        })
    }

    /// The data of a command that must succeed.
    fn data(&self, command: &Command) -> Result<Vec<u8>, Failure> {
        match self.device.send_patiently(command, self.timeout)? {
            (outcome, data) if outcome.carried_out() => Ok(data),
            (outcome, _) => Err(self.refusal(command, &outcome)),
        }
    }

    /// The answer to REPORT TARGET PORT GROUPS. The extended header is used if the device supports it and sends a
    /// complete answer: LIO omits the last port.
    fn port_groups(&self) -> Result<Vec<u8>, Failure> {
        let command = Command::ReportTargetPortGroups;
        let (outcome, data) = self.device.send_patiently(&command, self.timeout)?;
        let whole = TargetPortGroups::parse_partly(&data).is_ok_and(|it| it.missing.is_none());
        if outcome.carried_out() && whole {
            return Ok(data);
        }
        let refused = outcome
            .sense()
            .is_some_and(|sense| sense.meaning() == SenseMeaning::InvalidOpcodeOrField);
        if !outcome.carried_out() && !refused {
            return Err(self.refusal(&command, &outcome));
        }
        let short = self.data(&Command::ReportTargetPortGroupsShort);
        // An incomplete answer is better than none.
        if refused {
            short
        } else {
            Ok(short.unwrap_or(data))
        }
    }

    fn show(
        &self,
        context: &mut Context,
        data: &[u8],
        decode: impl Fn(&[u8]) -> Result<decode::Decoded, crate::scsi::ParseError>,
    ) -> Result<Listing, Failure> {
        let remedy = "the device returned an incomplete response";
        show(context, &self.device.node, data, remedy, decode)
    }

    /// Describes why a command was not carried out.
    fn refusal(&self, command: &Command, outcome: &Outcome) -> Failure {
        self.refused(format!("{command}: {outcome}: {}", decode::advice(outcome)))
    }

    fn refused(&self, why: String) -> Failure {
        let device = &self.device;
        Failure::Refused(format!("{} ({}): {why}", device.node, device.path))
    }
}

impl From<PassThroughError> for Failure {
    fn from(why: PassThroughError) -> Self {
        match why {
            PassThroughError::NoSuchDevice(_) => Failure::NotFound(why.to_string()),
            _ => Failure::Refused(why.to_string()),
        }
    }
}

fn set_port_group(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let wanted = text(given, "state").unwrap_or_default();
    let state = STATES.iter().find(|(word, _)| *word == wanted);
    let (Some((_, state)), Some(group)) = (state, given.get_one::<u16>("group").copied()) else {
        return Err(Failure::Usage(
            "--group and --state are required".to_owned(),
        ));
    };
    if !given.get_flag("force") {
        return Err(Failure::Usage(format!(
            "group {group} would become {state} for every host that uses the array, and I/O would move with it: use --force to confirm"
        )));
    }
    let asked = Asked::open(context, given)?;
    let inquiry = StandardInquiry::parse(&asked.data(&Command::Inquiry)?)
        .map_err(|why| asked.refused(why.to_string()))?;
    if !inquiry.tpgs.explicit() {
        return Err(asked.refused(format!(
            "no host can set its access states (INQUIRY TPGS: {}): use the array's own management",
            inquiry.tpgs
        )));
    }
    let groups = TargetPortGroups::parse(&asked.port_groups()?)
        .map_err(|why| asked.refused(why.to_string()))?;
    let Some(found) = groups.find(group) else {
        let there: Vec<String> = groups.groups.iter().map(|g| g.id.to_string()).collect();
        return Err(asked.refused(format!(
            "there is no target port group {group}: use one of {}",
            there.join(", ")
        )));
    };
    if !supports(found.supported, *state) {
        return Err(asked.refused(format!(
            "group {group} does not support the state {state}: `psactl scsi rtpg` shows the supported states (_SUP)"
        )));
    }
    asked.data(&Command::SetTargetPortGroups(descriptors(found, *state)))?;
    let data = asked.port_groups()?;
    asked.show(context, &data, decode::rtpg)
}

fn supports(states: SupportedStates, state: AccessState) -> bool {
    match state {
        AccessState::ActiveOptimized => states.active_optimized,
        AccessState::ActiveNonOptimized => states.active_non_optimized,
        AccessState::Standby => states.standby,
        AccessState::Unavailable => states.unavailable,
        AccessState::Offline => states.offline,
        _ => false,
    }
}

/// The descriptors to send for a group. Offline is a state of single ports (a secondary state, SPC-5 6.45): in this
/// case each port of the group has a descriptor with its relative target port identifier.
fn descriptors(group: &TargetPortGroup, state: AccessState) -> Vec<(u16, AccessState)> {
    match state {
        AccessState::Offline => {
            let ports = group.relative_target_ports.iter();
            ports.map(|port| (*port, state)).collect()
        }
        _ => vec![(group.id, state)],
    }
}

fn device() -> Arg {
    Arg::new("device")
        .required(true)
        .value_name("DEVICE")
        .help("/dev/sdc, sdc, /dev/sg3, sg3, 2:0:0:1, a link to one, or a path's runtime name (vmhba2:C0:T0:L1)")
}

fn page() -> Arg {
    option(
        "page",
        None,
        "P",
        "PAGE CODE in hex: 83, 0x83 or 83h [default: 83]; 00 lists the supported pages",
    )
    .value_parser(page_code)
}

fn timeout() -> Arg {
    option(
        "timeout",
        None,
        "S",
        "Seconds until the kernel aborts the command [default: 20]; error recovery may take longer",
    )
    .value_parser(value_parser!(u64).range(1..=3600))
}

fn group() -> Arg {
    option("group", Some('g'), "N", "TARGET PORT GROUP")
        .required(true)
        .value_parser(value_parser!(u16))
}

fn state() -> Arg {
    option("state", Some('s'), "STATE", "New access state")
        .required(true)
        .value_parser(PossibleValuesParser::new(STATES.map(|(word, _)| word)))
}

fn force() -> Arg {
    flag(
        "force",
        None,
        "Confirm: the state changes for all hosts, and I/O on these paths fails over, or fails if there are no other paths",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::tpgs::StatusCode;

    fn group(states: u8) -> TargetPortGroup {
        TargetPortGroup {
            id: 7,
            access_state: AccessState::Standby,
            preferred: false,
            supported: SupportedStates::from_byte(states),
            status_code: StatusCode::from_byte(0),
            vendor_specific: 0,
            relative_target_ports: vec![1, 2],
        }
    }

    #[test]
    fn offline_has_a_descriptor_for_each_port() {
        let group = group(0xff);
        assert_eq!(
            descriptors(&group, AccessState::Standby),
            [(7, AccessState::Standby)]
        );
        assert_eq!(
            descriptors(&group, AccessState::Offline),
            [(1, AccessState::Offline), (2, AccessState::Offline)]
        );
    }

    #[test]
    fn only_supported_states_can_be_set() {
        let some = group(0b0000_0011).supported;
        assert!(supports(some, AccessState::ActiveOptimized));
        assert!(supports(some, AccessState::ActiveNonOptimized));
        for state in [
            AccessState::Standby,
            AccessState::Unavailable,
            AccessState::Offline,
            AccessState::Transitioning,
        ] {
            assert!(!supports(some, state), "{state}");
        }
    }
}
