//! What a verb works with.

use super::exit::{Exit, Failure};
use super::format::{Format, render};
use super::record::Listing;
use crate::api::client::{self, Client, ClientError, TIMEOUT};
use crate::api::requests::{Changed, Method};
use crate::config::Places;
use crate::kernel::sysfs::Sysfs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Gives the next part of what a command prints; `None` at the end.
pub type Rest = Box<dyn FnMut(&mut Context) -> Result<Option<Listing>, Failure>>;

/// What a verb works with: the agent, connected to when it is first asked, the files and the kernel of the host.
pub struct Context {
    socket: PathBuf,
    client: Option<Client>,
    root: Option<PathBuf>,
    host: Sysfs,
    warnings: Vec<String>,
    exit: Exit,
    rest: Option<Rest>,
    format: Option<Format>,
    patience: Duration,
}

impl Context {
    /// With the socket asked for, if one was, or with the files below a directory and no agent.
    #[must_use]
    pub fn new(socket: Option<&Path>, root: Option<PathBuf>, host: Sysfs) -> Context {
        Context {
            socket: client::socket_path(socket),
            client: None,
            root,
            host,
            warnings: Vec::new(),
            exit: Exit::Ok,
            rest: None,
            format: None,
            patience: TIMEOUT,
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
            none => none.insert(Client::connect(&self.socket, self.patience)?),
        };
        let answer = client.call(request);
        if answer.as_ref().is_err_and(ClientError::is_unreachable) {
            self.client = None; // Of no more use: the next question connects anew.
        }
        Ok(answer?)
    }

    /// From the next connection on waits so long for the agent.
    pub fn wait_no_longer_than(&mut self, patience: Duration) {
        self.client = None;
        self.patience = patience;
    }

    /// The format that was asked for.
    pub fn print_as(&mut self, format: Option<Format>) {
        self.format = format;
    }

    /// Prints a listing now: for a command that has several, each when it is there.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub fn print(&self, listing: &Listing) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(render(listing, self.format, false).as_bytes())?;
        out.flush()?;
        Ok(())
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

    /// The kernel of this host, as it shows itself in sysfs and procfs.
    ///
    /// # Errors
    /// [`Failure::Usage`] with `--root`, below which there is no kernel.
    pub fn host(&self) -> Result<Sysfs, Failure> {
        if self.root.is_some() {
            return Err(Failure::Usage(
                "this command is about the devices of this host, and --root works on files alone: leave --root out"
                    .to_owned(),
            ));
        }
        Ok(self.host.clone())
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

    /// Tells the user why the command is done in part: [`Exit::Partly`].
    pub fn partly(&mut self, why: String) {
        self.exit = Exit::Partly;
        self.warnings.push(why);
    }

    /// The answer on the screen is a no, for a script to see: [`Exit::Failed`].
    pub fn says_no(&mut self) {
        self.exit = Exit::Failed;
    }

    /// Has `rest` give more of what the command prints, part by part, after what it returns.
    pub fn go_on(&mut self, rest: Rest) {
        self.rest = Some(rest);
    }

    /// What gives more, if the command goes on.
    pub fn rest(&mut self) -> Option<Rest> {
        self.rest.take()
    }

    /// Connects to the agent anew when it is asked next.
    pub fn hang_up(&mut self) {
        self.client = None;
    }

    /// How the command ended, as far as it did not fail as a whole.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What there is to tell.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
