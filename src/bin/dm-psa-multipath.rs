//! `dm-psa-multipath`: the server on multipathd's sockets, started by systemd when a program connects. Under the names
//! `multipath`, `multipathd`, `mpathpersist` and `mpathconf` it is these programs.

#![forbid(unsafe_code)]

use dm_psa::compat::host::Agent;
use dm_psa::compat::{client, multipath, persist, server};
use dm_psa::kernel::activation::Sockets;
use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let called = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let agent = Agent {
        socket: std::env::var_os("DM_PSA_SOCKET")
            .map_or_else(|| PathBuf::from(dm_psa::api::DEFAULT_SOCKET), PathBuf::from),
        root: PathBuf::from("/"),
    };
    let name = Path::new(&called).file_name().unwrap_or_default();
    match name.to_str().unwrap_or_default() {
        "multipath" => {
            let is_root = nix::unistd::geteuid().is_root();
            multipath::run(&agent, &args, is_root, &mut stdout())
        }
        "multipathd" => client::run(&args, &mut stdout()),
        "mpathpersist" => persist::mpathpersist(&args),
        "mpathconf" => persist::mpathconf(&args),
        _ => serve(&agent, &args),
    }
}

fn serve(agent: &Agent, args: &[String]) -> ExitCode {
    let sockets = match Sockets::from_systemd() {
        Ok(sockets) if args.is_empty() && !sockets.is_empty() => sockets,
        Ok(_) => {
            eprintln!(
                "usage: dm-psa-multipath is started by dm-psa-multipath.socket; under the names multipath, multipathd, mpathpersist and mpathconf it is these programs"
            );
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("dm-psa-multipath: the sockets of systemd cannot be taken over: {error}");
            return ExitCode::FAILURE;
        }
    };
    match server::serve(agent, &sockets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dm-psa-multipath: {error}");
            ExitCode::FAILURE
        }
    }
}
