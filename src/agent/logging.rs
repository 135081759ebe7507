//! Log lines, and notices of the world as such: a stable code, then key=value, rate-limited for each subject.
//!
//! Whoever logs waits for nobody: the journal may be slow, or stuck on a disk whose paths are dead, and then any thread
//! may be the one that revives them. Lines go through a queue to a thread that writes them.

use crate::psa::action::{Notice, Severity};
use crate::psa::units::Millis;
use log::LevelFilter;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// So many lines of one code about one subject are written at once...
const BURST: u32 = 10;
/// ... and one more in each such span: a path that flaps for a day is worth some lines, not a million.
const REFILL: Millis = Millis(5_000);
/// Buckets kept; more subjects than this at a time and the oldest knowledge goes.
const MOST_BUCKETS: usize = 65_536;
/// Lines that wait to be written; more at a time are counted and dropped.
const QUEUE: usize = 1024;
/// At the end of the process, what waits has so long to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the writing thread is sent.
enum Line {
    Text(Vec<u8>),
    /// All before this is written: say so.
    Mark(SyncSender<()>),
}

/// Keeps the log open; dropping it waits a moment for what has not been written yet.
#[derive(Debug)]
pub struct Log {
    lines: SyncSender<Line>,
}

/// Starts writing to standard error: under systemd one line with a priority that the journal understands, else with
/// the time. `RUST_LOG` chooses other levels: `LEVEL` and `MODULE=LEVEL`, with commas between.
///
/// # Errors
/// The kernel has no more threads.
pub fn start_logging() -> io::Result<Log> {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let (lines, queue) = sync_channel(QUEUE);
    crate::kernel::thread("log").spawn(move || write_lines(queue))?;
    let mut builder = env_logger::Builder::new();
    for (module, level) in levels("info,devicemapper=warn") {
        builder.filter(module, level);
    }
    for (module, level) in levels(&std::env::var("RUST_LOG").unwrap_or_default()) {
        builder.filter(module, level);
    }
    let queue = Queue {
        lines: lines.clone(),
        lost: 0,
    };
    builder
        .target(env_logger::Target::Pipe(Box::new(queue)))
        .format(move |out, record| {
            if journal {
                let priority = match record.level() {
                    log::Level::Error => 3,
                    log::Level::Warn => 4,
                    log::Level::Info => 6,
                    log::Level::Debug | log::Level::Trace => 7,
                };
                writeln!(out, "<{priority}>{}", text(record))
            } else {
                writeln!(
                    out,
                    "{} {} {}",
                    out.timestamp_millis(),
                    record.level(),
                    text(record)
                )
            }
        })
        .init();
    Ok(Log { lines })
}

/// The levels that `RUST_LOG` asks for, of modules or of all. `env_logger`'s own parser would bring regular expressions
/// with it, a sixth of the program, and the program is locked in memory.
fn levels(text: &str) -> impl Iterator<Item = (Option<&str>, LevelFilter)> {
    let words = text.split(',').map(str::trim).filter(|w| !w.is_empty());
    words.filter_map(|word| match word.split_once('=') {
        Some((module, level)) => Some((Some(module), level.parse().ok()?)),
        None => match word.parse() {
            Ok(level) => Some((None, level)),
            Err(_) => Some((Some(word), LevelFilter::Trace)),
        },
    })
}

/// Where the logger writes to. It is given whole lines.
struct Queue {
    lines: SyncSender<Line>,
    lost: u64,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lost > 0 {
            let lost = format!("LOG_LINES_LOST count={}\n", self.lost);
            if self.lines.try_send(Line::Text(lost.into())).is_ok() {
                self.lost = 0;
            }
        }
        if self.lines.try_send(Line::Text(line.to_vec())).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(queue: Receiver<Line>) {
    for line in queue {
        match line {
            // There is nobody to tell that nobody can be told.
            Line::Text(line) => drop(io::stderr().write_all(&line)),
            Line::Mark(written) => drop(written.try_send(())),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (written, wait) = sync_channel(1);
        // With a full queue it is stuck.
        if self.lines.try_send(Line::Mark(written)).is_ok() {
            let _ = wait.recv_timeout(LAST_WORDS);
        }
    }
}

/// A record as a line. One that has its code next to its text, as those of the device-mapper threads, gets the form of a
/// notice.
fn text(record: &log::Record) -> String {
    struct Details(String);
    impl<'kv> log::kv::VisitSource<'kv> for Details {
        fn visit_pair(
            &mut self,
            key: log::kv::Key<'kv>,
            value: log::kv::Value<'kv>,
        ) -> Result<(), log::kv::Error> {
            if key.as_str() != "code" {
                self.0 += &format!(" {key}=\"{}\"", clean(&value.to_string()));
            }
            Ok(())
        }
    }
    let text = record.args().to_string();
    let Some(code) = record.key_values().get("code".into()) else {
        return text;
    };
    let mut details = Details(String::new());
    // A visitor that takes everything does not fail.
    let _ = record.key_values().visit(&mut details);
    format!("{code}{} reason=\"{}\"", details.0, clean(&text))
}

struct Bucket {
    tokens: u32,
    refilled: Millis,
    dropped: u64,
}

/// Writes notices through `log`.
#[derive(Default)]
pub struct Logger {
    buckets: HashMap<(String, String), Bucket>,
}

impl Logger {
    /// Writes a notice, unless there were too many of its kind.
    pub fn write(&mut self, now: Millis, notice: &Notice) {
        let Some(dropped) = self.admit(now, notice) else {
            return;
        };
        let mut line = line(notice);
        if dropped > 0 {
            line.push_str(&format!(" suppressed_before={dropped}"));
        }
        log::log!(target: "psa", level(notice), "{line}");
    }

    /// Whether the notice is written; if so, how many like it were not since the last.
    fn admit(&mut self, now: Millis, notice: &Notice) -> Option<u64> {
        if self.buckets.len() >= MOST_BUCKETS {
            self.buckets.clear();
        }
        let key = (notice.code.clone(), notice.subject.clone());
        let bucket = self.buckets.entry(key).or_insert(Bucket {
            tokens: BURST,
            refilled: now,
            dropped: 0,
        });
        let earned = now.since(bucket.refilled).0 / REFILL.0;
        if earned > 0 {
            bucket.tokens = bucket
                .tokens
                .saturating_add(u32::try_from(earned).unwrap_or(BURST))
                .min(BURST);
            bucket.refilled = now;
        }
        if bucket.tokens == 0 {
            bucket.dropped += 1;
            return None;
        }
        bucket.tokens -= 1;
        Some(std::mem::take(&mut bucket.dropped))
    }
}

/// Writes a notice that the owner cannot take.
pub(super) fn write_now(notice: &Notice) {
    log::log!(target: "psa", level(notice), "{}", line(notice));
}

fn level(notice: &Notice) -> log::Level {
    match notice.severity {
        Severity::Error => log::Level::Error,
        Severity::Warning => log::Level::Warn,
        Severity::Info => log::Level::Info,
    }
}

fn line(notice: &Notice) -> String {
    let mut line = format!("{} subject=\"{}\"", notice.code, clean(&notice.subject));
    for (key, value) in &notice.details {
        line.push_str(&format!(" {key}=\"{}\"", clean(value)));
    }
    line
}

/// A text of a device or of the kernel without what would break a log line.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || c == '"' { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_cut_and_counted() {
        let mut logger = Logger::default();
        let notice = Notice {
            severity: Severity::Info,
            code: "X".to_owned(),
            subject: "p".to_owned(),
            details: Vec::new(),
        };
        let written = (0..100)
            .filter(|_| logger.admit(Millis(0), &notice).is_some())
            .count();
        assert_eq!(written, 10);
        assert_eq!(logger.admit(Millis(5_000), &notice), Some(90));
        assert_eq!(logger.admit(Millis(5_001), &notice), None);
    }

    #[test]
    fn levels_are_of_modules_or_of_all() {
        let read = |text| levels(text).collect::<Vec<_>>();
        assert_eq!(read("debug"), [(None, LevelFilter::Debug)]);
        assert_eq!(
            read("warn, psa=trace,udev,x=loud,,"),
            [
                (None, LevelFilter::Warn),
                (Some("psa"), LevelFilter::Trace),
                (Some("udev"), LevelFilter::Trace)
            ]
        );
    }

    #[test]
    fn a_line_too_many_is_counted_and_not_waited_for() {
        let (lines, queue) = sync_channel(2);
        let mut log = Queue { lines, lost: 0 };
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            assert_eq!(log.write(line.as_bytes()).unwrap(), 2);
        }
        let next = || match queue.recv().unwrap() {
            Line::Text(text) => String::from_utf8(text).unwrap(),
            Line::Mark(_) => panic!("a mark"),
        };
        assert_eq!((next(), next()), ("a\n".to_owned(), "b\n".to_owned()));
        assert_eq!(log.write(b"e\n").unwrap(), 2);
        assert_eq!(next(), "LOG_LINES_LOST count=2\n");
        assert_eq!(next(), "e\n");
    }

    #[test]
    fn a_code_next_to_the_text_is_in_the_line() {
        let pairs = [("code", "UDEV_SLOW"), ("map", "naa.6")];
        let mut record = log::Record::builder();
        record.key_values(&pairs);
        let line = text(&record.args(format_args!("udev is \"slow\"")).build());
        assert_eq!(line, "UDEV_SLOW map=\"naa.6\" reason=\"udev is ?slow?\"");
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(clean("a\nb\"c\u{1b}"), "a?b?c?");
    }
}
