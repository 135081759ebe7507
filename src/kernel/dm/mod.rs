//! device-mapper: maps observed, changed and watched.
//!
//! Input: [`crate::psa::action::MapStep`]s. Output: [`crate::psa::event::Event`]s into a [`Sink`]: `MapDone` for every list of steps,
//! `MapSeen`, `MapGone` and `MapsListed` for what others do. Invariants:
//!
//! - Steps of one map are executed in the order submitted; one hung map delays no other ([`worker`]).
//! - Events about one map reach the sink in the order in which the map was observed ([`observer`]), so the last
//!   event is the newest truth.
//! - Nothing waits for udev ([`udev`]): whoever hangs there hangs no map.
//! - A map is never left suspended by a reload that failed ([`client`]).
//!
//! Which ioctl goes where: the `devicemapper` crate creates, loads, clears and sends messages. It cannot resume or
//! remove without an unlimited wait for udev, and its list of devices fails as a whole on one odd name and knows no
//! UUIDs; these three ioctls are our own (`ioctl.rs`). So are those that watch, for what they cost: arm, status, and
//! the texts of a map (`texts.rs`).
//!
//! Tests: in each file what needs no kernel; the rest runs in the lab.

use super::Sink;
use crate::psa::action::MapStep;
use std::io;
use std::sync::Arc;

pub mod client;
pub mod events;
mod ioctl;
pub mod observer;
mod partitions;
pub mod queueing;
mod reasons;
mod texts;
pub mod udev;
pub mod worker;

/// The UUID prefix of the maps that are multipath's, whoever made them.
pub const UUID_PREFIX: &str = "mpath-";

/// All of this room, started: one client, the workers and the watcher.
pub struct Dm {
    client: Arc<client::Client>,
    workers: worker::Workers,
    watcher: events::Watcher,
}

impl Dm {
    /// Opens device-mapper and starts to watch the maps; the first events are a `MapSeen` for each map and then
    /// `MapsListed`.
    ///
    /// # Errors
    /// `/dev/mapper/control` cannot be opened, or a thread cannot be started.
    pub fn start(sink: Sink) -> io::Result<Self> {
        let client = Arc::new(client::Client::open()?);
        let observer = Arc::new(observer::Observer::new(Arc::clone(&client), sink));
        Ok(Dm {
            client,
            workers: worker::Workers::new(Arc::clone(&observer))?,
            watcher: events::Watcher::spawn(observer)?,
        })
    }

    /// Carries out [`crate::psa::action::Action::Map`]; answered by `MapDone`. Never blocks.
    pub fn submit(&self, name: String, uuid: String, ticket: u64, steps: Vec<MapStep>) {
        self.workers.submit(name, uuid, ticket, steps);
    }

    /// Has all maps observed and listed again, for instance after uevents were lost.
    pub fn kick(&self) {
        self.watcher.kick();
    }

    /// Something to call when a map may have changed without an event of dm: all are looked at soon. Never blocks.
    pub fn looker(&self) -> impl Fn() + Send + use<> {
        self.watcher.looker()
    }

    /// For what needs no queue: versions, one observation.
    #[must_use]
    pub fn client(&self) -> &client::Client {
        &self.client
    }
}

impl Drop for Dm {
    /// Waits for no thread: one may hang in the kernel.
    fn drop(&mut self) {
        self.client.forget_cookies();
    }
}
