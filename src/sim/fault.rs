//! The lines of a script: faults of a host and its array, and actions of administrators.

use super::array::{Answer, UnitId};
use crate::psa::facts::Usage;
use crate::psa::table::model::{Message, Table};
use crate::psa::units::{Hctl, Sectors};
use crate::scsi::cdb::Command;
use crate::scsi::sense::Sense;
use crate::scsi::tpgs::AccessState;

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Commands on the path fail immediately.
    LinkDown(Hctl),
    /// Commands on the path do not return.
    Hang(Hctl),
    /// The path works again; a command that is in flight on it is carried out now.
    LinkUp(Hctl),
    /// I/O on the path fails from now on although commands are answered (a bad SFP, a worn cable); `false` ends it.
    Sicken(Hctl, bool),
    /// This number of the next I/Os on the path end with this sense although checks get true answers (another unit that
    /// is smaller, a port that cannot reach the medium); 0 ends it.
    Refuse(Hctl, Sense, u32),
    /// The SCSI device is removed (`echo 1 > delete`, dev_loss_tmo).
    Delete(Hctl),
    /// A scan finds the SCSI device, unless it is present already.
    Add(Hctl),
    /// The array changes access states by itself, or at the request of another host.
    Access(UnitId, Vec<(u16, AccessState)>),
    /// The array sets PREF of a group, and clears it for the other groups.
    Prefer(UnitId, u16),
    /// The LUN of a path is mapped to another unit, or to none; with `true` the array reports it.
    Remap(Hctl, Option<UnitId>, bool),
    /// The LUN of a path rejects writes from now on, or accepts them again; the array does not report it.
    Protect(Hctl, bool),
    /// An administrator makes the kernel read the properties of a disk again.
    Rescan(Hctl),
    /// The size of the unit changes.
    Resize(UnitId, Sectors),
    /// The disk has these users from now on, unless a map has it open; an empty list means no users.
    Use(Hctl, Vec<Usage>),
    /// A path returns this answer to a command from now on; `None` restores the true answer.
    Lie(Hctl, Command, Option<Answer>),
    /// The next table loads for the unit's map fail with this errno; the last field is their number.
    RefuseTables(UnitId, i32, u32),
    /// The unit's map has this number of users.
    Open(UnitId, u32),
    /// The unit's map has maps of partitions on it: the number of users that have each open.
    Partitions(UnitId, Vec<u32>),
    /// Another program sends a message to the unit's map.
    Message(UnitId, Message),
    /// Another program loads a table for the unit's map and makes it live.
    Table(UnitId, Box<Table>),
    /// With `true` the kernel takes no steps on the unit's map from now on (its worker waits for I/O that hangs);
    /// `false` ends it.
    Jam(UnitId, bool),
    /// Another program leaves the unit's map suspended.
    Suspend(UnitId),
    /// Another program removes the unit's map, unless it is open.
    RemoveMap(UnitId),
    /// With `true` udev has not processed the disk of a path yet, so the agent does not see the disk; `false` ends it.
    Unprocessed(Hctl, bool),
    /// The agent is killed and restarts immediately.
    RestartAgent,
}
