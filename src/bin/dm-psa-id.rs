//! `dm-psa-id NAME`, `dm-psa-id --map UUID`: what udev asks about a disk and about a multipath map.
//!
//! Prints KEY=VALUE lines and exits 0, or prints nothing and exits 1 (2: wrong arguments); so udev never imports
//! half an answer.

#![forbid(unsafe_code)]

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
        _ => {
            eprintln!("usage: dm-psa-id NAME | --map UUID");
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
