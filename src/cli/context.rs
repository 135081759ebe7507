//! What a verb works with.

use super::exit::Failure;
use super::record::Listing;
use crate::api::client::{self, Client, TIMEOUT};
use crate::api::requests::{Changed, Method};
use crate::config::Places;
use std::path::{Path, PathBuf};

/// What a verb works with: the agent, connected to when it is first asked, and the files of the host.
#[derive(Debug)]
pub struct Context {
    socket: PathBuf,
    client: Option<Client>,
    root: Option<PathBuf>,
    warnings: Vec<String>,
    partly: bool,
}

impl Context {
    /// With the socket asked for, if one was, or with the files below a directory and no agent.
    #[must_use]
    pub fn new(socket: Option<&Path>, root: Option<PathBuf>) -> Context {
        Context {
            socket: client::socket_path(socket),
            client: None,
            root,
            warnings: Vec::new(),
            partly: false,
        }
    }

    /// Asks the agent.
    ///
    /// # Errors
    /// [`Failure::Agent`]; [`Failure::Usage`] with `--root`, below which there is no agent.
    pub fn ask<M: Method>(&mut self, request: &M) -> Result<M::Reply, Failure> {
        if self.root.is_some() {
            return Err(Failure::Usage(
                "this command asks the agent, and --root works on files alone: leave --root out"
                    .to_owned(),
            ));
        }
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect(&self.socket, TIMEOUT)?),
        };
        Ok(client.call(request)?)
    }

    /// Has the agent change something, and says what is so then.
    ///
    /// # Errors
    /// As [`Context::ask`].
    pub fn change<M: Method<Reply = Changed>>(&mut self, request: &M) -> Result<Listing, Failure> {
        Ok(Listing::lines([self.ask(request)?.effect]))
    }

    /// Tells the agent, if there is one and it answers.
    pub fn tell<M: Method>(&mut self, request: &M) -> Option<M::Reply> {
        self.ask(request).ok()
    }

    /// The files of the host, or those below the directory asked for.
    #[must_use]
    pub fn places(&self) -> Places {
        Places::below(self.root.as_deref().unwrap_or(Path::new("/")))
    }

    /// Tells the user of something that does not keep the command from being done.
    pub fn warn(&mut self, warnings: impl IntoIterator<Item = String>) {
        self.warnings.extend(warnings);
    }

    /// Tells the user why the command is done in part: [`super::Exit::Partly`].
    pub fn partly(&mut self, why: String) {
        self.partly = true;
        self.warnings.push(why);
    }

    /// Whether something was left undone.
    #[must_use]
    pub fn is_partly(&self) -> bool {
        self.partly
    }

    /// What there is to tell.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
