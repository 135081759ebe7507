//! Generates shell completions and the manual pages that `make install` installs.

use super::arguments::text;
use super::verb::Verb;
use crate::cli::exit::Failure;
use crate::cli::generated::Page;
use crate::cli::record::Listing;
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, value_parser};
use clap_complete::Shell;
use std::fs;
use std::path::{Path, PathBuf};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["completion"],
        about: "Print the completion script of psactl for a shell",
        arguments: &[shell],
        run: |context, given| {
            let command = (context.generators().command)();
            Ok(completion(
                command,
                &text(given, "shell").unwrap_or_default(),
            ))
        },
        legacy: false,
    },
    Verb {
        words: &["man"],
        about: "Write the manual pages of psactl into a directory",
        arguments: &[directory],
        run: |context, given| match given.get_one::<PathBuf>("directory") {
            Some(directory) => write_pages((context.generators().pages)(), directory),
            None => Ok(Listing::lines([])),
        },
        legacy: true,
    },
];

fn shell() -> Arg {
    Arg::new("shell")
        .required(true)
        .value_name("SHELL")
        .value_parser(PossibleValuesParser::new(["bash", "zsh", "fish"]))
        .help("For example: source <(psactl completion bash). `make install` puts them in place")
}

fn directory() -> Arg {
    Arg::new("directory")
        .required(true)
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("An existing directory")
}

fn completion(mut command: Command, shell: &str) -> Listing {
    // The parser accepts these three only.
    let shell = match shell {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "psactl", &mut script);
    let script = String::from_utf8_lossy(&script);
    Listing::lines(script.lines().map(str::to_owned))
}

fn write_pages(pages: Vec<Page>, directory: &Path) -> Result<Listing, Failure> {
    for page in pages {
        let file = directory.join(&page.file);
        fs::write(&file, page.text).map_err(|why| {
            Failure::Refused(format!("{} cannot be written: {why}", file.display()))
        })?;
    }
    Ok(Listing::lines([]))
}
