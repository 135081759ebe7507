//! `dm-psa-id NAME`, `dm-psa-id --map UUID`: answers udev's questions about a disk and about a multipath map.
//!
//! Prints KEY=VALUE lines and exits with 0, or prints nothing and exits with 1 (2: wrong arguments), so that udev never
//! imports half an answer.
//!
//! `dm-psa-id --show-undecided`: run when no agent has decided on the disks of this boot within its time.
//!
//! `dm-psa-id --end-queueing`: run by the shutdown hook when the agent is gone. The last step before the host stops
//! should be a small program that udev has run before, so that it is already in memory: its disk may hang.

#![forbid(unsafe_code)]

use dm_psa::kernel::NoticeSink;
use dm_psa::kernel::dm::client::Client;
use dm_psa::kernel::dm::queueing::{Which, end, ours};
use dm_psa::kernel::id;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let answer = match args.as_slice() {
        ["--map", uuid] => {
            id::map_properties(uuid).ok_or_else(|| format!("`{uuid}` is not a multipath map"))
        }
        [name] if !name.starts_with('-') => id::decide(Path::new("/"), name)
            .map(|decision| decision.to_string())
            .map_err(|error| error.to_string()),
        ["--show-undecided"] => id::show_undecided(Path::new("/")),
        ["--end-queueing"] => end_queueing(Path::new("/")).map(|()| String::new()),
        _ => {
            eprintln!("usage: dm-psa-id NAME | --map UUID | --show-undecided | --end-queueing");
            return ExitCode::from(2);
        }
    };
    match answer.map(|text| stdout().write_all(text.as_bytes())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("dm-psa-id: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the queueing of the agent's maps. If there is no list of maps, no agent ran since the host started, and there
/// is nothing to end.
fn end_queueing(root: &Path) -> Result<(), String> {
    let ours = ours(root).unwrap_or_default();
    if ours.is_empty() {
        return Ok(());
    }
    let client = Client::open(NoticeSink::discard()).map_err(|error| error.to_string())?;
    let ended = end(&client, Which::Last(&ours)).map_err(|error| error.to_string())?;
    let failed: Vec<String> = ended
        .into_iter()
        .filter_map(|(name, result)| Some(format!("{name}: {}", result.err()?)))
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "queueing could not be ended: {}",
            failed.join("; ")
        ))
    }
}
