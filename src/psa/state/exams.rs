//! The examination of a path that is in progress, and what the next one has to include.

use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};

/// An examination in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exam {
    /// Its ticket.
    pub ticket: u64,
    /// When it was sent.
    pub sent: Millis,
    /// Its purpose.
    pub stage: Stage,
    /// READ CAPACITY is among the commands.
    pub measures: bool,
}

/// The purpose of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// What kind of device is it?
    Inquiry,
    /// Which logical unit is it, and in which state?
    Identify,
    /// Does it still work?
    Check,
}

/// The examinations of a path. At most one is in progress.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Exams {
    current: Option<Exam>,
    /// Another one has to follow immediately.
    again: bool,
    /// When the last answer to TEST UNIT READY came; 0: the next examination includes it.
    ready_at: Millis,
    /// The next one asks for the states of the port groups.
    groups: bool,
    /// The next one includes READ CAPACITY.
    capacity: bool,
    /// The kernel has to read the disk again, once the path is known to serve.
    reread: bool,
    /// The device does not support the extended header of REPORT TARGET PORT GROUPS.
    short_header: bool,
}

impl Exams {
    /// The examination in progress.
    pub(in crate::psa) fn current(&self) -> Option<Exam> {
        self.current
    }

    /// Whether one is in progress or follows immediately.
    pub(in crate::psa) fn is_busy(&self) -> bool {
        self.current.is_some() || self.again
    }

    /// An examination is sent. It includes all that was asked for.
    pub(in crate::psa) fn begin(&mut self, exam: Exam) {
        self.current = Some(exam);
        self.again = false;
        self.capacity = false;
        self.groups = false;
    }

    /// The examination with this ticket ended; `None` if it is not the one in progress.
    pub(in crate::psa) fn end(&mut self, ticket: u64) -> Option<Exam> {
        self.current.take_if(|exam| exam.ticket == ticket)
    }

    /// Another examination has to follow the one in progress.
    pub(in crate::psa) fn repeat(&mut self) {
        self.again = true;
    }

    /// Whether another examination has to follow the one in progress.
    pub(in crate::psa) fn is_repeated(&self) -> bool {
        self.again
    }

    /// TEST UNIT READY was answered.
    pub(in crate::psa) fn ready(&mut self, now: Millis) {
        self.ready_at = now;
    }

    /// When the last answer to TEST UNIT READY came; 0 if the next examination has to include the command.
    pub(in crate::psa) fn ready_at(&self) -> Millis {
        self.ready_at
    }

    /// The next examination includes TEST UNIT READY.
    pub(in crate::psa) fn ask_ready(&mut self) {
        self.ready_at = Millis(0);
    }

    /// The next examination asks for the states of the port groups.
    pub(in crate::psa) fn ask_groups(&mut self) {
        self.groups = true;
    }

    /// Whether the next examination asks for the states of the port groups.
    pub(in crate::psa) fn asks_groups(&self) -> bool {
        self.groups
    }

    /// The device refused the extended header of REPORT TARGET PORT GROUPS: it is asked again without.
    pub(in crate::psa) fn extended_header_refused(&mut self) {
        self.short_header = true;
        self.groups = true;
        self.again = true;
    }

    /// Whether REPORT TARGET PORT GROUPS is sent without the extended header.
    pub(in crate::psa) fn has_short_header(&self) -> bool {
        self.short_header
    }

    /// The next examination includes READ CAPACITY.
    pub(in crate::psa) fn ask_capacity(&mut self) {
        self.capacity = true;
    }

    /// Whether the next examination includes READ CAPACITY.
    pub(in crate::psa) fn asks_capacity(&self) -> bool {
        self.capacity
    }

    /// Whether READ CAPACITY is requested and not answered yet.
    pub(in crate::psa) fn is_measuring(&self) -> bool {
        self.capacity || self.current.is_some_and(|exam| exam.measures)
    }

    /// The kernel has to read the disk again.
    pub(in crate::psa) fn owe_reread(&mut self) {
        self.reread = true;
    }

    /// Whether the kernel has to read the disk again.
    pub(in crate::psa) fn owes_reread(&self) -> bool {
        self.reread
    }

    /// The kernel was made to read the disk again.
    pub(in crate::psa) fn reread(&mut self) {
        self.reread = false;
    }
}
