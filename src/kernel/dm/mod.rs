//! device-mapper: observes, changes and watches maps.
//!
//! Input: [`crate::psa::action::MapStep`]s. Output: [`crate::psa::event::Event`]s into a [`Sink`]: `MapDone` for every
//! list of steps; `MapSeen`, `MapGone` and `MapsListed` for what others do. Invariants:
//!
//! - Steps of one map are executed in the order submitted; one hung map delays no other (`worker`).
//! - Events about one map reach the sink in the order in which the map was observed (`observer`), so the last event
//!   is the latest state.
//! - Nothing waits for udev (`udev`): a hung udev hangs no map.
//! - A failed reload never leaves a map suspended ([`client`]).
//!
//! Which ioctl is made where: the `devicemapper` crate creates, loads, clears and sends messages. It cannot resume or
//! remove without an unlimited wait for udev, and its list of devices fails as a whole on one odd name and has no
//! UUIDs; these three ioctls are our own (`ioctl.rs`). So are the frequent calls of the watcher, because the crate's
//! cost too much: arm, status, and the texts of a map (`texts.rs`).
//!
//! Tests: in each file those that need no kernel; the rest runs in the lab.

use super::{NoticeSink, Sink};
use crate::psa::action::MapStep;
use crate::psa::event::MapError;
use crate::psa::table::model::{Map, MapId, UUID_PREFIX};
use std::io;
use std::sync::Arc;

pub mod client;
mod events;
mod ioctl;
mod observer;
mod partitions;
pub mod queueing;
mod reasons;
mod texts;
mod udev;
mod worker;

/// The multipath maps of this host whose UUID has a WWID, as both multipathd and the agent make them.
///
/// # Errors
/// device-mapper does not list or show them.
pub(crate) fn multipath_maps(client: &client::Client) -> Result<Vec<Map>, MapError> {
    let mut list = ioctl::Buffer::default();
    let listed = client.list(&mut list)?.into_iter();
    let ours = listed.filter(|map| map.uuid.starts_with(UUID_PREFIX));
    let names: Vec<String> = ours.map(|map| map.name.to_owned()).collect();
    let mut maps = Vec::new();
    for name in names {
        maps.extend(client.observe(&name)?);
    }
    Ok(maps)
}

/// The started module: one client, the workers and the watcher.
pub struct Dm {
    client: Arc<client::Client>,
    workers: worker::Workers,
    watcher: events::Watcher,
}

impl Dm {
    /// Opens device-mapper and starts to watch the maps. The first events are a `MapSeen` for each map, followed by
    /// `MapsListed`.
    ///
    /// # Errors
    /// `/dev/mapper/control` cannot be opened, or a thread cannot be started.
    pub fn start(sink: Sink, notice_sink: NoticeSink) -> io::Result<Self> {
        let client = Arc::new(client::Client::open(notice_sink.clone())?);
        let observer = Arc::new(observer::Observer::new(Arc::clone(&client), sink));
        Ok(Dm {
            client,
            workers: worker::Workers::new(Arc::clone(&observer), notice_sink.clone())?,
            watcher: events::Watcher::spawn(observer, notice_sink)?,
        })
    }

    /// Carries out [`crate::psa::action::Action::Map`], and answers with `MapDone`. Never blocks.
    pub(crate) fn submit(&self, map: MapId, ticket: u64, steps: Vec<MapStep>) {
        self.workers.submit(map, ticket, steps);
    }

    /// Returns a function to call when a map may have changed without a dm event: all maps are examined soon after. The
    /// function never blocks.
    pub(crate) fn looker(&self) -> impl Fn() + Send + use<> {
        self.watcher.looker()
    }

    /// For calls that need no queue: the version, a single observation.
    #[must_use]
    pub fn client(&self) -> &client::Client {
        &self.client
    }
}

impl Drop for Dm {
    /// Waits for no thread, because one may hang in the kernel.
    fn drop(&mut self) {
        self.client.forget_cookies();
    }
}
