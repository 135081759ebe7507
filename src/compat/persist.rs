//! `mpathpersist` and `mpathconf`: what they answer as long as the agent has no persistent reservations, and nothing to
//! configure in multipath.conf.

use super::host::Agent;
use super::status::has_friendly_names;
use crate::api::requests::GetStatus;
use std::io::Write;
use std::process::ExitCode;

/// `MPATH_PR_OTHER`: callers take it as a failure that a repetition does not change.
const OTHER: u8 = 15;

/// `MPATH_PR_SYNTAX_ERROR`.
const SYNTAX: u8 = 1;

/// Runs `mpathpersist`.
#[must_use]
pub fn mpathpersist(args: &[String]) -> ExitCode {
    if args.is_empty() {
        eprintln!("mpathpersist: no option: see dm-psa-multipath(8)");
        return ExitCode::from(SYNTAX);
    }
    eprintln!(
        "mpathpersist: dm-psa does not handle persistent reservations of multipath maps yet; nothing was sent to the device\n\
         A cluster that fences by them must not use this host."
    );
    ExitCode::from(OTHER)
}

/// Runs `mpathconf`. Without an option it prints what is in force. What it would write to multipath.conf has no effect on
/// the agent.
#[must_use]
pub fn mpathconf(agent: &Agent, args: &[String], out: &mut impl Write) -> ExitCode {
    if args.is_empty() {
        let status = agent.call(&GetStatus {}).map(|reply| reply.status);
        let running = if status.is_ok() { "" } else { "not " };
        let friendly = status.is_ok_and(|status| has_friendly_names(&status));
        let friendly = if friendly { "enabled" } else { "disabled" };
        // A reader that closed the pipe has what it wanted.
        let _ = writeln!(
            out,
            "multipath is enabled\nfind_multipaths is off\nuser_friendly_names is {friendly}\nmultipathd is {running}running"
        );
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "mpathconf: nothing was changed: dm-psa is configured by /etc/dm-psa, see dm-psa.toml(5)"
    );
    ExitCode::SUCCESS
}
