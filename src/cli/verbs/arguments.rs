//! Builds and reads the arguments of commands.

use clap::{Arg, ArgMatches};

/// An option with a value.
pub(super) fn option(
    name: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).help(help);
    match short {
        Some(short) => arg.short(short),
        None => arg,
    }
}

/// An option without a value.
pub(super) fn flag(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .action(clap::ArgAction::SetTrue)
        .help(help);
    match short {
        Some(short) => arg.short(short),
        None => arg,
    }
}

pub(super) fn text(given: &ArgMatches, name: &str) -> Option<String> {
    given.get_one::<String>(name).cloned()
}
