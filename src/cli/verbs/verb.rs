//! A command: its words, its arguments, and the function that runs it.

use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use clap::{Arg, ArgMatches};

/// A command.
#[derive(Clone, Copy)]
pub struct Verb {
    /// Its words. The user can omit a leading `storage`.
    pub words: &'static [&'static str],
    /// A description in one line.
    pub about: &'static str,
    /// Its options and arguments.
    pub arguments: &'static [fn() -> Arg],
    /// The function that runs it.
    pub run: fn(&mut Context, &ArgMatches) -> Result<Listing, Failure>,
    /// Whether help hides it: the command has these words for guides for ESXi 4, or only `make install` needs it.
    pub legacy: bool,
}

impl Verb {
    /// The same command with the words of ESXi 4.
    pub(super) const fn also(self, words: &'static [&'static str]) -> Verb {
        Verb {
            words,
            legacy: true,
            ..self
        }
    }
}
