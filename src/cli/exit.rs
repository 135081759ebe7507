//! How a command ends.

use super::printable::{printable, printable_lines};
use super::typography::Typography;
use crate::api::ApiError;
use crate::api::client::ClientError;
use crate::config::ConfigError;
use std::fmt;
use std::io;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Not done.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The agent does not answer.
    Unreachable = 3,
    /// There is no such device or path.
    NotFound = 4,
    /// Done for some, not for all.
    Partly = 5,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Why a command was not done.
#[derive(Debug)]
pub enum Failure {
    /// The command line was refused; the text is whole.
    Clap(String),
    /// An argument has a dash or quote of an editor.
    Typography(Typography),
    /// What an option says is refused: why, and the mend.
    Usage(String),
    /// What was to be changed is not there.
    NotFound(String),
    /// It cannot be done: why, and the mend.
    Refused(String),
    /// A file of rules cannot be used.
    File(ConfigError),
    /// The agent refused or did not answer.
    Agent(ClientError),
    /// Standard output cannot be written.
    Write(io::Error),
}

impl Failure {
    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Clap(_) | Failure::Typography(_) | Failure::Usage(_) => Exit::Usage,
            Failure::NotFound(_) => Exit::NotFound,
            Failure::Write(_) | Failure::Refused(_) | Failure::File(_) => Exit::Failed,
            Failure::Agent(ClientError::Refused(why)) => match why {
                ApiError::NotFound { .. } => Exit::NotFound,
                ApiError::InvalidParameter { .. } | ApiError::ServiceParameter { .. } => {
                    Exit::Usage
                }
                ApiError::Unavailable { .. } => Exit::Unreachable,
                _ => Exit::Failed,
            },
            Failure::Agent(_) => Exit::Unreachable,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Clap(text) => f.write_str(text),
            Failure::Typography(why) => f.write_str(&printable_lines(&why.to_string())),
            Failure::Usage(why) | Failure::NotFound(why) | Failure::Refused(why) => {
                f.write_str(&printable_lines(why))
            }
            Failure::File(why) => f.write_str(&printable_lines(&why.to_string())),
            // The agent's words, on one line: they may quote a device.
            Failure::Agent(ClientError::Refused(why)) => f.write_str(&printable(&why.to_string())),
            Failure::Agent(why) => f.write_str(&printable_lines(&why.to_string())),
            Failure::Write(why) => write!(f, "cannot write the output: {why}"),
        }
    }
}

impl From<Typography> for Failure {
    fn from(why: Typography) -> Self {
        Failure::Typography(why)
    }
}

impl From<ConfigError> for Failure {
    fn from(why: ConfigError) -> Self {
        Failure::File(why)
    }
}

impl From<ClientError> for Failure {
    fn from(why: ClientError) -> Self {
        Failure::Agent(why)
    }
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Failure::Write(why)
    }
}
