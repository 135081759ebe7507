//! Notices of the world as log lines: a stable code, then key=value, rate-limited for each subject.

use crate::psa::action::{Notice, Severity};
use crate::psa::units::Millis;
use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// So many lines of one code about one subject are written at once...
const BURST: u32 = 10;
/// ... and one more in each such span: a path that flaps for a day is worth some lines, not a million.
const REFILL: Millis = Millis(5_000);
/// Buckets kept; more subjects than this at a time and the oldest knowledge goes.
const MOST_BUCKETS: usize = 65_536;

/// Starts writing to standard error: under systemd one line with a priority that the journal understands, else with
/// the time. `RUST_LOG` chooses other levels.
pub fn start_logging() {
    use std::io::Write;
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let env = env_logger::Env::default().default_filter_or("info,devicemapper=warn");
    env_logger::Builder::from_env(env)
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

/// Lines that wait to be written; more at a time are counted and dropped.
const QUEUE: usize = 1024;

/// Writes notices through `log`, on a thread of its own: the journal may be slow or stuck, and the owner of the world
/// must not wait for it.
pub struct Logger {
    buckets: HashMap<(String, String), Bucket>,
    lines: Option<SyncSender<(log::Level, String)>>,
    thread: Option<JoinHandle<()>>,
    lost: u64,
}

impl Logger {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub fn start() -> std::io::Result<Logger> {
        let (lines, queue) = sync_channel::<(log::Level, String)>(QUEUE);
        let thread = crate::kernel::thread("log").spawn(move || {
            for (level, line) in queue {
                log::log!(target: "psa", level, "{line}");
            }
        })?;
        let mut logger = Logger::silent();
        logger.lines = Some(lines);
        logger.thread = Some(thread);
        Ok(logger)
    }

    fn silent() -> Logger {
        Logger {
            buckets: HashMap::new(),
            lines: None,
            thread: None,
            lost: 0,
        }
    }

    /// Writes a notice, unless there were too many of its kind.
    pub fn write(&mut self, now: Millis, notice: &Notice) {
        let Some(dropped) = self.admit(now, notice) else {
            return;
        };
        let mut line = line(notice);
        if dropped > 0 {
            line.push_str(&format!(" suppressed_before={dropped}"));
        }
        self.put(level(notice), line);
    }

    fn put(&mut self, level: log::Level, line: String) {
        let Some(lines) = &self.lines else { return };
        if self.lost > 0
            && lines
                .try_send((
                    log::Level::Warn,
                    format!("LOG_LINES_LOST count={}", self.lost),
                ))
                .is_ok()
        {
            self.lost = 0;
        }
        if lines.try_send((level, line)).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
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

impl Drop for Logger {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(thread) = self.thread.take() {
            // What waits is still written. A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Writes a notice that the owner cannot take. The log may be slow: not for the owner's thread.
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
        let mut logger = Logger::silent();
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
