//! The event codes, in one table for the agent, `psactl events codes` and its manual page.
//!
//! Codes are a stable interface: scripts and monitoring search for them. To remove a code, or to change its meaning,
//! changes the interface. `tests/codes.rs` compares the table with every notice in the source.

use super::action::{Notice, Severity};
use serde::Serialize;

/// A code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Code {
    /// `PATH_STATE`.
    pub name: &'static str,
    /// How much it matters; for a code with several severities, the highest.
    pub severity: Severity,
    /// What happened.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn error(name: &'static str, meaning: &'static str, remedy: &'static str) -> Code {
    let severity = Severity::Error;
    Code {
        name,
        severity,
        meaning,
        remedy,
    }
}

const fn warning(name: &'static str, meaning: &'static str, remedy: &'static str) -> Code {
    let severity = Severity::Warning;
    Code {
        name,
        severity,
        meaning,
        remedy,
    }
}

const fn info(name: &'static str, meaning: &'static str) -> Code {
    let severity = Severity::Info;
    let remedy = "nothing";
    Code {
        name,
        severity,
        meaning,
        remedy,
    }
}

/// All codes, by name.
#[rustfmt::skip]
pub const CODES: &[Code] = &[
    error("AGENT_FAILED", "the agent could not start, or ended by an error", "what the reason says"),
    info("AGENT_READY", "every device found at start has its map, or 10 s are over"),
    info("AGENT_STARTED", "the agent runs"),
    info("AGENT_STOPPED", "the agent was told to stop; maps and their I/O go on"),
    info("APD_EXIT", "all paths were down, and one serves again"),
    error("APD_START", "all paths of a device are down: its I/O is queued, for as long as the event says", "look for what the paths have in common: array, fabric, switch, HBA; `psactl explain DEVICE`"),
    error("APD_TIMEOUT", "all paths are still down and the time is over: I/O fails until a path returns", "as of APD_START; then see whether file systems became read-only"),
    warning("CHECK_NOT_SENT", "a command for a path could not be sent for want of files or memory of this host; the path counts as before", "LimitNOFILE= of the service; memory that is free: `psactl metrics`"),
    warning("CLAIM_KEPT", "a path stays with its plug-in though a rule says another", "free the device if the rule is to have its way, then `psactl storage core claiming reclaim -d DEVICE`"),
    warning("DELETE_FAILED", "the SCSI device of a masked path could not be taken away; its disk stays, hidden", "see who holds it: `psactl storage core device world list`"),
    info("DEVICE_CLAIMED", "a device gets a map"),
    info("DEVICE_LEFT_ALONE", "a device gets no map: the event says why"),
    warning("DEVICE_NAMELESS", "a logical unit does not say who it is, so its paths cannot be told to belong together", "have the array report VPD page 83h with a NAA, EUI-64 or T10 designator"),
    warning("DISCOVERY_PAUSED", "sysfs cannot be read for want of open files or memory: what is known of the paths stays", "LimitNOFILE= of the service; memory that is free"),
    error("DM_WATCH_FAILED", "changes of maps cannot be watched; it is tried again", "see that dm-multipath is loaded and /dev/mapper/control can be opened"),
    warning("FEW_OPEN_FILES", "the agent may open fewer files than thousands of paths need: devices are opened for each check", "run it with LimitNOFILE=65536, or as root"),
    warning("HOST_ORDER_LOST", "a SCSI host does not keep up with what it is told, and something was left out", "see whether its HBA is in error recovery: the kernel's log"),
    warning("HOST_RECOVERY", "the kernel's error handling of a SCSI host begins: I/O through this host waits until it has ended", "see the kernel's log for the command that timed out; then HBA, cable and port"),
    warning("IDENTIFICATION_MALFORMED", "VPD page 83h of a path has bytes that cannot be read behind designators that can: those count", "look at it: `psactl scsi vpd PATH -p 0x83`; then at the firmware of the array"),
    error("IDENTITY_REPEATED", "two LUNs of one target port have one identity: they may be two units, and the paths of one LUN are used", "give each LUN an identity of its own on the array, or map the unit by one LUN alone"),
    warning("INQUIRY_UNREADABLE", "a path answers INQUIRY with what is none", "look at it: `psactl scsi inquiry PATH`; then at the firmware of array and HBA"),
    error("INTERNAL", "the agent came into a state that it should not", "report it, with `psactl journal save`"),
    warning("IO_ERROR", "ordinary I/O on a path ended with an error that dm-multipath passes to the application: the path proves its identity again", "if the event is about a single path: cable, port and array; if all paths of the device have it: the array, or what the application asks for (a LUN that got smaller, a write-protected one, a reservation)"),
    info("IO_REPORTS_LOST", "the kernel reported errors of ordinary I/O faster than they were read: some are not counted"),
    warning("IO_REPORT_UNREADABLE", "a report of the kernel about an error of ordinary I/O has another form than those that are known", "report it, with the kernel's version and the line of the event; checks go on as before"),
    warning("IO_TIMEOUT", "a command of ordinary I/O on a path was not answered in time", "see whether other paths of the same port or HBA have it; then cable, port and array"),
    warning("IO_WATCH_OFF", "the kernel does not report errors of ordinary I/O: they are found by checks alone", "what the reason says; tracefs has to be mounted at /sys/kernel/tracing; to do without: `watch_io = \"off\"`"),
    info("IO_WATCH_ON", "the kernel reports errors of ordinary I/O again"),
    warning("JOURNAL_GAP", "the journal was not written for a while, and goes on now; the agent did what it should", "if it happens often, set a larger `journal_mib` or see what fills the memory of the host"),
    warning("JOURNAL_TOO_SMALL", "what is known of this host has no room in the journal, so none is kept", "set `journal_mib` as the event says, and restart the agent"),
    warning("JOURNAL_WRITE_FAILED", "the journal cannot be written; it is tried again", "see that /run has room, or set `journal_mib` lower"),
    warning("LOG_LINES_LOST", "the log does not take lines as fast as they come, and some were dropped", "see what keeps the log busy; `psactl events` has them all"),
    info("MAP_ACTION", "a map is changed: the event says how"),
    error("MAP_ACTION_FAILED", "the kernel refused a change of a map; it is tried again", "what the reason says; `psactl explain DEVICE`"),
    warning("MAP_FOREIGN", "a multipath map has a disk in its table that is not a SCSI disk: it is not ours to change", "nothing, or `psactl explain MAP` if it should be ours"),
    warning("MAP_GONE", "somebody else removed a map", "find out who; it is made again when its device has a path"),
    error("MAP_SHELL_LEFT", "a map that could not be made is left behind empty", "`dmsetup remove MAP`"),
    warning("MAPS_NOT_LISTED", "the list of the agent's maps could not be written; it is tried again", "see that /run has room"),
    warning("MARK_FAILED", "udev could not be told whose a disk is", "see that /run has room; then `udevadm trigger` on the disk"),
    warning("MAY_BE_KILLED", "the kernel may kill the agent when memory is short", "run it as root, or with OOMScoreAdjust=-1000"),
    warning("MEMORY_NOT_LOCKED", "the agent may wait for a page of its own on a disk that it is to revive", "run it as root, or with LimitMEMLOCK=infinity"),
    warning("MEMORY_NOT_STORED", "what the agent remembers could not be written: names may change after a restart", "see that /etc/dm-psa/state can be written and has room"),
    error("MEMORY_REFUSED", "a part of what the agent remembers was not understood: it has no effect, and the rest counts", "what the reason says; what a newer version wrote stays in the file, and a damaged file is kept as memory.json.damaged"),
    warning("METRICS_NOT_WRITTEN", "the file of metrics could not be written; it is tried again", "ReadWritePaths= of the service must have its directory: `systemctl edit dm-psa.service`"),
    warning("NO_BACKSTOP", "the kernel could not be told to end queueing in case the agent does not: without the agent a map without paths queues for ever", "see that dm-multipath is loaded and that the agent may write to /sys"),
    warning("NO_THREAD", "there is no thread for a map, and it waits", "raise TasksMax of the service"),
    warning("NOT_IO_FLUSHER", "what the kernel allocates for the agent may wait for a disk that waits for the agent", "Linux 5.6 or later, and CAP_SYS_RESOURCE in CapabilityBoundingSet= of the service"),
    warning("OUTAGES_NOT_STORED", "since when devices have no usable path could not be stored", "look at /run/dm-psa; if the agent is restarted now, I/O is queued for longer than the APD time"),
    warning("OUTAGES_REFUSED", "what the agent before stored of devices without a usable path cannot be read", "nothing: the wait for paths begins again"),
    error("OWNERSHIP_CONTESTED", "somebody else had the array move a logical unit to a controller that no path leads to: I/O is queued until this host may have it moved back; an error from the third time within an hour", "have all hosts reach both controllers (cabling, zoning), or keep all of them on the same one; `psactl explain DEVICE`"),
    warning("OWNER_UNREADABLE", "the page by which an array says which controller owns a logical unit is none", "look at it: `psactl scsi vpd PATH`; then at the firmware of the array"),
    warning("PATH_ABSENT", "the array says that no logical unit is behind the LUN of a path any more: no I/O goes there until it proves itself again", "see how the LUN is mapped on the array; if it was unmapped for good, delete the path"),
    info("PATH_CLAIMED", "a path got another plug-in"),
    info("PATH_DOUBTED", "the device of a path is there and its link in sysfs is not: it is looked at again"),
    warning("PATH_FAILED_BY_KERNEL", "I/O failed on a path, and the kernel uses it no more until a check says that it is well", "see the kernel's log for the error; if it comes again, look at cable, port and HBA"),
    warning("PATH_MARGINAL", "a path failed too often, or its remote port is marginal: it carries I/O only if no other path does", "look at cable, port and the kernel's log; it ends by itself when the path has worked for `marginal_recovery_ms`"),
    info("PATH_MARGINAL_ENDED", "a marginal path has worked for long enough, and is used as the others"),
    error("PATH_MISMATCHED", "a path has the identity of a unit and another size, vendor or product, or is a second LUN of one target port: it may be another unit; or its disk is smaller than the map, or read-only where others are not: no I/O goes there", "give each unit an identity of its own on the array; mend the size or the write protection of the LUN for this port on the array; if the unit got smaller for good, close its map and `dmsetup remove` it: it is made anew with the size that there is; if the unit changed as a whole, rescan each path: `psactl storage core adapter rescan --all`"),
    info("PATH_MISMATCH_ENDED", "the disk of a path is like those of the other paths again"),
    error("PATH_QUARANTINED", "another logical unit answers on a path than the one it was in use for: no I/O goes there", "map the LUN back; if it belongs to the other unit for good, close the map of the one before: the path then joins the other by itself"),
    info("PATH_QUARANTINE_ENDED", "the logical unit that is expected answers on the path again, or the path joins the device of the unit that answers: the event says which"),
    warning("PATH_REMOVED", "the SCSI device of a path is gone", "if that was not wanted, look at fabric and zoning, then `psactl storage core adapter rescan`"),
    warning("PATH_STATE", "a path changed its state; a warning if it serves no I/O any more, else for information", "for a dead path: the reason, then cable, port, HBA and array; `psactl explain PATH`"),
    info("PATH_UNMASKED", "a path is not masked any more, and its HBA is scanned for it"),
    warning("PATH_UNPROVEN", "a logical unit does not say any more who it is: its path carries I/O only while no other serves", "look at it: `psactl scsi vpd PATH -p 0x83`; then at the array"),
    info("PATH_WITHDRAWN", "the SCSI device of a masked path is taken away from the host"),
    info("PDL_EXIT", "a logical unit that was gone for good is there again, or its paths are down for another reason"),
    info("PDL_REMOVED", "the SCSI devices of a logical unit that is gone for good are removed, as nobody uses it"),
    error("PDL_START", "every path says that the logical unit is gone for good: its I/O fails", "if it was not unmapped by intention, map it again on the array and rescan"),
    info("PORT_GROUP_STATE", "the array changed the access state of target port groups"),
    warning("PORT_GROUPS_UNREADABLE", "the states of the target port groups cannot be read through a path", "look at them: `psactl scsi rtpg PATH`; then at the firmware of the array"),
    warning("PORT_TIMERS_FAILED", "the timers of a port could not be set: I/O may wait long when the port is lost", "set fast_io_fail_tmo or recovery_tmo by hand"),
    warning("QUEUEING_ENDED", "an admin ended the queueing of a device without paths: its I/O fails until a path serves it again", "as of APD_START; then see whether file systems became read-only"),
    warning("QUEUEING_LIMITED", "the kernel's own limit of queueing, which somebody set, is below the APD timeout", "set queue_if_no_path_timeout_secs of dm_multipath higher, or to 0, or `apd_timeout_ms` lower"),
    error("QUEUEING_NOT_ENDED", "the host shuts down, and the queueing of a map could not be ended", "the kernel's log; `dmsetup message MAP 0 fail_if_no_path`"),
    warning("RESCAN_FAILED", "the kernel could not be told to read a capacity again", "`psactl storage core adapter rescan -t update`"),
    info("RULES_LOADED", "rules were loaded: the event says what they mean for what is claimed"),
    error("RULES_REFUSED", "a rule or a file of rules could not be used: it is left out, and all others count", "what the reason says; `psactl lint`"),
    warning("SCAN_FAILED", "a HBA could not be told to look for a device", "`psactl storage core adapter rescan`"),
    info("SETTING_CHANGED", "an admin changed something by psactl"),
    error("SETTINGS_REFUSED", "a setting could not be used: its default is in force, and the rest of the file counts", "what the reason says, in /etc/dm-psa/dm-psa.toml; then restart the agent"),
    info("TABLE_RELOAD", "the table of a map has to be loaded anew: the event says why"),
    warning("TAKEOVERS_NOT_STORED", "how long units must not be moved between controllers could not be stored", "look at /run/dm-psa; an agent that is restarted may have the array move units sooner"),
    warning("TAKEOVERS_REFUSED", "what the agent before stored of units that are moved between controllers cannot be read", "nothing: each of them waits for the first hold again"),
    info("TAKEOVER_ORDERED", "this host has the array move a logical unit to a controller that its paths lead to; the event says when it may do so next"),
    warning("TRANSPORT", "how SCSI commands are sent, and why; a warning if a way was given up", "if bsg was asked for: Linux 7.1 or later, and io_uring allowed"),
    warning("UDEV_MISSED", "udev knows nothing of the disk of a path, whose uevents came while it did not run: it is told of it again", "see that systemd-udevd runs"),
    warning("UDEV_NO_COOKIE", "there is no semaphore to wait for udev with: links in /dev may be late", "raise kernel.sem, or remove semaphores that nobody uses: `ipcs -s`"),
    info("UDEV_OK", "udev has caught up with the events of maps"),
    warning("UDEV_SLOW", "udev has not worked off the events of maps: links in /dev may be late; maps are not affected", "see whether systemd-udevd runs"),
];

impl Code {
    /// The code of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Code> {
        CODES.iter().find(|code| code.name == name)
    }
}

impl Severity {
    /// All severities, the most severe first.
    pub const ALL: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Info];

    /// `error`, `warning`, `info`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }

    /// The severity of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Severity> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

impl Notice {
    /// A notice with the severity that the table gives for its code.
    #[must_use]
    pub fn new(code: &str, subject: impl Into<String>, details: &[(&str, &str)]) -> Notice {
        Notice {
            severity: Code::by_name(code).map_or(Severity::Warning, |code| code.severity),
            code: code.to_owned(),
            subject: subject.into(),
            details: details
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }
}
