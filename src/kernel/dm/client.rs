//! The device-mapper client: one map observed or changed, in the caller's thread.
//!
//! Every call may block: a table load waits while a SCSI host recovers from errors, a resume waits for I/O in flight.
//! [`super::worker`] gives each map a thread of its own for that.
//!
//! Maps are addressed by UUID where they have one: a name that changed hands gets no message that was meant for
//! another.

use super::ioctl::{self, Buffer, Listed, Which};
use super::partitions;
use super::reasons::{self, System};
use super::texts::{Room, Texts};
use super::udev::{self, Cookies};
use crate::psa::action::MapStep;
use crate::psa::event::MapError;
use crate::psa::table::emit::emit;
use crate::psa::table::model::{Map, Message, Table};
use devicemapper::errors::Error as CoreError;
use devicemapper::{DM, DevId, DmError, DmFlags, DmName, DmOptions, DmUuid};
use nix::errno::Errno;
use std::io;
use std::thread;
use std::time::Duration;

/// How often a remove is tried while udev may have the map open, and the pause in between.
const REMOVE_TRIES: u32 = 5;
const REMOVE_PAUSE: Duration = Duration::from_millis(100);
/// Table and status are two calls; a table that is swapped in between is read again.
const OBSERVE_TRIES: u32 = 3;

/// An open `/dev/mapper/control`. Calls may be made from many threads at once; the arming of [`Client::arm`] belongs
/// to the descriptor, so a thread that polls wants a client of its own.
pub struct Client {
    dm: DM,
    cookies: Cookies,
}

/// What a look at a map found.
#[derive(Default)]
pub(super) struct Seen {
    /// The map; `None` if there is none.
    pub(super) map: Option<Map>,
    /// See [`Texts::print`]; `None` if the map is to be read again by the next look, whatever its texts.
    pub(super) print: Option<u64>,
}

/// An error of the crate, taken apart: errno if it was the kernel's, and the text of anything else.
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
    fn in_step(self, step: &str, reason: impl FnOnce(Errno) -> String) -> MapError {
        let (errno, reason) = match self {
            Refusal::Kernel(errno) => (Some(errno as i32), reason(errno)),
            Refusal::Other(text) => (None, text),
        };
        MapError {
            step: step.to_owned(),
            errno,
            reason,
        }
    }

    fn is(&self, errno: Errno) -> bool {
        matches!(self, Refusal::Kernel(is) if *is == errno)
    }
}

/// How a map is addressed.
fn which<'a>(name: &'a str, uuid: &'a str) -> Which<'a> {
    if uuid.is_empty() {
        Which::Name(name)
    } else {
        Which::Uuid(uuid)
    }
}

fn id<'a>(name: &'a str, uuid: &'a str) -> Result<DevId<'a>, Refusal> {
    Ok(match which(name, uuid) {
        Which::Name(name) => DevId::Name(DmName::new(name)?),
        Which::Uuid(uuid) => DevId::Uuid(DmUuid::new(uuid)?),
    })
}

impl Client {
    /// Opens `/dev/mapper/control`; that loads the module if need be.
    ///
    /// # Errors
    /// It is not there, or may not be opened.
    pub fn open() -> io::Result<Self> {
        let dm = DM::new().map_err(|error| {
            io::Error::other(format!(
                "cannot open device-mapper (/dev/mapper/control): {error}"
            ))
        })?;
        Ok(Client {
            dm,
            cookies: Cookies::new(),
        })
    }

    /// The version of the kernel's device-mapper interface (`DM_VERSION`).
    ///
    /// # Errors
    /// No `CAP_SYS_ADMIN`.
    pub fn version(&self) -> Result<(u32, u32, u32), MapError> {
        self.dm
            .version()
            .map_err(|error| Refusal::from(error).in_step("version", reasons::general))
    }

    /// All dm devices, multipath or not (`DM_LIST_DEVICES`).
    ///
    /// # Errors
    /// No `CAP_SYS_ADMIN`, no memory.
    pub(super) fn list<'a>(&self, buffer: &'a mut Buffer) -> Result<Vec<Listed<'a>>, MapError> {
        buffer
            .list(self.dm.file())
            .map_err(|errno| Refusal::from(errno).in_step("list", reasons::general))
    }

    /// Asks for the descriptor to become readable with the next event of any map (`DM_DEV_ARM_POLL`). Arm before
    /// the devices are listed, or what happens in between is missed.
    ///
    /// # Errors
    /// No `CAP_SYS_ADMIN`, or a kernel older than dm 4.37.
    pub fn arm(&self) -> Result<(), MapError> {
        ioctl::arm(self.dm.file())
            .map_err(|errno| Refusal::from(errno).in_step("arm", reasons::general))
    }

    /// The descriptor to poll after [`Client::arm`].
    #[must_use]
    pub fn control(&self) -> &std::fs::File {
        self.dm.file()
    }

    /// How many uevents of our own changes udev has not yet worked off.
    #[must_use]
    pub fn udev_backlog(&self) -> usize {
        self.cookies.outstanding()
    }

    /// Before the process ends: removes what udev would otherwise leave behind.
    pub(super) fn forget_cookies(&self) {
        self.cookies.forget();
    }

    /// A map as it is now, by name; `None` if there is none. Reads table and status without flushing and without
    /// waiting for I/O, also while the map is suspended. A map that is not one multipath target has the reason in
    /// place of its table.
    ///
    /// # Errors
    /// The kernel does not answer: no `CAP_SYS_ADMIN`, no memory, or a name that dm cannot have.
    pub fn observe(&self, name: &str) -> Result<Option<Map>, MapError> {
        let seen = self.look(name, &mut Room::default(), None)?;
        Ok(seen.and_then(|seen| seen.map))
    }

    /// As [`Client::observe`]; `None` if the map is the one that has the print `last`.
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
                Err(refusal) => return Err(refusal.in_step("observe", reasons::general)),
            }
        }
    }

    fn look_once(
        &self,
        name: &str,
        room: &mut Room,
        last: Option<u64>,
    ) -> Result<Option<(Map, u64)>, Refusal> {
        // No step could be carried out on a map with another.
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

    /// Whether a map is suspended, and how many users it has, by one short ioctl (`DM_DEV_STATUS`); `None` if it cannot
    /// be told. No event tells of either.
    #[must_use]
    pub fn glance(&self, name: &str) -> Option<(bool, u32)> {
        let status = ioctl::status(self.dm.file(), Which::Name(name)).ok()?;
        let users = partitions::users(self.dm.file(), &status);
        Some((status.suspended(), users))
    }

    /// Carries out the steps, in order; the first failure ends them.
    ///
    /// # Errors
    /// Which step failed, and why. A failed [`MapStep::Create`] leaves no map, a failed [`MapStep::Reload`] leaves
    /// the old table in use.
    pub fn execute(&self, name: &str, uuid: &str, steps: &[MapStep]) -> Result<(), MapError> {
        steps.iter().try_for_each(|step| match step {
            MapStep::Create {
                table,
                usable,
                read_only,
            } => self.create(name, uuid, table, *usable, *read_only),
            MapStep::Reload {
                table,
                usable,
                read_only,
            } => self.reload(name, uuid, table, *usable, *read_only),
            MapStep::Resume => self.resume(name, uuid),
            MapStep::Message(message) => self.message(name, uuid, message),
            MapStep::Remove => self.remove(name, uuid),
            MapStep::Observe => Ok(()),
        })
    }

    fn create(
        &self,
        name: &str,
        uuid: &str,
        table: &Table,
        usable: bool,
        read_only: bool,
    ) -> Result<(), MapError> {
        // Before anything is made.
        let params = emit(table).map_err(|problem| impossible("create", &problem))?;
        // dm opens all its devices under one claim: LVM or another map on a path would be no reason for EBUSY, and
        // both would write. A new map has no path that anybody holds.
        let users = reasons::users(&System::here(), table);
        if !users.is_empty() {
            return Err(MapError {
                step: "create".to_owned(),
                errno: Some(Errno::EBUSY as i32),
                reason: users.join("; "),
            });
        }
        let made = || -> Result<(), Refusal> {
            let uuid = match uuid {
                "" => None,
                uuid => Some(DmUuid::new(uuid)?),
            };
            self.dm
                .device_create(DmName::new(name)?, uuid, DmOptions::default())?;
            Ok(())
        };
        made().map_err(|refusal| refusal.in_step("create", reasons::create))?;
        let no_paths = if table.groups.is_empty() || !usable {
            udev::NO_PATHS
        } else {
            0
        };
        let filled = self
            .load(name, uuid, table, params, read_only)
            .and_then(|()| {
                self.swap(name, uuid, no_paths)
                    .map_err(|refusal| refusal.in_step("resume", reasons::resume))
            });
        filled.inspect_err(|_| {
            if let Err(left) = self.try_remove(name, uuid) {
                let why = left.in_step("remove", reasons::general);
                log::error!(code = "MAP_SHELL_LEFT", map = name, error:% = why;
                    "an empty map is left behind; remove it with `dmsetup remove`");
            }
        })
    }

    /// The kernel starts its own limit of queueing ([`crate::kernel::backstop`]) when a path fails, and by this message. A
    /// table without any path has none that could fail. It changes nothing else, and nothing depends on it.
    fn start_backstop(&self, name: &str, uuid: &str, table: &Table) {
        if table.groups.is_empty() && table.features.queue_if_no_path {
            let _ = self.message(name, uuid, &Message::QueueIfNoPath);
        }
    }

    fn reload(
        &self,
        name: &str,
        uuid: &str,
        table: &Table,
        usable: bool,
        read_only: bool,
    ) -> Result<(), MapError> {
        let params = emit(table).map_err(|problem| impossible("load", &problem))?;
        self.load(name, uuid, table, params, read_only)?;
        let no_paths = if usable { 0 } else { udev::NO_PATHS };
        self.swap(name, uuid, udev::RELOAD | no_paths)
            .inspect(|()| self.start_backstop(name, uuid, table))
            .map_err(|refusal| {
                let mut error = refusal.in_step("resume", reasons::resume);
                match self.back_to_the_old_table(name, uuid) {
                    Ok(()) => error
                        .reason
                        .push_str("; the map goes on with its old table"),
                    Err(worse) => {
                        let worse = worse.in_step("resume", reasons::resume);
                        error.reason = format!(
                            "{}; and the map could not be brought back: {worse}",
                            error.reason
                        );
                    }
                }
                error
            })
    }

    /// `DM_TABLE_LOAD`. Where the kernel refuses to open a disk for writing (`EROFS`, `EACCES`) the whole map must not
    /// become read-only for that, under whoever writes to it: the step fails, the facts of the paths are read again,
    /// and the next table is without that disk, or is meant to be read-only.
    fn load(
        &self,
        name: &str,
        uuid: &str,
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
            self.dm.table_load(&id(name, uuid)?, &targets, options)?;
            Ok(())
        };
        loaded().map_err(|refusal| {
            refusal.in_step("load", |errno| reasons::load(&System::here(), errno, table))
        })
    }

    /// One resume, which suspends for the instant of the swap: I/O in flight goes on, and I/O that waits for a path
    /// is kept.
    fn swap(&self, name: &str, uuid: &str, udev_flags: u32) -> Result<(), Refusal> {
        let cookie = self.cookies.make(udev_flags);
        let flags = ioctl::NOFLUSH | ioctl::SKIP_LOCKFS;
        let resumed = ioctl::resume(self.dm.file(), which(name, uuid), flags, cookie.value);
        let uevent = matches!(resumed, Ok(flags) if flags & ioctl::UEVENT_GENERATED != 0);
        self.cookies.sent(cookie, name, uevent);
        resumed.map(drop).map_err(Refusal::from)
    }

    /// After a resume that failed: the new table may wait in its slot still, and the map may be suspended.
    fn back_to_the_old_table(&self, name: &str, uuid: &str) -> Result<(), Refusal> {
        let id = id(name, uuid)?;
        let info = self.dm.table_clear(&id)?;
        if info.flags().contains(DmFlags::DM_SUSPEND) {
            self.swap(name, uuid, udev::RELOAD)?;
        }
        Ok(())
    }

    /// A table that lies in the inactive slot is not ours: whoever suspended the map may have left it.
    fn resume(&self, name: &str, uuid: &str) -> Result<(), MapError> {
        let resumed = || -> Result<(), Refusal> {
            self.dm.table_clear(&id(name, uuid)?)?;
            self.swap(name, uuid, udev::RELOAD)
        };
        resumed().map_err(|refusal| refusal.in_step("resume", reasons::resume))
    }

    fn message(&self, name: &str, uuid: &str, message: &Message) -> Result<(), MapError> {
        let sent = || -> Result<(), Refusal> {
            let text = message.to_string();
            self.dm.target_msg(&id(name, uuid)?, Some(0), &text)?;
            Ok(())
        };
        sent().map_err(|refusal| refusal.in_step(&format!("message {message}"), reasons::message))
    }

    fn remove(&self, name: &str, uuid: &str) -> Result<(), MapError> {
        self.try_remove(name, uuid).map_err(|refusal| {
            let status = ioctl::status(self.dm.file(), which(name, uuid));
            let dev = status.ok().map(|status| status.dev());
            refusal.in_step("remove", |errno| {
                reasons::remove(&System::here(), errno, dev)
            })
        })
    }

    /// Removes a map, and before it the partitions on it, if nobody has any of them open.
    fn try_remove(&self, name: &str, uuid: &str) -> Result<(), Refusal> {
        let control = self.dm.file();
        if let Ok(status) = ioctl::status(control, which(name, uuid))
            && partitions::users(control, &status) == 0
        {
            for partition in partitions::idle(control, &status) {
                self.try_remove_alone(name, &partition)?;
            }
        }
        self.try_remove_alone(name, uuid)
    }

    fn try_remove_alone(&self, name: &str, uuid: &str) -> Result<(), Refusal> {
        let mut tries = 0;
        loop {
            tries += 1;
            let cookie = self.cookies.make(0);
            let removed = ioctl::remove(self.dm.file(), which(name, uuid), cookie.value);
            let uevent = matches!(removed, Ok(flags) if flags & ioctl::UEVENT_GENERATED != 0);
            self.cookies.sent(cookie, name, uevent);
            match removed {
                // udev opens a map for a moment after each of its events.
                Err(Errno::EBUSY) if tries < REMOVE_TRIES => thread::sleep(REMOVE_PAUSE),
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(()),
            }
        }
    }
}

fn impossible(step: &str, problem: &dyn std::error::Error) -> MapError {
    MapError {
        step: step.to_owned(),
        errno: None,
        reason: format!("the kernel would refuse this table: {problem}"),
    }
}
