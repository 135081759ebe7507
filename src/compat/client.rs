//! `multipathd COMMAND` and `multipathd -k`: the client of the socket.

use super::wire::{LONGEST_REPLY, receive, send};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::{self, BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// The addresses of the socket, in the order in which clients try them: a file, and a name of the abstract namespace.
const FILE: &str = "/run/multipathd.socket";
const ABSTRACT: &[u8] = b"/org/kernel/linux/storage/multipathd";

/// How long to wait for a reply.
const WITHIN: i64 = 10;

/// Runs the program.
#[must_use]
pub fn run(args: &[String], out: &mut impl Write) -> ExitCode {
    let command = match args {
        [] => {
            eprintln!(
                "multipathd: the daemon of this host is dm-psad: `systemctl status dm-psa.service`"
            );
            return ExitCode::FAILURE;
        }
        [one] if one == "-k" => return interactive(out),
        [one, rest @ ..] if one.starts_with("-k") => {
            let first = one.trim_start_matches("-k").to_owned();
            joined(&[&[first], rest].concat())
        }
        [one, ..] if one.starts_with('-') => {
            eprintln!(
                "multipathd: {one}: the daemon of this host is dm-psad, and takes no options of multipathd"
            );
            return ExitCode::FAILURE;
        }
        words => joined(words),
    };
    match open().and_then(|mut peer| ask(&mut peer, &command)) {
        Ok(reply) => print(&reply, out),
        Err(error) => fail(&error, out),
    }
}

/// Asks multipathd's socket one command.
///
/// # Errors
/// Nobody serves the socket, or there is no answer in time.
pub fn ask_once(command: &str) -> io::Result<String> {
    ask(&mut open()?, command)
}

/// One command from several words. Those with blanks are quoted, unless the whole command is one word: that is sent as it is,
/// because it may have quotes of its own.
fn joined(words: &[String]) -> String {
    match words {
        [one] => one.clone(),
        words => {
            let quoted = words
                .iter()
                .map(|word| match word.contains(char::is_whitespace) {
                    true if !word.starts_with('"') => format!("\"{word}\""),
                    _ => word.clone(),
                });
            quoted.collect::<Vec<String>>().join(" ")
        }
    }
}

fn interactive(out: &mut impl Write) -> ExitCode {
    let mut peer = match open() {
        Ok(peer) => peer,
        Err(error) => return fail(&error, out),
    };
    let mut lines = io::stdin().lock().lines();
    loop {
        let _ = write!(out, "multipathd> ").and_then(|()| out.flush());
        let Some(Ok(line)) = lines.next() else {
            return ExitCode::SUCCESS;
        };
        match line.trim() {
            "" => {}
            "quit" | "exit" => return ExitCode::SUCCESS,
            command => match ask(&mut peer, command) {
                Ok(reply) => drop(print(&reply, out)),
                Err(error) => return fail(&error, out),
            },
        }
    }
}

fn open() -> io::Result<UnixStream> {
    let address = UnixAddr::new(FILE)?;
    reach(&address).or_else(|_| reach(&UnixAddr::new_abstract(ABSTRACT)?))
}

fn reach(address: &UnixAddr) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // A socket whose backlog is full must not hold the caller for ever.
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(WITHIN))?;
    connect(socket.as_raw_fd(), address)?;
    let peer = UnixStream::from(socket);
    peer.set_read_timeout(Some(Duration::from_secs(WITHIN.unsigned_abs())))?;
    Ok(peer)
}

fn ask(peer: &mut UnixStream, command: &str) -> io::Result<String> {
    send(peer, command)?;
    receive(peer, LONGEST_REPLY)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Prints a reply. A failure keeps its word in the output and is an exit code too, because some callers look for one and
/// some for the other.
fn print(reply: &str, out: &mut impl Write) -> ExitCode {
    let _ = write!(out, "{reply}").and_then(|()| out.flush());
    let failed = reply.starts_with("fail\n") || reply == "timeout\n";
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn fail(error: &io::Error, out: &mut impl Write) -> ExitCode {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let _ = writeln!(out, "timeout receiving packet");
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            eprintln!(
                "ERROR: failed to connect to multipathd\nthe socket is served by dm-psa-multipath: `systemctl start dm-psa-multipath.socket`"
            );
        }
        _ => {
            let _ = writeln!(
                out,
                "error {} receiving packet",
                error.raw_os_error().unwrap_or(0)
            );
        }
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_blanks_stay_one_parameter() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let list = words(&["show", "paths", "raw", "format", "%i %d"]);
        assert_eq!(joined(&list), "show paths raw format \"%i %d\"");
        // `-kCMD` and a command in one argument are taken as they are.
        assert_eq!(joined(&words(&["show maps"])), "show maps");
        let quoted = "show paths format \"%w|%a\"";
        assert_eq!(joined(&words(&[quoted])), quoted);
    }
}
