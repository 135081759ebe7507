//! What commands share: the connection to the agent, files, the kernel, and output.

use super::exit::{Exit, Failure};
use super::format::{Format, render};
use super::generated::Generators;
use super::record::Listing;
use crate::api::client::{self, Client, ClientError, TIMEOUT};
use crate::api::requests::{Changed, LoadRules, Method};
use crate::config::Places;
use crate::kernel::sysfs::Sysfs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Returns the next part of the output of a command; `None` at the end.
pub(super) type Rest = Box<dyn FnMut(&mut Context) -> Result<Option<Listing>, Failure>>;

/// What a command works with: the agent (connected on first use), and the files and the kernel of the host.
pub struct Context {
    socket: PathBuf,
    client: Option<Client>,
    root: Option<PathBuf>,
    host: Sysfs,
    generators: Generators,
    warnings: Vec<String>,
    exit: Exit,
    rest: Option<Rest>,
    format: Option<Format>,
    patience: Duration,
}

impl Context {
    /// Creates a context that uses `socket` if one is given. With a `root` it uses the files below that directory and
    /// no agent.
    #[must_use]
    pub fn new(
        socket: Option<&Path>,
        root: Option<PathBuf>,
        host: Sysfs,
        generators: Generators,
    ) -> Context {
        Context {
            socket: client::socket_path(socket),
            client: None,
            root,
            host,
            generators,
            warnings: Vec::new(),
            exit: Exit::Ok,
            rest: None,
            format: None,
            patience: TIMEOUT,
        }
    }

    /// Sends a request to the agent.
    ///
    /// # Errors
    /// [`Failure::Agent`]; [`Failure::Usage`] with `--root`, where there is no agent.
    pub fn ask<M: Method>(&mut self, request: &M) -> Result<M::Reply, Failure> {
        if self.root.is_some() {
            return Err(Failure::Usage(
                "this command needs the agent, but --root uses files only: run it without --root"
                    .to_owned(),
            ));
        }
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect(&self.socket, self.patience)?),
        };
        let answer = client.call(request);
        if answer.as_ref().is_err_and(ClientError::is_unreachable) {
            self.client = None; // The connection is unusable; the next request opens another one.
        }
        Ok(answer?)
    }

    /// Limits the time to wait for the agent, from the next connection on.
    pub(crate) fn wait_no_longer_than(&mut self, patience: Duration) {
        self.client = None;
        self.patience = patience;
    }

    /// Sets the requested format.
    pub(crate) fn print_as(&mut self, format: Option<Format>) {
        self.format = format;
    }

    /// Prints a listing immediately, for a command that prints several as they become available.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self, listing: &Listing) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(render(listing, self.format, false).as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Requests a change from the agent and returns its description of the effect.
    ///
    /// # Errors
    /// Same as [`Context::ask`].
    pub fn change<M: Method<Reply = Changed>>(&mut self, request: &M) -> Result<Listing, Failure> {
        Ok(Listing::lines([self.ask(request)?.effect]))
    }

    /// Sends a request to the agent; `None` if there is no agent or it does not answer.
    pub(crate) fn ask_if_running<M: Method>(&mut self, request: &M) -> Option<M::Reply> {
        self.ask(request).ok()
    }

    /// Makes the agent read the rules, because ESXi's commands for SATP rules take effect immediately. Returns the
    /// effect if the rules differ from what is claimed; `None` also without an agent, which reads them when it starts.
    pub(crate) fn load_rules(&mut self) -> Option<String> {
        self.ask_if_running(&LoadRules { claim_rules: None })?
            .difference()
    }

    /// The kernel of this host, read through sysfs and procfs.
    ///
    /// # Errors
    /// [`Failure::Usage`] with `--root`, where there is no kernel.
    pub fn host(&self) -> Result<Sysfs, Failure> {
        if self.root.is_some() {
            return Err(Failure::Usage(
                "this command needs the devices of this host, but --root uses files only: run it without --root"
                    .to_owned(),
            ));
        }
        Ok(self.host.clone())
    }

    /// What is generated from the table of all commands.
    #[must_use]
    pub(crate) fn generators(&self) -> Generators {
        self.generators
    }

    /// The files of the host, or those below the requested root directory.
    #[must_use]
    pub fn places(&self) -> Places {
        Places::below(self.root.as_deref().unwrap_or(Path::new("/")))
    }

    /// Reports problems that do not prevent the command from succeeding.
    pub(crate) fn warn(&mut self, warnings: impl IntoIterator<Item = String>) {
        self.warnings.extend(warnings);
    }

    /// Reports why the command succeeded only in part, and sets [`Exit::Partly`].
    pub(crate) fn partly(&mut self, why: String) {
        self.exit = Exit::Partly;
        self.warnings.push(why);
    }

    /// Sets [`Exit::Failed`]: the printed answer is negative, and a script must be able to see that.
    pub(crate) fn says_no(&mut self) {
        self.exit = Exit::Failed;
    }

    /// Makes `rest` return further parts of the output, after the listing that the command returns.
    pub(crate) fn go_on(&mut self, rest: Rest) {
        self.rest = Some(rest);
    }

    /// The source of further parts, if the command has more output.
    pub fn rest(&mut self) -> Option<Rest> {
        self.rest.take()
    }

    /// Closes the connection; the next request to the agent opens another one.
    pub(crate) fn hang_up(&mut self) {
        self.client = None;
    }

    /// The exit code, unless the command fails as a whole.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The collected warnings.
    #[must_use]
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
