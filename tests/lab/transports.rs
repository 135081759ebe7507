//! The contract of SCSI command transports, tested with each transport on a real kernel: the same cases, one after the
//! other. For the lab, with `scsi_debug` loaded (`tests/lab/scenario/19-transports.sh`); it breaks devices.
//!
//!     transports sg|bsg            one line per case, "ok NAME" or "not ok NAME: WHY"; exits with 1 if any failed
//!     transports sg|bsg which      which transport is used, and why
//!     transports sg|bsg load N     the cost of checks of N paths every 5 s, measured over 30 s

use dm_psa::kernel::passthrough::Transport;
use dm_psa::kernel::{NoticeSink, Sink};
use dm_psa::psa::action::Examine;
use dm_psa::psa::event::{Event, Examination};
use dm_psa::psa::settings::TransportSetting;
use dm_psa::psa::units::{Hctl, Millis, Sg};
use dm_psa::scsi::cdb::Command::{self, Inquiry, TestUnitReady, Vpd};
use dm_psa::scsi::outcome::Outcome;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Why a case failed.
type Verdict = Result<(), String>;

const SECOND: Millis = Millis::from_secs(1);
const LONG: Millis = Millis::from_secs(20);
/// An answer that has not arrived by then will not arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A transport, and the channel for its answers.
struct Bed {
    setting: TransportSetting,
    transport: Transport,
    answers: Receiver<Event>,
    ticket: u64,
    /// Paths by host, in order.
    paths: Vec<Vec<Hctl>>,
}

/// The queue holds at most 8192 answers that were not taken yet.
fn start(setting: TransportSetting) -> (Transport, Receiver<Event>) {
    start_with_room_for(8192, setting)
}

fn start_with_room_for(answers: usize, setting: TransportSetting) -> (Transport, Receiver<Event>) {
    let (results, answers) = sync_channel(answers);
    let sink = Sink::new(move |events| events.into_iter().all(|e| results.send(e).is_ok()));
    (
        Transport::new(setting, sink, NoticeSink::discard()),
        answers,
    )
}

impl Bed {
    /// Drops the transport with all outstanding commands, and starts another.
    fn start_again(&mut self, room: usize) {
        (self.transport, self.answers) = start_with_room_for(room, self.setting);
    }

    /// Submits an examination that must be accepted.
    fn ask(
        &mut self,
        path: Hctl,
        commands: &[Command],
        timeout: Millis,
        deadline: Millis,
    ) -> Verdict {
        self.try_ask(path, commands, timeout, deadline)
            .map_err(|answer| format!("refused: {:?}", outcomes(&answer)))
    }

    fn try_ask(
        &mut self,
        path: Hctl,
        commands: &[Command],
        timeout: Millis,
        deadline: Millis,
    ) -> Result<(), Examination> {
        self.ticket += 1;
        let sg = generic(path).unwrap_or(Sg(u32::MAX));
        let commands = commands.to_vec().into();
        let asked = self.transport.examine(Examine {
            path,
            sg,
            ticket: self.ticket,
            commands,
            timeout,
            deadline,
        });
        self.transport.flush();
        asked
    }

    fn next(&self) -> Result<Examination, String> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(Event::Examined(answer)) => Ok(answer),
            Ok(event) => Err(format!("unexpected event: {event:?}")),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }

    /// Runs one examination and returns its answer.
    fn examine(&mut self, path: Hctl, commands: &[Command]) -> Result<Examination, String> {
        self.ask(path, commands, LONG, LONG)?;
        let answer = self.next()?;
        if (answer.path, answer.ticket) != (path, self.ticket) {
            return Err(format!(
                "unexpected answer of {} with ticket {}",
                answer.path, answer.ticket
            ));
        }
        Ok(answer)
    }

    fn expect(&mut self, path: Hctl, commands: &[Command], wanted: &[Outcome]) -> Verdict {
        same(&outcomes(&self.examine(path, commands)?), wanted)
    }

    fn path(&self, host: usize, lun: usize) -> Result<Hctl, String> {
        let path = self.paths.get(host).and_then(|paths| paths.get(lun));
        path.copied().ok_or_else(|| "too few devices".to_owned())
    }
}

fn outcomes(answer: &Examination) -> Vec<Outcome> {
    answer.replies.iter().map(|r| r.outcome.clone()).collect()
}

fn same(got: &[Outcome], wanted: &[Outcome]) -> Verdict {
    match got == wanted {
        true => Ok(()),
        false => Err(format!("wanted {wanted:?}, got {got:?}")),
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

fn in_ms(since: Instant) -> u128 {
    since.elapsed().as_millis()
}

/// The sg device of a path.
fn generic(path: Hctl) -> Option<Sg> {
    let link = fs::read_link(format!("/sys/bus/scsi/devices/{path}/generic")).ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

fn write(file: &str, text: &str) -> Verdict {
    fs::write(file, text).map_err(|error| format!("{file}: {error}"))
}

/// Writes `TYPE COUNT CMD ...` to the error file of a scsi_debug device: see tests/lab/lib/scsi_debug.sh.
fn inject(path: Hctl, what: &str) -> Verdict {
    write(&format!("/sys/kernel/debug/scsi_debug/{path}/error"), what)
}

fn scsi_debug_paths() -> io::Result<Vec<Vec<Hctl>>> {
    let mut hosts: BTreeMap<u32, Vec<Hctl>> = BTreeMap::new();
    for entry in fs::read_dir("/sys/kernel/debug/scsi_debug")? {
        if let Some(Ok(path)) = entry?.file_name().to_str().map(str::parse::<Hctl>) {
            hosts.entry(path.host).or_default().push(path);
        }
    }
    Ok(hosts
        .into_values()
        .map(|mut paths| {
            paths.sort();
            paths
        })
        .collect())
}

fn good(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 0)?;
    bed.expect(
        path,
        &[TestUnitReady, Inquiry],
        &[Outcome::Good, Outcome::Good],
    )
}

fn data_in(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 0)?;
    let answer = bed.examine(path, &[Inquiry, Vpd(0x83)])?;
    same(&outcomes(&answer), &[Outcome::Good, Outcome::Good])?;
    let data = |index: usize| answer.replies.get(index).map_or(&[][..], |r| &r.data);
    ensure(data(0).get(8..16) == Some(b"Linux   "), || {
        format!("INQUIRY: {:02x?}", data(0))
    })?;
    // The page contains its length, and the residual is the part of 4092 bytes that was not transferred.
    let announced = match data(1) {
        [_, 0x83, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        other => return Err(format!("page 83h: {other:02x?}")),
    };
    ensure(announced == data(1).len() && announced < 4092, || {
        format!(
            "by its PAGE LENGTH, page 83h has {announced} bytes; {} bytes were received",
            data(1).len()
        )
    })
}

fn sense(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 1)?;
    inject(path, "2 -1 12 0 0 2 5 24 0")?;
    let answer = bed.examine(path, &[Inquiry, TestUnitReady])?;
    match answer.replies.as_slice() {
        [first, second] => {
            let sense = first.outcome.sense().map(|s| (s.key, s.asc, s.ascq));
            ensure(sense == Some((5, 0x24, 0)) && first.data.is_empty(), || {
                format!("{first:?}")
            })?;
            same(std::slice::from_ref(&second.outcome), &[Outcome::Good])
        }
        other => Err(format!("{other:?}")),
    }
}

fn unit_attention(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 2)?;
    inject(path, "2 -3 0 0 0 2 6 28 0")?;
    bed.expect(path, &[TestUnitReady], &[Outcome::Good])?;
    inject(path, "2 -4 0 0 0 2 6 28 0")?;
    let answer = bed.examine(path, &[TestUnitReady])?;
    let sense = answer.replies.first().and_then(|r| r.outcome.sense());
    ensure(sense.is_some_and(|s| (s.key, s.asc) == (6, 0x28)), || {
        format!("after the fourth unit attention: {answer:?}")
    })
}

fn timeout(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 3)?;
    inject(path, "0 -1 0")?;
    let start = Instant::now();
    bed.ask(path, &[TestUnitReady, Inquiry], SECOND, LONG)?;
    same(&outcomes(&bed.next()?), &[Outcome::Timeout])?;
    ensure((900..8000).contains(&in_ms(start)), || {
        format!("after {} ms", in_ms(start))
    })?;
    bed.expect(path, &[TestUnitReady], &[Outcome::Good])
}

fn overdue(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 4)?;
    inject(path, "0 -1 0")?;
    let start = Instant::now();
    bed.ask(path, &[TestUnitReady], Millis(5000), SECOND)?;
    same(&outcomes(&bed.next()?), &[Outcome::Overdue])?;
    ensure((900..3000).contains(&in_ms(start)), || {
        format!("after {} ms", in_ms(start))
    })?;
    // While the first command is outstanding no second one is sent; afterwards one is.
    let mut refusals = 0;
    loop {
        match bed.try_ask(path, &[TestUnitReady], LONG, LONG) {
            Ok(()) => break,
            Err(answer) => same(&outcomes(&answer), &[Outcome::Overdue])?,
        }
        refusals += 1;
        ensure(start.elapsed() < PATIENCE, || {
            "the command never returned".into()
        })?;
        thread::sleep(Duration::from_millis(100));
    }
    ensure(refusals > 10 && in_ms(start) > 4500, || {
        format!("{refusals} refusals in {} ms", in_ms(start))
    })?;
    same(&outcomes(&bed.next()?), &[Outcome::Good])
}

fn deleted_under_a_command(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 5)?;
    inject(path, "0 -1 0")?;
    bed.ask(path, &[TestUnitReady], Millis(6000), LONG)?;
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    // The deletion waits for the command.
    let file = format!("/sys/bus/scsi/devices/{path}/delete");
    let deletion = thread::spawn(move || write(&file, "1"));
    same(&outcomes(&bed.next()?), &[Outcome::Gone])?;
    ensure(in_ms(start) < 4000, || format!("after {} ms", in_ms(start)))?;
    deletion
        .join()
        .map_err(|_| "the thread that deletes the device panicked".to_owned())??;
    bed.expect(path, &[TestUnitReady], &[Outcome::Gone])?;
    let scan = format!("/sys/class/scsi_host/host{}/scan", path.host);
    write(
        &scan,
        &format!("{} {} {}", path.channel, path.target, path.lun),
    )?;
    thread::sleep(Duration::from_secs(2));
    bed.expect(path, &[TestUnitReady], &[Outcome::Good])
}

fn deleted_between_commands(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 6)?;
    bed.expect(path, &[TestUnitReady], &[Outcome::Good])?;
    write(&format!("/sys/bus/scsi/devices/{path}/delete"), "1")?;
    let scan = format!("/sys/class/scsi_host/host{}/scan", path.host);
    write(
        &scan,
        &format!("{} {} {}", path.channel, path.target, path.lun),
    )?;
    thread::sleep(Duration::from_secs(2));
    // A file descriptor that is still open must not interfere.
    bed.expect(path, &[TestUnitReady], &[Outcome::Good])
}

fn offline(bed: &mut Bed) -> Verdict {
    let path = bed.path(0, 7)?;
    let state = format!("/sys/bus/scsi/devices/{path}/state");
    // The kernel needs the newline.
    write(&state, "offline\n")?;
    let answer = bed.examine(path, &[TestUnitReady, Inquiry]);
    write(&state, "running\n")?;
    same(&outcomes(&answer?), &[Outcome::NoConnect(1)])?;
    bed.expect(path, &[TestUnitReady], &[Outcome::Good])
}

fn unknown_node(bed: &mut Bed) -> Verdict {
    let mut path = bed.path(0, 0)?;
    path.host = 4_000_000_000;
    bed.expect(path, &[TestUnitReady, Inquiry], &[Outcome::Gone])
}

fn thousand_at_once(bed: &mut Bed) -> Verdict {
    let paths: Vec<Hctl> = bed.paths.iter().flatten().copied().collect();
    ensure(paths.len() >= 1000, || format!("{} paths", paths.len()))?;
    let start = Instant::now();
    for path in &paths {
        bed.ask(*path, &[TestUnitReady, Inquiry], LONG, LONG)?;
    }
    ensure(in_ms(start) < 2000, || {
        format!("sending took {} ms", in_ms(start))
    })?;
    let mut answered = BTreeMap::new();
    for _ in &paths {
        let answer = bed.next()?;
        same(&outcomes(&answer), &[Outcome::Good, Outcome::Good])?;
        *answered.entry(answer.path).or_insert(0) += 1;
    }
    println!(
        "# {} concurrent examinations took {} ms",
        paths.len(),
        in_ms(start)
    );
    ensure(answered.len() == paths.len(), || {
        format!("only {} of them answered", answered.len())
    })
}

fn receiver_that_is_behind(bed: &mut Bed) -> Verdict {
    // A loaded machine takes seconds to submit and answer a thousand examinations.
    const DEADLINE: Millis = Millis::from_secs(5);
    let paths: Vec<Hctl> = bed.paths.iter().flatten().copied().collect();
    bed.start_again(1);
    for path in &paths {
        bed.ask(*path, &[TestUnitReady, Inquiry], LONG, DEADLINE)?;
    }
    // More than twice the deadline. Commands that returned by then, or could not be sent, are not overdue.
    thread::sleep(Duration::from_millis(DEADLINE.0 * 5 / 2));
    let mut late = 0;
    for _ in &paths {
        late += u64::from(outcomes(&bed.next()?) != [Outcome::Good, Outcome::Good]);
    }
    bed.start_again(8192);
    ensure(late == 0, || {
        format!("{late} of {} did not end with GOOD", paths.len())
    })
}

fn exhausted_host(bed: &mut Bed) -> Verdict {
    // More commands than the host has tags: the script loads scsi_debug with max_queue=32.
    let hung: Vec<Hctl> = (20..70)
        .map(|lun| bed.path(0, lun))
        .collect::<Result<_, _>>()?;
    for path in &hung {
        inject(*path, "0 -1 0")?;
        bed.ask(*path, &[TestUnitReady], Millis(4000), SECOND)?;
    }
    thread::sleep(Duration::from_millis(300));
    let other = bed.path(1, 0)?;
    let start = Instant::now();
    bed.ask(other, &[TestUnitReady, Inquiry], LONG, LONG)?;
    let answer = bed.next()?;
    ensure(answer.path == other && in_ms(start) < 500, || {
        format!("{} answered after {} ms", answer.path, in_ms(start))
    })?;
    same(&outcomes(&answer), &[Outcome::Good, Outcome::Good])?;
    for _ in &hung {
        same(&outcomes(&bed.next()?), &[Outcome::Overdue])?;
    }
    ensure(in_ms(start) < 4000, || {
        format!("overdue after {} ms", in_ms(start))
    })?;
    // Commands that were never sent have not used up their injected error yet.
    for path in &hung {
        inject(*path, "- 0 0")?;
    }
    for path in hung {
        while let Err(answer) = bed.try_ask(path, &[TestUnitReady], LONG, LONG) {
            same(&outcomes(&answer), &[Outcome::Overdue])?;
            ensure(start.elapsed() < PATIENCE, || {
                format!("{path}: the command never returned")
            })?;
            thread::sleep(Duration::from_millis(100));
        }
        same(&outcomes(&bed.next()?), &[Outcome::Good])?;
    }
    Ok(())
}

fn dropped_with_commands_out(bed: &mut Bed) -> Verdict {
    let paths: Vec<Hctl> = (8..12)
        .map(|lun| bed.path(0, lun))
        .collect::<Result<_, _>>()?;
    for path in &paths {
        inject(*path, "0 -1 0")?;
        bed.ask(*path, &[TestUnitReady], Millis(2000), LONG)?;
    }
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    bed.start_again(8192);
    ensure(in_ms(start) < 200, || {
        format!("it took {} ms", in_ms(start))
    })?;
    // Other paths are served immediately, these when their commands have returned.
    let other = bed.path(1, 0)?;
    bed.expect(other, &[TestUnitReady], &[Outcome::Good])?;
    thread::sleep(Duration::from_secs(5));
    for path in paths {
        bed.expect(path, &[TestUnitReady], &[Outcome::Good])?;
    }
    Ok(())
}

/// Clock ticks (100 per second): those that this process used, and those that the machine was busy.
fn ticks() -> Option<(u64, u64)> {
    let own = fs::read_to_string("/proc/self/stat").ok()?;
    // The fields after the name, which may contain blanks: utime and stime are fields 14 and 15 of the line.
    let (_, fields) = own.rsplit_once(')')?;
    let numbers = |text: &str| -> Vec<u64> {
        text.split_whitespace()
            .map(|word| word.parse().unwrap_or(0))
            .collect()
    };
    let own: u64 = numbers(fields).get(11..13)?.iter().sum();
    let all = fs::read_to_string("/proc/stat").ok()?;
    let all = numbers(all.lines().next()?);
    // user nice system, then irq softirq; idle and iowait are not counted.
    let busy = all.get(1..4)?.iter().sum::<u64>() + all.get(6..8)?.iter().sum::<u64>();
    Some((own, busy))
}

/// KiB of kernel memory: its own allocations, and memory that is neither free, nor cache, nor of a process.
fn kernel_memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| -> Option<u64> {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let users = of("MemFree:")? + of("Cached:")? + of("Buffers:")? + of("AnonPages:")?;
    Some(of("MemTotal:")?.saturating_sub(users))
}

/// `before` is the kernel's memory when no device was open yet.
fn load(bed: &mut Bed, count: usize, before: Option<u64>) -> Verdict {
    const TICK: Duration = Duration::from_millis(10);
    let no_figures = || "no figures in /proc".to_owned();
    let paths: Vec<Hctl> = bed.paths.iter().flatten().copied().take(count).collect();
    ensure(paths.len() == count, || format!("{} paths", paths.len()))?;
    let (_, idle) = ticks().ok_or_else(no_figures)?;
    let before = before.ok_or_else(no_figures)?;
    thread::sleep(Duration::from_secs(10));
    let idle = ticks().ok_or_else(no_figures)?.1 - idle;
    // As in the agent, the checks are spread over the interval.
    let seconds = 30;
    let (mut asked, mut answered, mut bad, mut most) = (0, 0, 0, 0);
    let (own, busy) = ticks().ok_or_else(no_figures)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = usize::try_from(start.elapsed().as_millis()).unwrap_or(0) * count / 5000;
        while asked < due {
            if let Some(path) = paths.get(asked % count) {
                bad += u64::from(bed.try_ask(*path, &[TestUnitReady], LONG, LONG).is_err());
            }
            asked += 1;
        }
        while let Ok(Event::Examined(answer)) = bed.answers.try_recv() {
            answered += 1;
            bad += u64::from(outcomes(&answer) != [Outcome::Good]);
        }
        most = most.max(asked - answered);
        thread::sleep(TICK);
    }
    let (own, busy) = ticks()
        .map(|(own_now, busy_now)| (own_now - own, busy_now - busy))
        .ok_or_else(no_figures)?;
    let memory = kernel_memory().ok_or_else(no_figures)?;
    println!(
        "# {} {count} paths, {seconds} s: {asked} checks, {bad} bad, at most {most} at the same time; process {} ms, \
         machine {} ms more than idle ({} ms in 10 s), kernel memory {:+} KiB",
        bed.transport.in_use().name,
        own * 10,
        busy.saturating_sub(3 * idle) * 10,
        idle * 10,
        i128::from(memory) - i128::from(before),
    );
    ensure(bad == 0, || format!("{bad} bad answers"))
}

/// A name and its function.
type Case = (&'static str, fn(&mut Bed) -> Verdict);

const CASES: &[Case] = &[
    ("good status", good),
    ("data in, with a residual", data_in),
    ("sense data, and the examination continues", sense),
    ("unit attentions are repeated three times", unit_attention),
    ("a timeout ends the examination", timeout),
    (
        "an overdue command blocks a second one until it returns",
        overdue,
    ),
    ("a device deleted under a command", deleted_under_a_command),
    ("a device deleted and found again", deleted_between_commands),
    ("an offline device", offline),
    ("an unknown node", unknown_node),
    ("a thousand concurrent examinations", thousand_at_once),
    ("a slow receiver", receiver_that_is_behind),
    (
        "a host without free tags delays no other host",
        exhausted_host,
    ),
    (
        "the transport is dropped while commands are running",
        dropped_with_commands_out,
    ),
];

fn setting_of(name: &str) -> TransportSetting {
    match name {
        "sg" => TransportSetting::Sg,
        _ => TransportSetting::Bsg,
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut count = 0;
    let (setting, which) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [name @ ("sg" | "bsg")] => (setting_of(name), false),
        [name @ ("sg" | "bsg"), "which"] => (setting_of(name), true),
        [name @ ("sg" | "bsg"), "load", number] if number.parse::<usize>().is_ok() => {
            count = number.parse().unwrap_or(0);
            (setting_of(name), false)
        }
        _ => {
            eprintln!("usage: transports sg|bsg [which|load N]");
            return ExitCode::from(2);
        }
    };
    let paths = match scsi_debug_paths() {
        Ok(paths) => paths,
        Err(error) => {
            eprintln!("no scsi_debug with error injection (needs Linux 6.7 and debugfs): {error}");
            return ExitCode::from(1);
        }
    };
    let (transport, answers) = start(setting);
    let mut bed = Bed {
        setting,
        transport,
        answers,
        ticket: 0,
        paths,
    };
    let before = kernel_memory();
    // Takes the pending unit attentions of the devices.
    let count_or_all = if count > 0 { count } else { usize::MAX };
    let paths: Vec<Hctl> = bed.paths.iter().flatten().copied().collect();
    for path in paths.into_iter().take(count_or_all) {
        let _ = bed.examine(path, &[TestUnitReady]);
    }
    let in_use = bed.transport.in_use();
    if which {
        println!("{}: {}", in_use.name, in_use.reason);
        return ExitCode::SUCCESS;
    }
    let wanted = if setting == TransportSetting::Sg {
        "sg"
    } else {
        "bsg"
    };
    if in_use.name != wanted {
        println!("not ok {wanted} cannot be used: {}", in_use.reason);
        return ExitCode::from(1);
    }
    if count > 0 {
        return match load(&mut bed, count, before) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                println!("not ok {wanted}: {why}");
                ExitCode::from(1)
            }
        };
    }
    let mut failed = false;
    for (name, case) in CASES {
        match case(&mut bed) {
            Ok(()) => println!("ok {name}"),
            Err(why) => {
                failed = true;
                println!("not ok {name}: {why}");
                // Answers that arrive late must not reach another case.
                thread::sleep(Duration::from_secs(8));
                while bed.answers.try_recv().is_ok() {}
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
