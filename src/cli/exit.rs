//! Exit codes and failures of commands.

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
    /// The command succeeded.
    Ok = 0,
    /// The command failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The agent does not answer.
    Unreachable = 3,
    /// The device or path does not exist.
    NotFound = 4,
    /// The command succeeded for some objects, but not for all.
    Partly = 5,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// clap rejected the command line; the text is complete.
    Clap(String),
    /// An argument has a typographic dash or quote from a text editor.
    Typography(Typography),
    /// The value of an option is invalid: the reason and the remedy.
    Usage(String),
    /// The object to change does not exist.
    NotFound(String),
    /// The command cannot be carried out: the reason and the remedy.
    Refused(String),
    /// A rules file cannot be used.
    File(ConfigError),
    /// The agent rejected the request or did not answer.
    Agent(ClientError),
    /// Standard output cannot be written.
    Write(io::Error),
}

impl Failure {
    /// The exit code of this failure.
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
            // The message of the agent is printed on one line, because it may quote text from a device.
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
