//! The agent: `dm-psad [--socket PATH] [--root DIR]`, started by systemd; stays in the foreground.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Multipath agent: ESXi's Pluggable Storage Architecture over dm-multipath.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Socket of the API.
    #[arg(long, default_value = dm_psa::api::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Directory that contains etc/dm-psa and run/dm-psa.
    #[arg(long, default_value = "/")]
    root: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match dm_psa::agent::run(&dm_psa::agent::Options {
        root: args.root,
        socket: args.socket,
    }) {
        Ok(()) => ExitCode::SUCCESS,
        // The error was already logged.
        Err(_) => ExitCode::FAILURE,
    }
}
