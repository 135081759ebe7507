//! Writes log lines. A notice of the world becomes a stable code and key=value pairs, and is rate-limited per code and
//! subject.
//!
//! Logging never blocks: journald may be slow, or stuck on a disk whose paths are dead, and the blocked thread could be
//! the one that revives these paths. Lines go through a queue to a thread that writes them.

use crate::psa::action::{Notice, Severity};
use crate::psa::codes;
use crate::psa::units::Millis;
use log::LevelFilter;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// This many lines with the same code and subject are written without delay...
const BURST: u32 = 10;
/// ... and one more per this interval: a path that flaps for a day is worth a few lines, not a million.
const REFILL: Millis = Millis(5_000);
/// Maximum number of rate-limit buckets. When it is reached, all buckets are discarded.
const MOST_BUCKETS: usize = 65_536;
/// Maximum number of lines that wait to be written; further lines are dropped and counted.
const QUEUE: usize = 1024;
/// How long the process waits at exit for the remaining lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the writing thread receives.
enum Line {
    Text(Vec<u8>),
    /// Request for a reply once all earlier lines are written.
    Mark(SyncSender<()>),
}

/// Keeps the log open; dropping it waits briefly for lines that are not written yet.
#[derive(Debug)]
pub(super) struct Log {
    lines: SyncSender<Line>,
}

/// Starts logging to standard error. Under systemd each line starts with a priority that the journal understands,
/// otherwise with the time. `RUST_LOG` overrides the levels: `LEVEL` and `MODULE=LEVEL`, separated by commas.
///
/// # Errors
/// The kernel has no more threads.
pub(super) fn start_logging() -> io::Result<Log> {
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
                writeln!(out, "<{priority}>{}", record.args())
            } else {
                writeln!(
                    out,
                    "{} {} {}",
                    out.timestamp_millis(),
                    record.level(),
                    record.args()
                )
            }
        })
        .init();
    Ok(Log { lines })
}

/// Parses `RUST_LOG` into levels for single modules or for all. The parser of `env_logger` would pull in regular
/// expressions, a sixth of the program, and the whole program is locked in memory.
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

/// Receives the output of the logger, one complete line per write.
struct Queue {
    lines: SyncSender<Line>,
    lost: u64,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lost > 0 {
            // Not through the owner, whose line about it would be one more for the full queue.
            let count = [("count", &*self.lost.to_string())];
            let lost = self::line(&Notice::new(codes::LOG_LINES_LOST, "agent", &count)) + "\n";
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
            // If standard error fails, there is no other place to report it.
            Line::Text(line) => drop(io::stderr().write_all(&line)),
            Line::Mark(written) => drop(written.try_send(())),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (written, wait) = sync_channel(1);
        // If the queue is full, the writer is stuck: do not wait.
        if self.lines.try_send(Line::Mark(written)).is_ok() {
            let _ = wait.recv_timeout(LAST_WORDS);
        }
    }
}

struct Bucket {
    tokens: u32,
    refilled: Millis,
    dropped: u64,
}

/// Writes notices through `log`.
#[derive(Default)]
pub(super) struct Logger {
    buckets: HashMap<(String, String), Bucket>,
}

impl Logger {
    /// Writes a notice, unless its code and subject exceeded the rate limit.
    pub(super) fn write(&mut self, now: Millis, notice: &Notice) {
        let Some(dropped) = self.admit(now, notice) else {
            return;
        };
        let mut line = line(notice);
        if dropped > 0 {
            line.push_str(&format!(" suppressed_before={dropped}"));
        }
        log::log!(target: "psa", level(notice), "{line}");
    }

    /// Whether the notice is within the rate limit. If so, returns the number of notices suppressed since the last one.
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

/// Writes a notice directly to the log, bypassing the owner.
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

/// The notice as a line: code, subject, details.
pub(super) fn line(notice: &Notice) -> String {
    let mut line = format!("{} subject=\"{}\"", notice.code, clean(&notice.subject));
    for (key, value) in &notice.details {
        line.push_str(&format!(" {key}=\"{}\"", clean(value)));
    }
    line
}

/// Replaces characters in text from a device or the kernel that would break a log line.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || c == '"' { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_lines_is_limited_and_counted() {
        let mut logger = Logger::default();
        let notice = Notice::new(codes::PATH_STATE, "p", &[]);
        let written = (0..100)
            .filter(|_| logger.admit(Millis(0), &notice).is_some())
            .count();
        assert_eq!(written, 10);
        assert_eq!(logger.admit(Millis(5_000), &notice), Some(90));
        assert_eq!(logger.admit(Millis(5_001), &notice), None);
    }

    #[test]
    fn levels_apply_to_modules_or_to_all() {
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
    fn excess_lines_are_counted_without_waiting() {
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
        assert_eq!(next(), "LOG_LINES_LOST subject=\"agent\" count=\"2\"\n");
        assert_eq!(next(), "e\n");
    }

    #[test]
    fn control_characters_and_quotes_are_replaced() {
        assert_eq!(clean("a\nb\"c\u{1b}"), "a?b?c?");
    }
}
