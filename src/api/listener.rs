//! The socket that the agent listens on.

use super::client::open;
use nix::errno::Errno;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A listening socket; it takes its file away when it goes.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
}

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("another agent listens on {}; stop it first", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{} exists and is not a socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `make`, `listen on`, ...
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Listener {
    /// Listens on `path`, open to every user: who may do what is decided for each call by the peer's credentials.
    /// Makes the directory if there is none, and replaces the socket file that an agent which died left behind.
    ///
    /// # Errors
    /// [`ListenError`]; a live agent's socket is never taken over.
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
                .map_err(failed("make the directory of"))?;
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
        // A file that is already gone is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket file that nobody listens on.
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
        // EAGAIN: its backlog is full, so somebody owns it.
        Ok(_) | Err(Errno::EAGAIN) => Err(ListenError::InUse(path.to_owned())),
        Err(why) => Err(failed(why.into())),
    }
}
