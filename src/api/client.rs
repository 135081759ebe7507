//! The client: one blocking call at a time, each with a deadline.

use super::error::ApiError;
use super::requests::Method;
use super::wire::{self, Call, Decoder, MAX_CALL, MAX_REPLY, Reply, WireError};
use super::{DEFAULT_SOCKET, SOCKET_VARIABLE};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a client waits for the agent.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the socket to use: the requested one, else the one in the environment, else the default.
#[must_use]
pub(crate) fn socket_path(asked: Option<&Path>) -> PathBuf {
    match asked {
        Some(path) => path.to_owned(),
        None => std::env::var_os(SOCKET_VARIABLE)
            .filter(|value| !value.is_empty())
            .map_or_else(|| PathBuf::from(DEFAULT_SOCKET), PathBuf::from),
    }
}

/// Why a call got no reply; the text includes the reason and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens on the socket.
    #[error(
        "the agent dm-psad is not running: {}: {why}\nstart it with `systemctl start dm-psa.service`; if it stopped by itself, `journalctl -u dm-psa.service` says why",
        path.display()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// `there is no such socket` or `nobody listens on this socket`.
        why: &'static str,
    },
    /// The agent did not answer in time.
    #[error(
        "the agent did not answer within {} s on {}\nit may be busy or stopped by a debugger: `systemctl status dm-psa.service` shows it",
        after.as_secs_f32(),
        path.display()
    )]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// The agent closed the connection without a reply.
    #[error(
        "the agent closed the connection without an answer ({})\nit may have been restarted: try again, and see `journalctl -u dm-psa.service`",
        path.display()
    )]
    Closed {
        /// The socket.
        path: PathBuf,
    },
    /// The kernel returned an error.
    #[error("cannot talk to the agent on {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The peer does not speak the protocol.
    #[error(
        "the answer on {} is not from a dm-psad of this version: {source}\nif dm-psa was updated, restart the agent: `systemctl restart dm-psa.service`",
        path.display()
    )]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: WireError,
    },
    /// The agent answered with an error.
    #[error(transparent)]
    Refused(#[from] ApiError),
}

impl ClientError {
    /// Whether there was no reply at all; the connection is not usable any more then.
    #[must_use]
    pub(crate) fn is_unreachable(&self) -> bool {
        !matches!(self, ClientError::Refused(_))
    }
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    path: PathBuf,
    timeout: Duration,
    replies: Decoder,
}

impl Client {
    /// Connects to the agent on `path`; connecting and each call time out after `timeout`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn connect(path: &Path, timeout: Duration) -> Result<Client, ClientError> {
        let not_running = |why| ClientError::NotRunning {
            path: path.to_owned(),
            why,
        };
        match open(path, timeout) {
            Ok(socket) => Ok(Client {
                socket,
                path: path.to_owned(),
                timeout,
                replies: Decoder::new(MAX_REPLY),
            }),
            Err(Errno::ENOENT) => Err(not_running("there is no such socket")),
            Err(Errno::ECONNREFUSED) => Err(not_running("nobody listens on this socket")),
            Err(Errno::EAGAIN) => Err(ClientError::TimedOut {
                path: path.to_owned(),
                after: timeout,
            }),
            Err(why) => Err(ClientError::Io {
                path: path.to_owned(),
                source: why.into(),
            }),
        }
    }

    /// Calls a method.
    ///
    /// # Errors
    /// [`ClientError`]; after any error but [`ClientError::Refused`] the connection is not usable any more.
    pub fn call<M: Method>(&mut self, request: &M) -> Result<M::Reply, ClientError> {
        let parameters =
            serde_json::to_value(request).map_err(|why| self.protocol(WireError::Json(why)))?;
        let reply = self.call_by_name(M::NAME, parameters)?;
        serde_json::from_value(reply).map_err(|why| self.protocol(WireError::Json(why)))
    }

    /// Calls a method by its full name.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_by_name(&mut self, method: &str, parameters: Value) -> Result<Value, ClientError> {
        let call = wire::encode(&Call::new(method, parameters), MAX_CALL)
            .map_err(|why| self.protocol(why))?;
        let deadline = Instant::now() + self.timeout;
        self.send(&call, deadline)?;
        let frame = self.receive(deadline)?;
        let reply: Reply = wire::decode(&frame).map_err(|why| self.protocol(why))?;
        match reply.error {
            Some(error) => Err(ApiError::from_reply(&error, &reply.parameters).into()),
            None => Ok(reply.parameters),
        }
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            let left = self.left(deadline)?;
            let wrote = self
                .socket
                .set_write_timeout(Some(left))
                .and_then(|()| self.socket.write(bytes));
            match wrote {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                // The agent may have sent an error reply before it closed the connection: read it.
                Err(why) if is_closed(&why) => return Ok(()),
                Err(why) => self.tolerate(why)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            if let Some(frame) = self.replies.take().map_err(|why| self.protocol(why))? {
                return Ok(frame);
            }
            let left = self.left(deadline)?;
            let read = self
                .socket
                .set_read_timeout(Some(left))
                .and_then(|()| self.socket.read(&mut chunk));
            match read {
                Ok(0) => return Err(self.closed()),
                Ok(count) => self.replies.push(chunk.get(..count).unwrap_or_default()),
                Err(why) if is_closed(&why) => return Err(self.closed()),
                Err(why) => self.tolerate(why)?,
            }
        }
    }

    /// The time left until the deadline; never zero, which would mean no timeout.
    fn left(&self, deadline: Instant) -> Result<Duration, ClientError> {
        match deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(ClientError::TimedOut {
                path: self.path.clone(),
                after: self.timeout,
            }),
        }
    }

    /// Ignores errors that the callers' loops handle: a signal, and a timeout, which [`Client::left`] detects.
    fn tolerate(&self, why: io::Error) -> Result<(), ClientError> {
        match why.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Ok(())
            }
            _ => Err(ClientError::Io {
                path: self.path.clone(),
                source: why,
            }),
        }
    }

    fn closed(&self) -> ClientError {
        ClientError::Closed {
            path: self.path.clone(),
        }
    }

    fn protocol(&self, source: WireError) -> ClientError {
        ClientError::Protocol {
            path: self.path.clone(),
            source,
        }
    }
}

fn is_closed(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// Connects; `EAGAIN` if the agent's backlog stays full for `timeout` (`unix_stream_connect` waits for
/// `SO_SNDTIMEO`).
pub(super) fn open(path: &Path, timeout: Duration) -> nix::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let micros = i64::try_from(timeout.as_micros())
        .unwrap_or(i64::MAX)
        .max(1);
    setsockopt(
        &socket,
        sockopt::SendTimeout,
        &TimeVal::microseconds(micros),
    )?;
    connect(socket.as_raw_fd(), &address)?;
    Ok(UnixStream::from(socket))
}
