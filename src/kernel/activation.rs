//! Listening sockets that systemd opened (`sd_listen_fds(3)`).

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Most connections that one call accepts from each socket.
const AT_ONCE: usize = 64;

/// Listening sockets of the Unix domain.
#[derive(Debug)]
pub struct Sockets(Vec<UnixListener>);

impl Sockets {
    /// The sockets that systemd passed to this process; none if it passed none. To be called once, before other
    /// descriptors are opened.
    ///
    /// # Errors
    /// A descriptor is not a socket.
    pub fn from_systemd() -> io::Result<Sockets> {
        let passed = sd_notify::listen_fds().map_err(io::Error::other)?;
        let mut sockets = Vec::new();
        for fd in passed {
            // SAFETY: systemd passed this descriptor for this process to own, and nothing else has taken it: this is
            // called once.
            // JUSTIFICATION: a descriptor is inherited as a number only.
            let socket = unsafe { UnixListener::from_raw_fd(fd) };
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        Ok(Sockets(sockets))
    }

    /// Listens on a socket of its own, for tests.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(path: &Path) -> io::Result<Sockets> {
        let socket = UnixListener::bind(path)?;
        socket.set_nonblocking(true)?;
        Ok(Sockets(vec![socket]))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits at most this long for connections, and accepts them. Empty if there was none.
    ///
    /// # Errors
    /// The sockets cannot be polled.
    pub fn accept(&self, within: Duration) -> io::Result<Vec<UnixStream>> {
        let mut polled: Vec<PollFd> = self
            .0
            .iter()
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        match poll(
            &mut polled,
            PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX),
        ) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut accepted = Vec::new();
        for socket in &self.0 {
            for _ in 0..AT_ONCE {
                match socket.accept() {
                    Ok((peer, _)) => {
                        // The timeouts of the peer apply to blocking calls only.
                        peer.set_nonblocking(false)?;
                        accepted.push(peer);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Out of descriptors or memory: what was accepted is served first.
                    Err(_) => {
                        std::thread::sleep(Duration::from_millis(50));
                        break;
                    }
                }
            }
        }
        Ok(accepted)
    }
}
