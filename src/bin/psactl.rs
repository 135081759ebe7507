//! The command line of dm-psa.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    dm_psa::cli::main()
}
