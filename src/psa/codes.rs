//! The event codes, in one table for the agent, `psactl events codes` and its manual page.
//!
//! Each code is a constant, and a notice is raised with such a constant. Codes are a stable interface: scripts and
//! monitoring search for them. To remove a code, or to change its meaning, changes the interface.

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

/// Makes a constant of each code, and the table of all of them.
macro_rules! codes {
    ($($name:ident: $severity:ident($meaning:literal $(, $remedy:literal)?);)*) => {
        $(
            #[doc = $meaning]
            pub const $name: Code = $severity(stringify!($name), $meaning $(, $remedy)?);
        )*

        /// All codes, by name.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    AGENT_FAILED: error("the agent could not start, or ended with an error", "see the reason in the event");
    AGENT_NOT_ALONE: warning("another agent on this host does not end, or it is unknown whether there is one: both may change the same maps", "see which processes `dm-psad` there are; one that hangs in the kernel waits for a disk that does not answer");
    AGENT_READY: info("every device found at start has its map, or 10 s have passed");
    AGENT_STARTED: info("the agent started");
    AGENT_STOPPED: info("the agent was stopped; maps and their I/O continue");
    APD_EXIT: info("all paths of a device were down, and one works again");
    APD_START: error("all paths of a device are down: its I/O is queued; the event says for how long", "look for what the paths have in common: array, fabric, switch, HBA; see `psactl explain DEVICE`");
    APD_TIMEOUT: error("all paths are still down after the APD timeout: I/O fails until a path returns", "as for APD_START; then check whether file systems became read-only");
    BOOT_DEVICES_MISSING: warning("none of the devices that the initramfs expects was found: the root file system may be on another one now, so all devices get their maps", "if the system runs from other devices now, make a new initramfs: `update-initramfs -u` or `dracut -f`; otherwise see why the paths of these devices were missing");
    BOOT_FILES_DIFFER: warning("the initramfs of this boot made maps by other settings, rules or devices than this system has", "make a new initramfs: `update-initramfs -u` or `dracut -f`; `psactl boot status` shows all of them");
    CHECK_NOT_SENT: warning("a check command could not be sent to a path: this host is out of file descriptors or memory, or does not permit it; the path keeps its state", "raise LimitNOFILE= of the service, or free memory (`psactl metrics` shows what the agent uses); if it is not permitted (errno 1 or 13), restart the agent after the module sg was loaded, and see the log of SELinux");
    CLAIM_KEPT: warning("a path stays with its plug-in although a rule gives it to another one", "to apply the rule, stop using the device, then `psactl storage core claiming reclaim -d DEVICE`");
    DELETE_FAILED: warning("the SCSI device of a masked path could not be removed; its disk stays, but hidden", "find out what holds it: `psactl storage core device world list`");
    DEVICE_CLAIMED: info("a device gets a map");
    DEVICE_LEFT_ALONE: info("a device gets no map; the event says why");
    DEVICE_NAMELESS: warning("a logical unit does not report an identity, so its paths cannot be grouped", "configure the array to report VPD page 83h with an NAA, EUI-64 or T10 designator");
    DEVICE_ON_ONE_PATH: warning("a device that had a map is used by a single path: somebody took its disk before the agent could make the map, and if this path fails, its users get I/O errors", "find out who uses it (the event says); on Debian and Ubuntu install dm-psa-boot, which hides the disks in the initramfs; then reboot, or end the use");
    DISCOVERY_PAUSED: warning("sysfs cannot be read: this host is out of file descriptors or memory; the known paths are kept", "raise LimitNOFILE= of the service, or free memory");
    DM_WATCH_FAILED: error("changes of maps cannot be watched; the agent tries again", "check that dm-multipath is loaded and /dev/mapper/control can be opened");
    FEW_OPEN_FILES: warning("the limit of open files is too low for thousands of paths: devices are opened for each check", "run it with LimitNOFILE=65536, or as root");
    HOST_ORDER_LOST: warning("a SCSI host does not keep up with the agent's requests, and one was dropped", "check in the kernel's log whether the HBA is in error recovery");
    HOST_RECOVERY: warning("the kernel's error handling of a SCSI host begins: I/O through this host waits until it ends", "find the command that timed out in the kernel's log; then check HBA, cable and port");
    IDENTIFICATION_MALFORMED: warning("the end of VPD page 83h of a path cannot be read; the designators before it are used", "see `psactl scsi vpd PATH -p 0x83`; then check the firmware of the array");
    IDENTITY_REPEATED: error("two LUNs of one target port have the same identity: they may be two units, so only the paths of one LUN are used", "give each LUN its own identity on the array, or map the unit by one LUN only");
    INQUIRY_UNREADABLE: warning("a path returns invalid INQUIRY data", "see `psactl scsi inquiry PATH`; then check the firmware of array and HBA");
    INTERNAL: error("the agent reached a state that should not occur", "report it, with the file that `psactl journal save` writes");
    IO_ERROR: warning("ordinary I/O on a path ended with an error that dm-multipath passes to the application: the path has to prove its identity again", "if a single path is affected: check cable, port and array; if all paths of the device are affected: check the array, and what the application requests (a LUN that shrank, write protection, a reservation)");
    IO_REPORTS_LOST: info("the kernel reported errors of ordinary I/O faster than the agent read them: some are not counted");
    IO_REPORT_UNREADABLE: warning("the kernel reported an error of ordinary I/O in an unknown format", "report it, with the kernel's version and the line in the event; checks go on as before");
    IO_TIMEOUT: warning("a command of ordinary I/O on a path timed out", "check whether other paths of the same port or HBA are affected; then check cable, port and array");
    IO_WATCH_OFF: warning("the kernel does not report errors of ordinary I/O: only checks find them", "see the reason in the event; tracefs must be mounted at /sys/kernel/tracing; to run without reports: `watch_io = \"off\"`");
    IO_WATCH_ON: info("the kernel reports errors of ordinary I/O again");
    JOURNAL_GAP: warning("the journal was not written for a while, and is written again; nothing else was affected", "if it happens often, set a larger `journal_mib`, or find out what uses the memory of the host");
    JOURNAL_TOO_SMALL: warning("the state of this host does not fit into the journal, so no journal is kept", "set `journal_mib` as the event says, and restart the agent");
    JOURNAL_WRITE_FAILED: warning("the journal cannot be written; the agent tries again", "check that /run has free space, or set a smaller `journal_mib`");
    LOG_LINES_LOST: warning("the log does not take lines as fast as they come, and some were dropped", "find out what slows down the log; `psactl events` has all events");
    MAP_ACTION: info("a map is changed; the event says how");
    MAP_ACTION_FAILED: error("the kernel refused a change of a map; the agent tries again", "see the reason in the event, and `psactl explain DEVICE`");
    MAP_FOREIGN: warning("a multipath map has a disk in its table that is not a SCSI disk: the agent does not change it", "nothing; if the agent should manage the map, see `psactl explain MAP`");
    MAP_GONE: warning("a map was removed, but not by the agent", "find out who removed it; it is created again when its device has a path");
    MAP_SHELL_LEFT: error("a map could not be created, and is left behind empty", "remove it: `dmsetup remove MAP`");
    MAPS_NOT_LISTED: warning("the list of the agent's maps could not be written; the agent tries again", "check that /run has free space");
    MARK_FAILED: warning("udev could not be notified who owns a disk", "check that /run has free space; then run `udevadm trigger` on the disk");
    MAY_BE_KILLED: warning("the kernel may kill the agent when memory is short", "run it as root, or with OOMScoreAdjust=-1000");
    MEMORY_NOT_LOCKED: warning("the agent's memory is not locked: the agent may have to wait for a page on a disk that only it can bring back", "run it as root, or with LimitMEMLOCK=infinity");
    MEMORY_NOT_STORED: warning("what the agent remembers could not be written: names may change after a restart", "check that /etc/dm-psa/state is writable and has free space");
    MEMORY_REFUSED: error("a part of what the agent remembers was not understood: it has no effect, and the rest is used", "see the reason in the event; what a newer version wrote stays in the file, and a damaged file is kept as memory.json.damaged");
    METRICS_NOT_WRITTEN: warning("the metrics file could not be written; the agent tries again", "add its directory to ReadWritePaths= of the service: `systemctl edit dm-psa.service`");
    NO_BACKSTOP: warning("the kernel's own limit of queueing could not be set: while no agent runs, a map without paths queues forever", "check that dm-multipath is loaded and that the agent may write to /sys");
    NO_THREAD: warning("no thread could be started for a map, and the map waits", "raise TasksMax= of the service");
    NOT_IO_FLUSHER: warning("memory that the kernel allocates for the agent may have to wait for a disk that waits for the agent", "use Linux 5.6 or later, and CAP_SYS_RESOURCE in CapabilityBoundingSet= of the service");
    OUTAGES_NOT_STORED: warning("the time since when devices have no usable path could not be stored", "check /run/dm-psa; if the agent is restarted now, I/O is queued for longer than the APD timeout");
    OUTAGES_REFUSED: warning("what the previous agent stored about devices without a usable path cannot be read", "nothing: the APD timeout begins again");
    OWNERSHIP_CONTESTED: error("another host or the array moved a logical unit to a controller that no path leads to: I/O is queued until this host may have it moved back; an error from the third time within an hour", "give all hosts access to both controllers (cabling, zoning), or keep all hosts on the same one; see `psactl explain DEVICE`");
    OWNER_UNREADABLE: warning("the VPD page that says which controller owns a logical unit is invalid", "see `psactl scsi vpd PATH`; then check the firmware of the array");
    PATH_ABSENT: warning("the array reports that there is no longer a logical unit behind the LUN of a path: the path carries no I/O until it proves its identity again", "check how the LUN is mapped on the array; if it was unmapped for good, delete the path");
    PATH_CLAIMED: info("a path now belongs to another plug-in");
    PATH_DOUBTED: info("the device of a path exists but its link in sysfs does not: the agent reads it again");
    PATH_FAILED_BY_KERNEL: warning("I/O failed on a path, and the kernel does not use it until a check succeeds", "see the kernel's log for the error; if it happens again, check cable, port and HBA");
    PATH_MARGINAL: warning("a path failed too often, or its remote port is marginal: it carries I/O only if no other path does", "check cable, port and the kernel's log; the state ends by itself when the path has worked for `marginal_recovery_ms`");
    PATH_MARGINAL_ENDED: info("a marginal path has worked for long enough, and is used like the others");
    PATH_MISMATCHED: error("a path carries no I/O, because it does not fit its device: it has the same identity but another size, vendor or product, or is a second LUN of one target port, and may be another unit; or its disk is smaller than the map, or read-only while others are not", "give each unit its own identity on the array; correct the size or the write protection of the LUN for this port on the array; if the unit shrank for good, close its map and `dmsetup remove` it: it is created again with the new size; if the unit changed on all paths, rescan each path: `psactl storage core adapter rescan --all`");
    PATH_MISMATCH_ENDED: info("the disk of a path matches those of the other paths again");
    PATH_QUARANTINED: error("another logical unit answers on a path than the one it was in use for: the path carries no I/O", "map the LUN back; if it belongs to the other unit for good, close the map of the previous unit: the path then joins the other one by itself");
    PATH_QUARANTINE_ENDED: info("the expected logical unit answers on the path again, or the path joins the device of the unit that answers; the event says which");
    PATH_REMOVED: warning("the SCSI device of a path is gone", "if this was not intended, check fabric and zoning, then `psactl storage core adapter rescan`");
    PATH_STATE: warning("a path changed its state; a warning if it is dead now, otherwise info", "for a dead path: see the reason in the event, then check cable, port, HBA and array; see `psactl explain PATH`");
    PATH_UNMASKED: info("a path is no longer masked, and its HBA is scanned for it");
    PATH_UNPROVEN: warning("a logical unit no longer reports its identity: its path carries I/O only while no other path serves", "see `psactl scsi vpd PATH -p 0x83`; then check the array");
    PATH_WITHDRAWN: info("the SCSI device of a masked path was removed from the host");
    PDL_EXIT: info("a permanently lost logical unit is back, or its paths are down for another reason");
    PDL_REMOVED: info("the SCSI devices of a permanently lost logical unit are removed, because nobody uses it");
    PDL_START: error("every path reports that the logical unit is permanently lost: its I/O fails", "if it was not unmapped on purpose, map it again on the array and rescan");
    PORT_GROUP_STATE: info("the array changed the access state of target port groups");
    PORT_GROUPS_UNREADABLE: warning("the states of the target port groups cannot be read through a path", "see `psactl scsi rtpg PATH`; then check the firmware of the array");
    PORT_TIMERS_FAILED: warning("the timers of a port could not be set: I/O may wait long when the port is lost", "set fast_io_fail_tmo or recovery_tmo by hand");
    QUEUEING_ENDED: warning("an admin ended the queueing of a device without paths: its I/O fails until a path serves it again", "as for APD_START; then check whether file systems became read-only");
    QUEUEING_LIMITED: warning("the kernel's own limit of queueing was set below the APD timeout", "raise queue_if_no_path_timeout_secs of dm_multipath or set it to 0, or lower `apd_timeout_ms`");
    QUEUEING_NOT_ENDED: error("the host shuts down, and the queueing of a map could not be ended", "see the kernel's log; `dmsetup message MAP 0 fail_if_no_path`");
    RESCAN_FAILED: warning("the kernel could not be made to read the capacity of a disk again", "`psactl storage core adapter rescan -t update`");
    RULES_LOADED: info("rules were loaded; the event says what they would change for claimed paths and devices");
    RULES_REFUSED: error("a rule or a rules file could not be used: it is left out, and all others are used", "see the reason in the event, and `psactl lint`");
    SCAN_FAILED: warning("an HBA could not be made to scan for a device", "`psactl storage core adapter rescan`");
    SETTING_CHANGED: info("an admin changed something with psactl");
    SETTINGS_REFUSED: error("a setting could not be used: its default is in force, and the rest of the file is used", "correct /etc/dm-psa/dm-psa.toml as the reason says; then restart the agent");
    TABLE_RELOAD: info("the table of a map has to be loaded again; the event says why");
    TAKEOVERS_NOT_STORED: warning("the waits before units may be moved between controllers could not be stored", "check /run/dm-psa; after a restart the agent may have the array move units sooner");
    TAKEOVERS_REFUSED: warning("what the previous agent stored about units moved between controllers cannot be read", "nothing: for each unit the wait starts again from the shortest");
    TAKEOVER_ORDERED: info("this host has the array move a logical unit to a controller that its paths lead to; the event says when it may do so again");
    TRANSPORT: warning("how SCSI commands are sent, and why; a warning if one way failed and another is used", "if bsg was requested: it needs Linux 7.1 or later, and permission for io_uring");
    UDEV_MISSED: warning("udev knows nothing of the disk of a path, because it did not run when the uevents came: they are triggered again", "check that systemd-udevd runs");
    UDEV_NO_COOKIE: warning("no semaphore is available to wait for udev: links in /dev may be late", "raise kernel.sem, or remove semaphores that nobody uses: `ipcs -s`");
    UDEV_OK: info("udev has processed the events of maps");
    UDEV_SLOW: warning("udev has not processed the events of maps yet: links in /dev may be late; maps are not affected", "check that systemd-udevd runs");
    WWIDS_NOT_STORED: warning("the WWIDs of multipath devices could not be added to a file that LVM reads: before the map of a device is there, LVM may take one of its disks", "see the reason in the event");
}

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
    pub fn new(code: Code, subject: impl Into<String>, details: &[(&str, &str)]) -> Notice {
        Notice {
            severity: code.severity,
            code: code.name.to_owned(),
            subject: subject.into(),
            details: details
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// The notice with another severity, for a code that has several.
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Notice {
        Notice { severity, ..self }
    }
}
