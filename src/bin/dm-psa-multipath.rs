//! `dm-psa-multipath`: the server on multipathd's sockets, started by systemd when a program connects. Under the names
//! `multipath`, `multipathd`, `multipathc`, `mpathpersist` and `mpathconf` it is these programs.

#![forbid(unsafe_code)]

use dm_psa::compat::host::Agent;
use dm_psa::compat::server::Until;
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
        // By dm-psa-multipath.service, where it also has the name multipathd.service. By hand there are no sockets.
        "multipathd" if args == ["-d"] && std::env::var_os("LISTEN_FDS").is_some() => {
            serve(&agent, Until::AgentEnds)
        }
        "multipathd" => client::run(&args, &mut stdout()),
        "mpathpersist" => persist::mpathpersist(&args),
        "mpathconf" => persist::mpathconf(&agent, &args, &mut stdout()),
        "multipathc" if args.is_empty() => client::run(&["-k".to_owned()], &mut stdout()),
        "multipathc" => client::run(&args, &mut stdout()),
        _ if args.is_empty() => serve(&agent, Until::Unused),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: dm-psa-multipath is started by dm-psa-multipath.socket; under the names multipath, multipathd, multipathc, mpathpersist and mpathconf it is these programs"
    );
    ExitCode::from(2)
}

fn serve(agent: &Agent, until: Until) -> ExitCode {
    let sockets = match Sockets::from_systemd() {
        Ok(sockets) if !sockets.is_empty() => sockets,
        Ok(_) => return usage(),
        Err(error) => {
            eprintln!("dm-psa-multipath: the sockets of systemd cannot be taken over: {error}");
            return ExitCode::FAILURE;
        }
    };
    match server::serve(agent, &sockets, until) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dm-psa-multipath: {error}");
            ExitCode::FAILURE
        }
    }
}
