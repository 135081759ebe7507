//! The socket that the agent listens on.

use super::client::open;
use nix::errno::Errno;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A listening socket; dropping it removes its file.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
}

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another agent is listening there.
    #[error("another agent listens on {}; stop it first", .0.display())]
    InUse(PathBuf),
    /// A file that is not a socket exists there.
    #[error("{} exists and is not a socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// The kernel returned an error.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `make`, `listen on`, ...
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Listener {
    /// Listens on `path`. Every user may connect: each call is authorized by the peer's credentials. Creates the
    /// directory if needed, and replaces the socket file of an agent that no longer runs.
    ///
    /// # Errors
    /// [`ListenError`]; the socket of a running agent is never taken over.
    pub fn bind(path: &Path) -> Result<Listener, ListenError> {
        let failed = |action| {
            move |source| ListenError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .map_err(failed("create the directory of"))?;
        }
        let socket = match UnixListener::bind(path) {
            Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                UnixListener::bind(path)
            }
            other => other,
        }
        .map_err(failed("listen on"))?;
        let listener = Listener {
            socket,
            path: path.to_owned(),
        };
        fs::set_permissions(path, Permissions::from_mode(0o666))
            .map_err(failed("set the mode of"))?;
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The file may already be gone.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket file on which nothing listens.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Io {
        action: "replace",
        path: path.to_owned(),
        source,
    };
    if !fs::symlink_metadata(path)
        .map_err(failed)?
        .file_type()
        .is_socket()
    {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match open(path, Duration::from_secs(1)) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed),
        // EAGAIN: its backlog is full, so an agent is listening.
        Ok(_) | Err(Errno::EAGAIN) => Err(ListenError::InUse(path.to_owned())),
        Err(why) => Err(failed(why.into())),
    }
}
