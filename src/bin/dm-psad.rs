//! The agent: `dm-psad [--socket PATH] [--root DIR]`, started by systemd; stays in the foreground.
//!
//! `dm-psad --once` makes the maps of this host, prints an [`Activation`] as JSON and exits. `psactl activate` runs it.

use clap::Parser;
use dm_psa::agent::{self, AgentError, Once, Options};
use dm_psa::api::activation::Activation;
use dm_psa::psa::names::Wwid;
use dm_psa::psa::state::initramfs::Scope;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    /// Make the maps of this host, print the result as JSON, and exit. `psactl activate` uses this.
    #[arg(long)]
    once: bool,
    /// With --once: do not end before the device with this WWID has its map.
    #[arg(long, value_name = "WWID", requires = "once")]
    wait_for: Vec<String>,
    /// In an initramfs: leave devices that never had a map undecided, while the devices that it expects may still come.
    #[arg(long, conflicts_with = "once")]
    known_devices_first: bool,
    /// With --once: the devices to decide on: known, known-and-unmapped, or all.
    #[arg(long, value_name = "WHAT", default_value = "all", value_parser = scope, requires = "once")]
    decide_on: Scope,
    /// With --once: the longest time to wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "once")]
    within: u64,
}

fn scope(word: &str) -> Result<Scope, String> {
    let mut words = Scope::WORDS.iter();
    let found = words.find(|(known, _)| *known == word);
    found.map(|(_, scope)| *scope).ok_or_else(|| {
        let words: Vec<&str> = Scope::WORDS.iter().map(|(word, _)| *word).collect();
        format!("this takes {}", words.join(", "))
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = if args.once {
        once(args)
    } else {
        agent::run(&Options {
            root: args.root,
            socket: args.socket,
            known_devices_first: args.known_devices_first,
        })
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // The error was already logged.
        Err(_) => ExitCode::FAILURE,
    }
}

fn once(args: Args) -> Result<(), AgentError> {
    let once = Once {
        root: args.root,
        wait_for: args
            .wait_for
            .iter()
            .map(|wwid| Wwid::from(wwid.as_str()))
            .collect(),
        scope: args.decide_on,
        within: Duration::from_secs(args.within),
    };
    agent::run_once(&once, |activation: &Activation| {
        // Without a reader nobody needs the result.
        let _ = serde_json::to_writer(std::io::stdout(), activation);
        let _ = writeln!(std::io::stdout());
    })
}
