//! `mpathpersist` and `mpathconf`: what they answer as long as the agent has no persistent reservations, and nothing to
//! configure in multipath.conf.

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

/// Runs `mpathconf`. What it would write to multipath.conf has no effect on the agent.
#[must_use]
pub fn mpathconf(_: &[String]) -> ExitCode {
    eprintln!(
        "mpathconf: nothing was changed: dm-psa is configured by /etc/dm-psa, see dm-psa.toml(5)"
    );
    ExitCode::SUCCESS
}
