//! What a verb works with.

use super::exit::Failure;
use crate::api::client::{self, Client, TIMEOUT};
use crate::api::requests::Method;
use std::path::{Path, PathBuf};

/// What a verb works with: the agent, connected to when it is first asked.
#[derive(Debug)]
pub struct Context {
    socket: PathBuf,
    client: Option<Client>,
}

impl Context {
    /// With the socket asked for, if one was.
    #[must_use]
    pub fn new(socket: Option<&Path>) -> Context {
        Context {
            socket: client::socket_path(socket),
            client: None,
        }
    }

    /// Asks the agent.
    ///
    /// # Errors
    /// [`Failure::Agent`].
    pub fn ask<M: Method>(&mut self, request: &M) -> Result<M::Reply, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect(&self.socket, TIMEOUT)?),
        };
        Ok(client.call(request)?)
    }
}
