//! `psactl`: parses arguments, runs one command and prints the result.
//!
//! Steps of a command: [`typography`] rejects characters that a text editor inserted, and [`args`] parses the command
//! line with the table of [`verbs`]. The command queries the agent, works on the rules files, or queries the kernel of
//! this host for what needs no agent (counters, SCSI commands, scans, open files). It turns the records into a
//! [`record::Listing`] by their [`layout`], which [`mod@format`] prints. A new command is one entry in a table of
//! [`verbs`], and a layout if its records are new.
//!
//! Invariants: no byte from a device or from the agent reaches the terminal as a control character ([`printable`]);
//! rendering never fails; the program ends quietly if the reader of its output goes away. Tests: `tests/cli.rs`, with
//! the screens in `tests/golden/cli/`.

#![forbid(unsafe_code)]

mod activate;
pub mod args;
mod context;
pub mod decode;
mod exit;
pub mod format;
mod generated;
pub mod graph;
mod handover;
pub mod hex;
pub mod import;
pub mod layout;
pub mod layout_boot;
mod layout_events;
pub mod layout_host;
pub mod layout_rules;
pub mod man;
pub mod printable;
pub mod record;
pub mod top;
pub mod typography;
pub mod verbs;
mod when;

pub use context::Context;
pub use exit::{Exit, Failure};

use crate::kernel::sysfs::Sysfs;
use args::Parsed;
use generated::Generators;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

/// Where a command prints to.
pub struct Console<'a> {
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
    /// Whether `out` supports colours.
    pub colour_out: bool,
    /// Whether `err` supports colours.
    pub colour_err: bool,
}

/// The entry point: runs the command line of this process.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    // https://no-color.org: colours are off if the variable is set and not empty.
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    let mut console = Console {
        colour_out: wanted && out.is_terminal(),
        colour_err: wanted && err.is_terminal(),
        out: &mut out,
        err: &mut err,
    };
    run(std::env::args_os(), &mut console).into()
}

/// Runs a command line, whose first word is the name of the program.
pub fn run(args: impl IntoIterator<Item = OsString>, console: &mut Console) -> Exit {
    run_on(Sysfs::of_this_host(), args, console)
}

/// Like [`run`], with the kernel's file trees below another directory, for tests.
pub fn run_on(
    host: Sysfs,
    args: impl IntoIterator<Item = OsString>,
    console: &mut Console,
) -> Exit {
    match try_run(host, args, console) {
        Ok(exit) => exit,
        Err(Failure::Write(why)) if why.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(failure) => {
            // If standard error cannot be written either, only the exit code is left.
            let _ = match &failure {
                Failure::Clap(text) => console.err.write_all(text.as_bytes()),
                other => writeln!(console.err, "psactl: {other}"),
            };
            failure.exit()
        }
    }
}

fn try_run(
    host: Sysfs,
    args: impl IntoIterator<Item = OsString>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    typography::check(args.iter().skip(1))?;
    let mut exit = Exit::Ok;
    let text = match args::parse(args, console.colour_out, console.colour_err)? {
        Parsed::Help(text) => text,
        Parsed::Run(invocation) => {
            let generators = Generators {
                command: args::command,
                pages: man::pages,
            };
            let socket = invocation.socket.as_deref();
            let mut context = Context::new(socket, invocation.root, host, generators);
            context.print_as(invocation.format);
            let mut listing = (invocation.verb.run)(&mut context, &invocation.given)?;
            let colour = console.colour_out;
            if let Some(mut more) = context.rest() {
                // Prints one part at a time, as it becomes available.
                loop {
                    let text = format::render_part(&listing, invocation.format, colour)?;
                    console.out.write_all(text.as_bytes())?;
                    console.out.flush()?;
                    match more(&mut context)? {
                        Some(next) => listing = next,
                        None => break,
                    }
                }
                listing = record::Listing::lines([]);
            }
            exit = context.exit();
            for warning in context.warnings() {
                // The command has succeeded, so a warning that cannot be printed must not make it fail.
                let _ = writeln!(
                    console.err,
                    "psactl: warning: {}",
                    printable::printable(warning)
                );
            }
            if listing.records.is_empty() && listing.style == record::Style::Lines {
                String::new()
            } else {
                format::render(&listing, invocation.format, colour)
            }
        }
    };
    console.out.write_all(text.as_bytes())?;
    console.out.flush()?;
    Ok(exit)
}
