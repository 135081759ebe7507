//! Carries out orders to a SCSI host through sysfs, such as deleting or scanning for a device.
//!
//! Both may take minutes while a host is in error recovery, so each host has its own thread, and at most `WAITING`
//! orders queue for it.

use super::NoticeSink;
use super::sysfs::{Port, Sysfs, number_of_node};
use crate::psa::action::{Notice, PortTimers};
use crate::psa::codes;
use crate::psa::units::{DevT, Hctl};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// The most orders queued for one host: more than the masked devices of any realistic host.
const WAITING: usize = 4096;

/// An order to a SCSI host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Delete the device, if its disk is this one and nobody uses it.
    Delete(Hctl, DevT),
    /// Read the capacity of a device again.
    Rescan(Hctl),
    /// Scan for the device.
    Scan(Hctl),
    /// Set the timers of the port that the device is behind.
    Timers(Hctl, PortTimers),
}

impl Order {
    /// The path that the order is about.
    #[must_use]
    pub(crate) fn path(self) -> Hctl {
        match self {
            Order::Delete(path, _)
            | Order::Rescan(path)
            | Order::Scan(path)
            | Order::Timers(path, _) => path,
        }
    }
}

/// The hosts, each with its own thread.
#[derive(Debug)]
pub(crate) struct Hosts {
    sysfs: Sysfs,
    notice_sink: NoticeSink,
    threads: BTreeMap<u32, SyncSender<Order>>,
}

impl Hosts {
    /// Starts without threads: a host gets its thread with its first order.
    #[must_use]
    pub(crate) fn new(sysfs: Sysfs, notice_sink: NoticeSink) -> Hosts {
        Hosts {
            sysfs,
            notice_sink,
            threads: BTreeMap::new(),
        }
    }

    /// Queues an order. Never waits.
    ///
    /// # Errors
    /// Too many orders wait for that host, or its thread could not be started.
    pub(crate) fn order(&mut self, order: Order) -> io::Result<()> {
        let host = order.path().host;
        let thread = match self.threads.get(&host) {
            Some(thread) => thread.clone(),
            None => {
                let (thread, orders) = sync_channel(WAITING);
                let (sysfs, notice_sink) = (self.sysfs.clone(), self.notice_sink.clone());
                super::thread(format!("host{host}")).spawn(move || {
                    for order in orders {
                        report(&notice_sink, order, carry_out(&sysfs, order));
                    }
                })?;
                self.threads.insert(host, thread.clone());
                thread
            }
        };
        thread.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => {
                io::Error::other("the SCSI host does not keep up with the agent's requests")
            }
            TrySendError::Disconnected(_) => {
                io::Error::other("the thread for the SCSI host has ended")
            }
        })
    }
}

fn report(notice_sink: &NoticeSink, order: Order, result: io::Result<()>) {
    let Err(error) = result else {
        return;
    };
    let (code, effect) = match order {
        Order::Delete(..) => (
            codes::DELETE_FAILED,
            "the disk of the masked path stays, but udev hides it",
        ),
        Order::Timers(..) => (
            codes::PORT_TIMERS_FAILED,
            "I/O may wait long when the port is lost: set fast_io_fail_tmo or recovery_tmo by hand",
        ),
        Order::Rescan(_) => (
            codes::RESCAN_FAILED,
            "a new size may go unnoticed: run `psactl storage core adapter rescan -t update`",
        ),
        Order::Scan(_) => (
            codes::SCAN_FAILED,
            "the device is not found until the HBA is rescanned: `psactl storage core adapter rescan`",
        ),
    };
    let (path, reason) = (order.path().to_string(), error.to_string());
    notice_sink.notify(Notice::new(
        code,
        path,
        &[("reason", &reason), ("effect", effect)],
    ));
}

/// Carries out an order, however long that takes.
///
/// # Errors
/// EBUSY if the disk is in use; ENODEV if it is another disk by now; otherwise the error of sysfs.
fn carry_out(sysfs: &Sysfs, order: Order) -> io::Result<()> {
    match order {
        Order::Delete(path, dev) => {
            // Held while the device is deleted, so that nobody else can open the disk exclusively meanwhile.
            let _mine = take(sysfs, path, dev)?;
            fs::write(sysfs.device_file(path, "delete"), "1")
        }
        Order::Rescan(path) => fs::write(sysfs.device_file(path, "rescan"), "1"),
        Order::Timers(path, timers) => match sysfs.port_of(path) {
            Some(Port::Remote(port)) => set_remote_port(&port, timers),
            Some(Port::Session(session)) => set_timer(&session.join("recovery_tmo"), timers),
            None => Ok(()),
        },
        Order::Scan(path) => {
            let (channel, target, lun) = (path.channel, path.target, path.lun);
            let scan = sysfs.scan_file(path.host);
            match fs::write(&scan, format!("{channel} {target} {lun}")) {
                // Some drivers (tcm_loop) declare fewer LUNs than they have: then all LUNs of the target are scanned.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    fs::write(&scan, format!("{channel} {target} -"))
                }
                result => result,
            }
        }
    }
}

/// Sets the timers of a remote port. The kernel requires `fast_io_fail_tmo` to be below `dev_loss_tmo` at any time, and
/// allows `dev_loss_tmo` above 600 only while `fast_io_fail_tmo` is set.
fn set_remote_port(port: &Path, timers: PortTimers) -> io::Result<()> {
    let set_loss = || match timers.dev_loss {
        Some(seconds) => fs::write(port.join("dev_loss_tmo"), seconds.to_string()),
        None => Ok(()),
    };
    let fast = port.join("fast_io_fail_tmo");
    match set_timer(&fast, timers) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && timers.dev_loss.is_some() => {
            set_loss()?;
            set_timer(&fast, timers)
        }
        result => result.and_then(|()| set_loss()),
    }
}

/// Sets a timer, unless its present value is good. `off` and negative values count as longer than any time.
fn set_timer(file: &Path, timers: PortTimers) -> io::Result<()> {
    let now = fs::read_to_string(file)?.trim().parse::<u32>().ok();
    let kept = now.is_some_and(|now| {
        now == timers.fast_io_fail || (timers.at_most && now < timers.fast_io_fail)
    });
    if kept {
        return Ok(());
    }
    fs::write(file, timers.fast_io_fail.to_string())
}

/// Opens the disk of a device exclusively: no mount, map or md array uses it.
fn take(sysfs: &Sysfs, path: Hctl, dev: DevT) -> io::Result<fs::File> {
    let gone = || io::Error::from_raw_os_error(libc::ENODEV);
    let name = sysfs.disk_of(path).ok_or_else(gone)?;
    let disk = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(sysfs.dev(&name))?;
    if number_of_node(&disk.metadata()?) == dev {
        Ok(disk)
    } else {
        Err(gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_scanned_for() {
        let root = tempfile::tempdir().unwrap();
        let path: Hctl = "2:0:1:7".parse().unwrap();
        let host = root.path().join("sys/class/scsi_host/host2");
        fs::create_dir_all(&host).unwrap();
        let sysfs = Sysfs::new(root.path());
        carry_out(&sysfs, Order::Scan(path)).unwrap();
        assert_eq!(fs::read_to_string(host.join("scan")).unwrap(), "0 1 7");
    }

    #[test]
    fn timers_are_lowered_or_set() {
        let root = tempfile::tempdir().unwrap();
        let port = root.path();
        let read = |name: &str| fs::read_to_string(port.join(name)).unwrap();
        let timers = |fast_io_fail, at_most, dev_loss| PortTimers {
            fast_io_fail,
            at_most,
            dev_loss,
        };
        for (before, timers, after) in [
            ("off\n", timers(5, true, None), "5"),
            ("-1\n", timers(5, true, None), "5"),
            ("120\n", timers(5, true, None), "5"),
            ("2\n", timers(5, true, None), "2\n"),
            ("2\n", timers(10, false, Some(300)), "10"),
        ] {
            fs::write(port.join("fast_io_fail_tmo"), before).unwrap();
            fs::write(port.join("dev_loss_tmo"), "60\n").unwrap();
            set_remote_port(port, timers).unwrap();
            assert_eq!(read("fast_io_fail_tmo"), after);
        }
        assert_eq!(read("dev_loss_tmo"), "300");
    }

    #[test]
    fn another_disk_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/scsi/devices/2:0:1:7");
        fs::create_dir_all(device.join("block/sdc")).unwrap();
        fs::create_dir_all(root.path().join("dev")).unwrap();
        fs::write(root.path().join("dev/sdc"), "").unwrap();
        let dev = DevT {
            major: 8,
            minor: 32,
        };
        let path: Hctl = "2:0:1:7".parse().unwrap();
        let sysfs = Sysfs::new(root.path());
        let error = carry_out(&sysfs, Order::Delete(path, dev)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert!(!sysfs.device_file(path, "delete").exists());
    }
}
