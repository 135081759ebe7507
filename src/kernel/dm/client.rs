//! The device-mapper client: observes or changes one map, in the caller's thread.
//!
//! Every call may block: a table load waits while a SCSI host recovers from errors, a resume waits for I/O in flight.
//! `worker` runs the maps side by side for that reason.
//!
//! Maps are addressed by UUID where they have one, so that a message never reaches another map that has taken over the
//! name.

use super::ioctl::{self, Buffer, Listed, Which};
use super::partitions;
use super::reasons::{self, System};
use super::texts::{Room, Texts};
use super::udev::{self, Cookies};
use crate::kernel::NoticeSink;
use crate::psa::action::{MapStep, Notice};
use crate::psa::codes;
use crate::psa::event::{DmStep, MapError};
use crate::psa::table::emit::emit;
use crate::psa::table::model::{Map, MapId, Message, Table};
use devicemapper::errors::Error as CoreError;
use devicemapper::{DM, DevId, DmError, DmFlags, DmName, DmOptions, DmUuid};
use nix::errno::Errno;
use std::io;
use std::thread;
use std::time::Duration;

/// How often a remove is tried while udev may have the map open, and the pause between the tries.
const REMOVE_TRIES: u32 = 5;
const REMOVE_PAUSE: Duration = Duration::from_millis(100);
/// Table and status are two calls; both are repeated if the table was swapped in between.
const OBSERVE_TRIES: u32 = 3;

/// An open `/dev/mapper/control`. Many threads may make calls at the same time. But the arming of `Client::arm`
/// belongs to the descriptor, so a thread that polls needs a client of its own.
pub struct Client {
    dm: DM,
    cookies: Cookies,
    notice_sink: NoticeSink,
}

/// The result of a look at a map.
#[derive(Default)]
pub(super) struct Seen {
    /// The map; `None` if there is none.
    pub(super) map: Option<Map>,
    /// See [`Texts::print`]; `None` if the next look must read the map again, even if its texts are the same.
    pub(super) print: Option<u64>,
}

/// An error of the `devicemapper` crate: the errno if the kernel returned one, otherwise its text.
enum Refusal {
    Kernel(Errno),
    Other(String),
}

impl From<DmError> for Refusal {
    fn from(error: DmError) -> Self {
        match error {
            DmError::Core(CoreError::Ioctl(_, _, _, errno)) => Refusal::Kernel(*errno),
            other => Refusal::Other(other.to_string()),
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Refusal::Kernel(errno)
    }
}

impl Refusal {
    fn in_step(self, step: DmStep, reason: impl FnOnce(Errno) -> String) -> MapError {
        let (errno, reason) = match self {
            Refusal::Kernel(errno) => (Some(errno as i32), reason(errno)),
            Refusal::Other(text) => (None, text),
        };
        MapError {
            step,
            errno,
            reason,
        }
    }

    fn is(&self, errno: Errno) -> bool {
        matches!(self, Refusal::Kernel(is) if *is == errno)
    }
}

/// How a map is addressed.
fn which(map: &MapId) -> Which<'_> {
    if map.uuid.is_empty() {
        Which::Name(&map.name)
    } else {
        Which::Uuid(&map.uuid)
    }
}

fn id(map: &MapId) -> Result<DevId<'_>, Refusal> {
    Ok(match which(map) {
        Which::Name(name) => DevId::Name(DmName::new(name)?),
        Which::Uuid(uuid) => DevId::Uuid(DmUuid::new(uuid)?),
    })
}

impl Client {
    /// Opens `/dev/mapper/control`, which loads the module if need be. Problems that are no error of a call go to
    /// `notice_sink`; only calls that change a map have such.
    ///
    /// # Errors
    /// It does not exist, or may not be opened.
    pub fn open(notice_sink: NoticeSink) -> io::Result<Self> {
        let dm = DM::new().map_err(|error| {
            io::Error::other(format!(
                "cannot open device-mapper (/dev/mapper/control): {error}"
            ))
        })?;
        Ok(Client {
            dm,
            cookies: Cookies::new(notice_sink.clone()),
            notice_sink,
        })
    }

    /// The version of the kernel's device-mapper interface (`DM_VERSION`).
    ///
    /// # Errors
    /// No `CAP_SYS_ADMIN`.
    pub fn version(&self) -> Result<(u32, u32, u32), MapError> {
        self.dm
            .version()
            .map_err(|error| Refusal::from(error).in_step(DmStep::Version, reasons::general))
    }

    /// All dm devices, multipath or not (`DM_LIST_DEVICES`).
    ///
    /// # Errors
    /// No `CAP_SYS_ADMIN`, no memory.
    pub(super) fn list<'a>(&self, buffer: &'a mut Buffer) -> Result<Vec<Listed<'a>>, MapError> {
        buffer
            .list(self.dm.file())
            .map_err(|errno| Refusal::from(errno).in_step(DmStep::List, reasons::general))
    }

    /// Makes the descriptor readable at the next event of any map (`DM_DEV_ARM_POLL`). Arm before listing the devices,
    /// or events in between are missed.
    ///
    /// # Errors
    /// No `CAP_SYS_ADMIN`, or a kernel older than dm 4.37.
    pub(crate) fn arm(&self) -> Result<(), MapError> {
        ioctl::arm(self.dm.file())
            .map_err(|errno| Refusal::from(errno).in_step(DmStep::Arm, reasons::general))
    }

    /// The descriptor to poll after `Client::arm`.
    #[must_use]
    pub fn control(&self) -> &std::fs::File {
        self.dm.file()
    }

    /// To be called before the process ends: removes the semaphores that udev would otherwise leave behind.
    pub(super) fn forget_cookies(&self) {
        self.cookies.forget();
    }

    /// Observes a map by name; `None` if there is none. Reads table and status without flushing and without waiting for
    /// I/O, even while the map is suspended. For a map that is not a single multipath target, the table field holds the
    /// reason.
    ///
    /// # Errors
    /// The kernel refuses: no `CAP_SYS_ADMIN`, no memory, or a name that dm does not allow.
    pub fn observe(&self, name: &str) -> Result<Option<Map>, MapError> {
        let seen = self.look(name, &mut Room::default(), None)?;
        Ok(seen.and_then(|seen| seen.map))
    }

    /// Like [`Client::observe`]; `None` if the map still has the print `last`.
    pub(super) fn look(
        &self,
        name: &str,
        room: &mut Room,
        last: Option<u64>,
    ) -> Result<Option<Seen>, MapError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.look_once(name, room, last) {
                Ok(Some((map, print))) => {
                    let torn = matches!((&map.table, &map.status),
                        (Ok(table), Ok(status)) if !status.belongs_to(table));
                    if !torn || tries >= OBSERVE_TRIES {
                        return Ok(Some(Seen {
                            map: Some(map),
                            print: (!torn).then_some(print),
                        }));
                    }
                }
                Ok(None) => return Ok(None),
                Err(refusal) if refusal.is(Errno::ENXIO) => return Ok(Some(Seen::default())),
                Err(refusal) => return Err(refusal.in_step(DmStep::Observe, reasons::general)),
            }
        }
    }

    fn look_once(
        &self,
        name: &str,
        room: &mut Room,
        last: Option<u64>,
    ) -> Result<Option<(Map, u64)>, Refusal> {
        // No step could be carried out on a map whose name is invalid.
        DmName::new(name)?;
        let (control, which) = (self.dm.file(), Which::Name(name));
        let texts = Texts {
            table: room.table.table(control, which)?,
            status: room.status.status(control, which)?,
        };
        let print = texts.print();
        if last == Some(print) {
            return Ok(None);
        }
        let unreadable = || Refusal::Other("the kernel's answer cannot be read".to_owned());
        let mut map = texts.read(name).ok_or_else(unreadable)?;
        map.open_count = partitions::users(control, &texts.status.header);
        Ok(Some((map, print)))
    }

    /// Whether a map is suspended, and how many users it has, by one short ioctl (`DM_DEV_STATUS`); `None` if the ioctl
    /// fails. No event reports a change of either.
    #[must_use]
    pub(crate) fn glance(&self, name: &str) -> Option<(bool, u32)> {
        let status = ioctl::status(self.dm.file(), Which::Name(name)).ok()?;
        let users = partitions::users(self.dm.file(), &status);
        Some((status.suspended(), users))
    }

    /// Carries out the steps in order, until the first failure.
    ///
    /// # Errors
    /// Which step failed, and why. A failed [`MapStep::Create`] leaves no map, a failed [`MapStep::Reload`] leaves
    /// the old table in use.
    pub fn execute(&self, map: &MapId, steps: &[MapStep]) -> Result<(), MapError> {
        steps.iter().try_for_each(|step| match step {
            MapStep::Create {
                table,
                usable,
                read_only,
            } => self.create(map, table, *usable, *read_only),
            MapStep::Reload {
                table,
                usable,
                read_only,
            } => self.reload(map, table, *usable, *read_only),
            MapStep::Resume => self.resume(map),
            MapStep::Message(message) => self.message(map, message),
            MapStep::Remove => self.remove(map),
            MapStep::Observe => Ok(()),
        })
    }

    fn create(
        &self,
        map: &MapId,
        table: &Table,
        usable: bool,
        read_only: bool,
    ) -> Result<(), MapError> {
        // Before anything is created.
        let params = emit(table).map_err(|problem| impossible(DmStep::Create, &problem))?;
        // dm opens all its devices under one claim, so LVM or another map on a path would not cause EBUSY, and both
        // would write. The paths of a new map must not be held by anyone.
        let users = reasons::users(&System::here(), table);
        if !users.is_empty() {
            return Err(MapError {
                step: DmStep::Create,
                errno: Some(Errno::EBUSY as i32),
                reason: users.join("; "),
            });
        }
        let made = || -> Result<(), Refusal> {
            let uuid = match map.uuid.as_str() {
                "" => None,
                uuid => Some(DmUuid::new(uuid)?),
            };
            self.dm
                .device_create(DmName::new(&map.name)?, uuid, DmOptions::default())?;
            Ok(())
        };
        made().map_err(|refusal| {
            let error = refusal.in_step(DmStep::Create, reasons::create);
            match error.errno {
                // Only a name or UUID that exists is refused with EBUSY here (`dm_hash_insert`); paths in use have their
                // own error above.
                Some(libc::EBUSY) => MapError {
                    errno: Some(MapError::EXISTS),
                    ..error
                },
                _ => error,
            }
        })?;
        let no_paths = if table.groups.is_empty() || !usable {
            udev::NO_PATHS
        } else {
            0
        };
        let filled = self.load(map, table, params, read_only).and_then(|()| {
            self.swap(map, no_paths)
                .map_err(|refusal| refusal.in_step(DmStep::Resume, reasons::resume))
        });
        filled.inspect_err(|_| {
            if let Err(left) = self.try_remove(map) {
                let why = left.in_step(DmStep::Remove, reasons::general).to_string();
                let effect = "an empty map is left behind; remove it with `dmsetup remove`";
                let details = [("reason", &*why), ("effect", effect)];
                self.notice_sink.notify(Notice::new(
                    codes::MAP_SHELL_LEFT,
                    map.name.as_str(),
                    &details,
                ));
            }
        })
    }

    /// Starts the kernel's own limit on queueing ([`crate::kernel::backstop`]). The kernel starts it when a path fails,
    /// and on this message; a table without paths has none that could fail. The message changes nothing else, and
    /// nothing depends on it.
    fn start_backstop(&self, map: &MapId, table: &Table) {
        if table.groups.is_empty() && table.features.queue_if_no_path {
            let _ = self.message(map, &Message::QueueIfNoPath);
        }
    }

    fn reload(
        &self,
        map: &MapId,
        table: &Table,
        usable: bool,
        read_only: bool,
    ) -> Result<(), MapError> {
        let params = emit(table).map_err(|problem| impossible(DmStep::Load, &problem))?;
        self.load(map, table, params, read_only)?;
        let no_paths = if usable { 0 } else { udev::NO_PATHS };
        self.swap(map, udev::RELOAD | no_paths)
            .inspect(|()| self.start_backstop(map, table))
            .map_err(|refusal| {
                let mut error = refusal.in_step(DmStep::Resume, reasons::resume);
                match self.back_to_the_old_table(map) {
                    Ok(()) => error
                        .reason
                        .push_str("; the map continues with its old table"),
                    Err(worse) => {
                        let worse = worse.in_step(DmStep::Resume, reasons::resume);
                        error.reason = format!(
                            "{}; the old table could not be restored either: {worse}",
                            error.reason
                        );
                    }
                }
                error
            })
    }

    /// `DM_TABLE_LOAD`. Where the kernel refuses to open a disk for writing (`EROFS`, `EACCES`), the whole map must not
    /// become read-only under its writers. Instead the step fails, the facts of the paths are read again, and the next
    /// table leaves that disk out, or is read-only on purpose.
    fn load(
        &self,
        map: &MapId,
        table: &Table,
        params: String,
        read_only: bool,
    ) -> Result<(), MapError> {
        let targets = [(0, table.length.0, "multipath".to_owned(), params)];
        let flags = if read_only {
            DmFlags::DM_READONLY
        } else {
            DmFlags::empty()
        };
        let loaded = || -> Result<(), Refusal> {
            let options = DmOptions::default().set_flags(flags);
            self.dm.table_load(&id(map)?, &targets, options)?;
            Ok(())
        };
        loaded().map_err(|refusal| {
            refusal.in_step(DmStep::Load, |errno| {
                reasons::load(&System::here(), errno, table)
            })
        })
    }

    /// Makes the loaded table live with one resume, which suspends only for the moment of the swap: I/O in flight
    /// continues, and I/O that waits for a path is kept.
    fn swap(&self, map: &MapId, udev_flags: u32) -> Result<(), Refusal> {
        let cookie = self.cookies.make(udev_flags);
        let flags = ioctl::NOFLUSH | ioctl::SKIP_LOCKFS;
        let resumed = ioctl::resume(self.dm.file(), which(map), flags, cookie.value);
        let uevent = matches!(resumed, Ok(flags) if flags & ioctl::UEVENT_GENERATED != 0);
        self.cookies.sent(cookie, &map.name, uevent);
        resumed.map(drop).map_err(Refusal::from)
    }

    /// Recovers from a failed resume: the new table may still be in the inactive slot, and the map may be suspended.
    fn back_to_the_old_table(&self, map: &MapId) -> Result<(), Refusal> {
        let id = id(map)?;
        let info = self.dm.table_clear(&id)?;
        if info.flags().contains(DmFlags::DM_SUSPEND) {
            self.swap(map, udev::RELOAD)?;
        }
        Ok(())
    }

    /// Resumes a map with the table that it has. A table in the inactive slot is cleared: it is not ours, and
    /// may be left from the program that suspended the map.
    fn resume(&self, map: &MapId) -> Result<(), MapError> {
        let resumed = || -> Result<(), Refusal> {
            self.dm.table_clear(&id(map)?)?;
            self.swap(map, udev::RELOAD)
        };
        resumed().map_err(|refusal| refusal.in_step(DmStep::Resume, reasons::resume))
    }

    fn message(&self, map: &MapId, message: &Message) -> Result<(), MapError> {
        let sent = || -> Result<(), Refusal> {
            let text = message.to_string();
            self.dm.target_msg(&id(map)?, Some(0), &text)?;
            Ok(())
        };
        sent().map_err(|refusal| {
            refusal.in_step(DmStep::Message(message.to_string()), reasons::message)
        })
    }

    fn remove(&self, map: &MapId) -> Result<(), MapError> {
        self.try_remove(map).map_err(|refusal| {
            let status = ioctl::status(self.dm.file(), which(map));
            let dev = status.ok().map(|status| status.dev());
            refusal.in_step(DmStep::Remove, |errno| {
                reasons::remove(&System::here(), errno, dev)
            })
        })
    }

    /// Removes a map, after the partitions on it that nobody has open.
    fn try_remove(&self, map: &MapId) -> Result<(), Refusal> {
        let control = self.dm.file();
        if let Ok(status) = ioctl::status(control, which(map))
            && partitions::users(control, &status) == 0
        {
            for partition in partitions::idle(control, &status) {
                self.try_remove_alone(&map.name, Which::Uuid(&partition))?;
            }
        }
        self.try_remove_alone(&map.name, which(map))
    }

    fn try_remove_alone(&self, name: &str, which: Which<'_>) -> Result<(), Refusal> {
        let mut tries = 0;
        loop {
            tries += 1;
            let cookie = self.cookies.make(0);
            let removed = ioctl::remove(self.dm.file(), which, cookie.value);
            let uevent = matches!(removed, Ok(flags) if flags & ioctl::UEVENT_GENERATED != 0);
            self.cookies.sent(cookie, name, uevent);
            match removed {
                // udev briefly opens a map after each of its events.
                Err(Errno::EBUSY) if tries < REMOVE_TRIES => thread::sleep(REMOVE_PAUSE),
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(()),
            }
        }
    }
}

fn impossible(step: DmStep, problem: &dyn std::error::Error) -> MapError {
    MapError {
        step,
        errno: None,
        reason: format!("the kernel would refuse this table: {problem}"),
    }
}
