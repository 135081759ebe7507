//! Carries out actions: passes each to the thread that is responsible for it.

use super::backstop::Keeping;
use super::error::{AgentError, start};
use super::inbox::{Inbox, sink};
use super::logging::Logger;
use super::marks::Marker;
use super::outages;
use super::persist::{self, Writer};
use super::recent_events::RecentEvents;
use super::takeovers::{self, Stored};
use crate::config::Places;
use crate::kernel::NoticeSink;
use crate::kernel::dm::Dm;
use crate::kernel::host::{Hosts, Order};
use crate::kernel::passthrough::{InUse, Transport};
use crate::kernel::sysfs::Sysfs;
use crate::kernel::trace::{Trace, Watching};
use crate::kernel::uevent::Discovery;
use crate::psa::action::{Action, MapStep, Notice};
use crate::psa::codes;
use crate::psa::event::Event;
use crate::psa::memory::Memory;
use crate::psa::names::Wwid;
use crate::psa::report::queueing::KeptMaps;
use crate::psa::settings::Settings;
use crate::psa::table::model::MapId;
use crate::psa::units::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that carries out actions.
pub(super) struct Dispatcher {
    transport: Transport,
    dm: Dm,
    trace: Trace,
    discovery: Discovery,
    hosts: Hosts,
    marker: Marker,
    memory: Writer<Memory>,
    outages: Writer<BTreeMap<Wwid, Millis>>,
    takeovers: Writer<Stored>,
    sysfs: Sysfs,
    keeping: Keeping,
    logger: Logger,
    /// Recent events, for `psactl events`.
    pub recent_events: RecentEvents,
    notice_sink: NoticeSink,
}

impl Dispatcher {
    /// Starts the threads; their events go to `inbox`. `known` are the devices that had a map.
    ///
    /// # Errors
    /// One of them could not be started.
    pub(super) fn start(
        places: &Places,
        settings: &Settings,
        known: BTreeSet<Wwid>,
        inbox: &Inbox,
        notice_sink: &NoticeSink,
    ) -> Result<Dispatcher, AgentError> {
        let threads = "raise TasksMax= of the service";
        let modules = "load the module dm-multipath, and run as root";
        // Maps first: a path that is found in the table of a map is known to belong to it.
        let dm =
            Dm::start(sink(inbox), notice_sink.clone()).map_err(start("device-mapper", modules))?;
        let discovery = Discovery::start(
            Sysfs::of_this_host(),
            sink(inbox),
            notice_sink.clone(),
            dm.looker(),
        )
        .map_err(start("discovery through udev", threads))?;
        Ok(Dispatcher {
            transport: Transport::new(settings.transport, sink(inbox), notice_sink.clone()),
            dm,
            trace: Trace::start(settings.watch_io, sink(inbox), notice_sink.clone())
                .map_err(start("the watcher of I/O errors", threads))?,
            discovery,
            hosts: Hosts::new(Sysfs::of_this_host(), notice_sink.clone()),
            marker: Marker::start(places, notice_sink.clone())
                .map_err(start("the marks for udev", threads))?,
            memory: persist::memory_writer(places.clone(), known, notice_sink.clone())
                .map_err(start("the thread that stores the memory", threads))?,
            outages: outages::writer(places.clone(), notice_sink.clone())
                .map_err(start("the thread that stores outages", threads))?,
            takeovers: takeovers::writer(places.clone(), notice_sink.clone())
                .map_err(start("the thread that stores takeover budgets", threads))?,
            sysfs: Sysfs::of_this_host(),
            keeping: Keeping::start(places.root(), notice_sink.clone())
                .map_err(start("the backstop thread", threads))?,
            logger: Logger::default(),
            recent_events: RecentEvents::new(),
            notice_sink: notice_sink.clone(),
        })
    }

    /// How SCSI commands are sent.
    pub(super) fn transport(&self) -> InUse {
        self.transport.in_use()
    }

    /// How errors of ordinary I/O are watched.
    pub(super) fn watching(&self) -> Watching {
        self.trace.watching()
    }

    /// Logs a notice and keeps it for `psactl events`.
    pub(super) fn notify(&mut self, now: Millis, notice: &Notice) {
        self.logger.write(now, notice);
        self.recent_events.keep(notice);
    }

    /// Carries out an action. Never waits. Returns the answer if it is known immediately.
    pub(super) fn carry_out(&mut self, now: Millis, action: Action) -> Option<Event> {
        match action {
            Action::Examine(order) => {
                let sent = self.transport.examine(order);
                return sent.err().map(Event::Examined);
            }
            Action::Map { map, ticket, steps } => self.dm.submit(map, ticket, steps),
            Action::DeleteDevice { path, dev } => self.send_order(Order::Delete(path, dev)),
            Action::SetPortTimers { path, timers } => self.send_order(Order::Timers(path, timers)),
            Action::RescanDevice(path) => self.send_order(Order::Rescan(path)),
            Action::ScanFor(path) => self.send_order(Order::Scan(path)),
            Action::RefreshFacts(path) => self.discovery.refresh(path),
            Action::MarkOwner { dev, name, owned } => self.marker.mark(dev, name, owned),
            Action::ForgetOwner(dev) => self.marker.forget(dev),
            Action::WatchClosely(span) => self.trace.watch_closely(span),
            Action::Remember(memory) => self.memory.store(*memory),
            Action::StoreTakeovers(budgets) => self.takeovers.store(Stored::now(budgets)),
            Action::StoreOutages(lasted) => self.outages.store(outages::began(lasted)),
            Action::LookUpDisks(devs) => {
                let kinds = devs.into_iter();
                let kinds = kinds.filter_map(|dev| Some((dev, self.sysfs.disk_kind(dev)?)));
                return Some(Event::DisksFound(kinds.collect()));
            }
            Action::Notify(notice) => self.notify(now, &notice),
        }
        None
    }

    /// Notes that the disks of this boot were decided upon. Never waits.
    pub(super) fn decided(&self) {
        self.marker.decided();
    }

    /// Hands over what is needed once the agent no longer runs. Never waits.
    pub(super) fn keep(&self, kept: KeptMaps) {
        self.keeping.keep(kept);
    }

    /// Ends everything, after the marks, the files and the kernel's limit on queueing are written. Waits for that.
    pub(super) fn finish(self, kept: KeptMaps) {
        self.keep(kept);
        self.marker.finish();
        self.keeping.finish();
    }

    /// Submits steps for a map that did not come from the world: at shutdown.
    pub(super) fn submit(&self, map: MapId, ticket: u64, steps: Vec<MapStep>) {
        self.dm.submit(map, ticket, steps);
    }

    /// Sends the commands that were queued since the last call.
    pub(super) fn flush(&mut self) {
        self.transport.flush();
    }

    fn send_order(&mut self, order: Order) {
        if let Err(error) = self.hosts.order(order) {
            let (path, order, reason) = (
                order.path().to_string(),
                format!("{order:?}"),
                error.to_string(),
            );
            let details = [("order", order.as_str()), ("reason", &reason)];
            self.notice_sink
                .notify(Notice::new(codes::HOST_ORDER_LOST, path, &details));
        }
    }
}
