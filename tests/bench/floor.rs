//! The least that the agent's checks can cost: the same SCSI commands to the same disks, by asynchronous sg, in batches,
//! from one thread, and nothing else. For the lab (`tests/bench/checks.sh`).
//!
//!     floor INTERVAL_MS     checks all disks of scsi_debug until it is stopped

use std::ffi::{c_int, c_uint, c_void};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// `struct sg_io_hdr`, kernel `include/scsi/sg.h`.
#[repr(C)]
struct Header {
    interface_id: c_int,
    dxfer_direction: c_int,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: u16,
    dxfer_len: c_uint,
    dxferp: *mut c_void,
    cmdp: *mut u8,
    sbp: *mut u8,
    timeout: c_uint,
    flags: c_uint,
    pack_id: c_int,
    usr_ptr: *mut c_void,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: u16,
    driver_status: u16,
    resid: c_int,
    duration: c_uint,
    info: c_uint,
}

const NO_DATA: c_int = -1;
const FROM_DEVICE: c_int = -3;

/// As many bytes as the agent asks for when it knows the length of the page.
const PAGE: usize = 252;

/// Commands that were sent together come back within this time, as those of the agent.
const BATCH_TIME: Duration = Duration::from_millis(5);

/// As `AT_ONCE` of the agent's schedule: from 400 disks on, so many are checked at the same moment.
const AT_ONCE: usize = 200;

/// Of so many rounds, one asks each disk for its port groups, and another every fourth disk for its write protection: the
/// agent does both once a minute.
const ROUNDS_PER_MINUTE: usize = 12;

#[derive(Clone, Copy)]
struct Command {
    cdb: [u8; 12],
    length: u8,
}

impl Command {
    fn six(cdb: [u8; 6]) -> Command {
        let mut command = Command {
            cdb: [0; 12],
            length: 6,
        };
        command.cdb[..6].copy_from_slice(&cdb);
        command
    }
}

struct Disk {
    sg: File,
    command: Command,
    data: Box<[u8; PAGE]>,
    sense: Box<[u8; 64]>,
}

impl Disk {
    fn header(&mut self, command: Command) -> Header {
        self.command = command;
        let reads = command.cdb[0] != 0;
        Header {
            interface_id: c_int::from(b'S'),
            dxfer_direction: if reads { FROM_DEVICE } else { NO_DATA },
            cmd_len: command.length,
            mx_sb_len: 64,
            iovec_count: 0,
            dxfer_len: if reads { PAGE as c_uint } else { 0 },
            dxferp: self.data.as_mut_ptr().cast(),
            cmdp: self.command.cdb.as_mut_ptr(),
            sbp: self.sense.as_mut_ptr(),
            timeout: 30_000,
            flags: 0,
            pack_id: 0,
            usr_ptr: std::ptr::null_mut(),
            status: 0,
            masked_status: 0,
            msg_status: 0,
            sb_len_wr: 0,
            host_status: 0,
            driver_status: 0,
            resid: 0,
            duration: 0,
            info: 0,
        }
    }

    fn send(&mut self, command: Command) -> io::Result<()> {
        let header = self.header(command);
        // SAFETY: `header` is a whole sg_io_hdr; its pointers lead to memory of `self`, which lives until the program
        // ends and is not touched before the reply was read.
        let written = unsafe {
            libc::write(
                self.sg.as_raw_fd(),
                (&raw const header).cast(),
                size_of::<Header>(),
            )
        };
        if written < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Whether the reply was there.
    fn receive(&mut self) -> io::Result<bool> {
        let mut header = self.header(self.command);
        // SAFETY: `header` is valid for writes of its size; the kernel copies data and sense to the memory of `self`.
        let read = unsafe {
            libc::read(
                self.sg.as_raw_fd(),
                (&raw mut header).cast(),
                size_of::<Header>(),
            )
        };
        if read >= 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        }
    }
}

fn open_all() -> io::Result<Vec<Disk>> {
    let mut disks = Vec::new();
    for entry in fs::read_dir("/sys/class/scsi_generic")? {
        let sg = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(format!("/dev/{}", entry?.file_name().display()))?;
        disks.push(Disk {
            sg,
            command: Command::six([0; 6]),
            data: Box::new([0; PAGE]),
            sense: Box::new([0; 64]),
        });
    }
    Ok(disks)
}

/// Sends the command to all, and reads all replies.
fn run(disks: &mut [&mut Disk], command: Command) -> io::Result<()> {
    for disk in disks.iter_mut() {
        disk.send(command)?;
    }
    for disk in disks {
        while !disk.receive()? {
            std::thread::sleep(BATCH_TIME);
        }
    }
    Ok(())
}

fn part_of(disks: &mut [Disk], is_asked: impl Fn(usize) -> bool) -> Vec<&mut Disk> {
    let numbered = disks.iter_mut().enumerate();
    numbered
        .filter_map(|(n, disk)| is_asked(n).then_some(disk))
        .collect()
}

fn check_all(interval: Duration) -> io::Result<()> {
    let ready = Command::six([0; 6]);
    let identity = Command::six([0x12, 1, 0x83, 0, PAGE as u8, 0]);
    // MODE SENSE (6) of all pages, for the header; REPORT TARGET PORT GROUPS with extended header.
    let write_protection = Command::six([0x1a, 0, 0x3f, 0, 4, 0]);
    let port_groups = Command {
        cdb: [0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 0, PAGE as u8, 0, 0],
        length: 12,
    };
    let mut disks = open_all()?;
    let moments = 1_usize << (disks.len() / AT_ONCE).max(1).ilog2();
    let batch = disks.len().div_ceil(moments).max(1);
    let start = Instant::now();
    let mut moment = 0_u32;
    loop {
        for part in disks.chunks_mut(batch) {
            let round = usize::try_from(moment).unwrap_or(0) / moments;
            // As the agent does: half of the disks are asked whether they are ready, in turns, and all of them in the
            // rounds that ask for more; all are asked who they are.
            let special = round % ROUNDS_PER_MINUTE;
            let is_asked = |n: usize| special == 0 || special == 6 || (n + round).is_multiple_of(2);
            run(&mut part_of(part, is_asked), ready)?;
            run(&mut part_of(part, |_| true), identity)?;
            match special {
                0 => run(
                    &mut part_of(part, |n| n.is_multiple_of(4)),
                    write_protection,
                )?,
                6 => run(&mut part_of(part, |_| true), port_groups)?,
                _ => {}
            }
            moment += 1;
            let next = interval * moment / u32::try_from(moments).unwrap_or(1);
            std::thread::sleep(next.saturating_sub(start.elapsed()));
        }
    }
}

fn main() -> ExitCode {
    let interval = std::env::args().nth(1).and_then(|arg| arg.parse().ok());
    let Some(interval) = interval else {
        eprintln!("usage: floor INTERVAL_MS");
        return ExitCode::from(2);
    };
    if let Err(error) = check_all(Duration::from_millis(interval)) {
        eprintln!("floor: {error}");
    }
    ExitCode::FAILURE
}
