//! Parses the command line. The tree of clap commands is built from the table of [`super::verbs`].

use super::exit::Failure;
use super::format::Format;
use super::verbs::{NAMESPACES, Verb, verbs};
use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  psactl storage nmp device list
  psactl nmp path list -d naa.60014058d216d30d1048d43d1db0c4df
  psactl --formatter=json core path list
  psactl explain sdc
  psactl top --sort state
  psactl graph naa.60014058d216d30d1048d43d1db0c4df -o lun.svg
  psactl storage nmp satp rule add -s VMW_SATP_ALUA -V PURE -M FlashArray -P VMW_PSP_RR -O iops=1
  psactl storage core claimrule add -r 109 -t location -A vmhba2 -C 0 -T 1 -L 20 -P MASK_PATH
  psactl import esxcli rules-of-esx01.txt --dry-run
  psactl import multipath /etc/multipath.conf --dry-run
  psactl storage core adapter rescan --all
  psactl scsi vpd sdc
  sg_vpd -HHHH -p di /dev/sdc | psactl scsi decode vpd

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 agent unreachable, 4 not found, 5 partly done.
Environment: DM_PSA_SOCKET names another socket of the agent; NO_COLOR turns colours off.";

/// A parsed command line.
pub enum Parsed {
    /// Help or the version was requested; this is the text to print.
    Help(String),
    /// A command to run.
    Run(Invocation),
}

/// A command to run.
pub struct Invocation {
    /// The command.
    pub verb: &'static Verb,
    /// Its arguments.
    pub given: ArgMatches,
    /// The requested output format.
    pub format: Option<Format>,
    /// The requested socket.
    pub socket: Option<PathBuf>,
    /// The requested root directory.
    pub root: Option<PathBuf>,
}

/// Parses a command line, whose first word is the name of the program. The word `esxcli` before the command is ignored,
/// so that a command line for ESXi works unchanged.
///
/// # Errors
/// [`Failure::Clap`] with the text to print.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    colour_out: bool,
    colour_err: bool,
) -> Result<Parsed, Failure> {
    let text = |styled: StyledStr, colour| {
        if colour {
            styled.ansi().to_string()
        } else {
            styled.to_string()
        }
    };
    let mut matches = match command().try_get_matches_from(without_esxcli(args)) {
        Ok(matches) => matches,
        Err(why)
            if matches!(
                why.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            return Ok(Parsed::Help(text(why.render(), colour_out)));
        }
        Err(why) => return Err(Failure::Clap(text(why.render(), colour_err))),
    };
    let mut words = Vec::new();
    while let Some((word, given)) = matches.remove_subcommand() {
        words.push(word);
        matches = given;
    }
    let named = |words: &[String]| verbs().find(|verb| words == verb.words);
    let verb = named(&words).or_else(|| named(&[&["storage".to_owned()], &words[..]].concat()));
    let Some(verb) = verb else {
        // The tree is built from the table, so clap accepts no other words.
        return Err(Failure::Clap(format!(
            "psactl: no such command: {}\n",
            words.join(" ")
        )));
    };
    Ok(Parsed::Run(Invocation {
        verb,
        format: matches.get_one("formatter").copied(),
        socket: matches.get_one("socket").cloned(),
        root: matches.get_one("root").cloned(),
        given: matches,
    }))
}

/// Removes the name of ESXi's program, which may precede the command and follow global options.
fn without_esxcli(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let takes_value = ["--root", "--socket", "--formatter"];
    let mut at = 1;
    while let Some(word) = args.get(at).and_then(|word| word.to_str()) {
        if takes_value.contains(&word) {
            at += 2;
        } else if word.starts_with("--") && word.contains('=') {
            at += 1;
        } else {
            if matches!(word, "esxcli" | "localcli") && args.len() > at + 1 {
                args.remove(at);
            }
            break;
        }
    }
    args
}

/// The complete tree. Commands below `storage` are available at the top level as well.
#[must_use]
pub fn command() -> Command {
    let storage = namespace(&["storage"]);
    let below = storage.get_subcommands().cloned().enumerate();
    let below = below.map(|(order, command)| command.display_order(order));
    children(Command::new("psactl"), &[])
        .subcommands(below)
        .version(env!("CARGO_PKG_VERSION"))
        .about("ESXi's Pluggable Storage Architecture on Linux, with the commands of esxcli")
        .after_help(AFTER_HELP)
        // -V means vendor in the commands of esxcli.
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version"),
        )
        .arg(
            Arg::new("formatter")
                .long("formatter")
                .value_name("FORMAT")
                .value_parser(value_parser!(Format))
                .global(true)
                .help_heading("Global options")
                .help("Print in this format instead of the command's default"),
        )
        .arg(
            Arg::new("socket")
                .long("socket")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .help_heading("Global options")
                .help("Socket of the agent [default: /run/dm-psa/io.dmpsa]"),
        )
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .conflicts_with("socket")
                .help_heading("Global options")
                .help("Use the files below this directory, without an agent"),
        )
        .max_term_width(100)
}

/// A namespace: a word that is not a command itself.
fn namespace(words: &[&'static str]) -> Command {
    let about = NAMESPACES
        .iter()
        .find(|(named, _)| *named == words)
        .map_or("", |(_, about)| about);
    children(Command::new(last(words)), words).about(about)
}

/// Adds the commands below `words` in the table.
fn children(mut command: Command, words: &[&'static str]) -> Command {
    let mut seen = Vec::new();
    for verb in verbs() {
        let Some(rest) = verb.words.strip_prefix(words) else {
            continue;
        };
        let Some((next, after)) = rest.split_first() else {
            continue;
        };
        if seen.contains(next) {
            continue;
        }
        seen.push(*next);
        let words = [words, &[*next]].concat();
        let child = if after.is_empty() {
            // A command can have subcommands: `events` and `events codes`.
            children(Command::new(*next), &words)
                .subcommand_required(false)
                .arg_required_else_help(false)
                .args_conflicts_with_subcommands(true)
                .about(verb.about)
                .args(verb.arguments.iter().map(|argument| argument()))
                .hide(verb.legacy)
        } else {
            let below = |verb: &&Verb| verb.words.starts_with(&words);
            namespace(&words).hide(verbs().filter(below).all(|verb| verb.legacy))
        };
        // Commands keep the order of the table, after those that `command` puts first.
        command = command.subcommand(child.display_order(seen.len().saturating_add(100)));
    }
    command
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
}

fn last(words: &[&'static str]) -> &'static str {
    words.last().copied().unwrap_or_default()
}
