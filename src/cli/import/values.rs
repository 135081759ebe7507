//! Translates values of multipath.conf: the PSP, its options, the queueing time, and the timers of ports.
//!
//! A value has the same meaning at each level. In a rule it becomes an option; at a level that comes before or after
//! all rules it becomes a setting in a table of dm-psa.toml ([`set`]).

use super::plan::{Plan, Remark, together};
use super::report::Outcome;
use crate::config::settings_file::{Key, Owner, Setting};
use crate::psa::satp::options::MOST_FAST_IO_FAIL;
use crate::psa::settings::MapNames;

/// How paths are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grouping {
    /// One path at a time.
    Failover,
    /// All paths with equal priority.
    Together,
}

/// Parses `path_grouping_policy`, one of the values of multipath-tools.
pub(super) fn grouping(value: &str) -> Result<Grouping, String> {
    match value {
        "failover" => Ok(Grouping::Failover),
        "multibus" | "group_by_prio" | "group_by_tpg" => Ok(Grouping::Together),
        _ => Err(
            "paths are grouped by their access states: no PSP keeps I/O to the paths of one controller"
                .to_owned(),
        ),
    }
}

/// `path_selector`: the closest equivalent in VMW_PSP_RR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selector {
    /// Each path in turn.
    Turns,
    /// The path with the least load.
    Latency,
}

impl Selector {
    /// The options of a rule. `alone` means that nothing below the rule could add a policy.
    pub(super) fn options(self, alone: bool) -> &'static str {
        match self {
            Selector::Turns if alone => "iops=1",
            Selector::Turns => "policy=iops;iops=1",
            Selector::Latency => "policy=latency",
        }
    }
}

/// Parses `path_selector`; returns the equivalent, and its description.
pub(super) fn selector(value: &str) -> Result<(Selector, &'static str), Remark> {
    match value.split_whitespace().next() {
        Some("round-robin") => Ok((Selector::Turns, "one I/O per path in turn")),
        Some("service-time") => Ok((Selector::Latency, "the kernel's service-time selector")),
        Some("queue-length" | "historical-service-time") => Ok((
            Selector::Latency,
            "the kernel's service-time, which is the closest equivalent",
        )),
        _ => Err((
            Outcome::NoEquivalent,
            "VMW_PSP_RR has no such selector: it selects paths in turn or by latency".to_owned(),
        )),
    }
}

/// Whether a value means yes for multipath-tools.
pub(super) fn is_yes(value: &str) -> bool {
    matches!(value, "yes" | "on" | "1")
}

/// The maximum time that I/O can be queued, in seconds; it also stands for "queue", which has no limit.
const MOST_QUEUEING: u32 = 99_999;

/// Translates `no_path_retry`: the number of seconds that I/O is queued while all paths are down, and the remark.
/// `polling` is the number of seconds between two checks.
pub(super) fn queueing(value: &str, polling: u32) -> (u32, String) {
    match (value, value.parse::<u32>()) {
        ("fail", _) | (_, Ok(0)) => (1, "; the minimum".to_owned()),
        (_, Ok(checks)) => {
            let seconds = checks.saturating_mul(polling);
            let remark = format!("; {checks} checks, one every {polling} s");
            (seconds.clamp(1, MOST_QUEUEING), remark)
        }
        // A number that is too large is treated as infinite.
        _ => (MOST_QUEUEING, "; unlimited there, 27 hours here".to_owned()),
    }
}

/// `fast_io_fail_tmo` and `dev_loss_tmo`, in seconds.
pub(super) fn timer(name: &str, value: &str) -> Result<u32, String> {
    let most = match name {
        "dev_loss_tmo" => INFINITE,
        _ => u32::try_from(MOST_FAST_IO_FAIL).unwrap_or(INFINITE),
    };
    match (value, value.parse::<u32>()) {
        ("infinity", _) => Ok(INFINITE),
        (_, Ok(seconds)) if (1..=most).contains(&seconds) => Ok(seconds),
        _ => Err(format!("the range here is 1 to {most} seconds")),
    }
}

/// The value that the kernel treats as "never", in seconds.
const INFINITE: u32 = 0x7fff_ffff;

/// The option of a rule that a keyword becomes; `None` for other keywords.
pub(super) fn option(name: &str, value: &str, polling: u32) -> Option<Result<String, String>> {
    Some(match name {
        "no_path_retry" => Ok(format!("apd_timeout={}", queueing(value, polling).0)),
        "dev_loss_tmo" if value == "infinity" => Ok("dev_loss_tmo=infinity".to_owned()),
        "fast_io_fail_tmo" | "dev_loss_tmo" => {
            timer(name, value).map(|seconds| format!("{name}={seconds}"))
        }
        _ => return None,
    })
}

/// Creates a setting for a keyword; `None` for keywords that cannot become settings.
pub(super) fn set(
    plan: &mut Plan,
    owner: &Owner,
    name: &str,
    value: &str,
    polling: u32,
) -> Option<Remark> {
    let key = |name| Key {
        owner: owner.clone(),
        name,
    };
    Some(match name {
        "user_friendly_names" if !matches!(owner, Owner::Device(_)) => {
            let names = match is_yes(value) {
                true => MapNames::Mpath,
                false => MapNames::Wwid,
            };
            plan.set(
                Key::of_host("map_names"),
                Setting::Text(names.name().to_owned()),
            )
        }
        "path_grouping_policy" => match grouping(value) {
            Err(why) => (Outcome::Refused, why),
            Ok(grouping) => {
                let psp = match (grouping, owner) {
                    (Grouping::Together, _) => "VMW_PSP_RR",
                    // Among several arrays, some have paths that are better than others.
                    (Grouping::Failover, Owner::Device(_)) => "VMW_PSP_FIXED",
                    (Grouping::Failover, _) => "VMW_PSP_MRU",
                };
                plan.set(key("psp"), Setting::Text(psp.to_owned()))
            }
        },
        "path_selector" => match selector(value) {
            Err(remark) => remark,
            Ok((selector, what)) => {
                let (word, number) = match selector {
                    Selector::Turns => ("iops", Some(1)),
                    Selector::Latency => ("latency", None),
                };
                let word = Setting::Text(word.to_owned());
                let mut remark = vec![plan.set(key("round_robin.limit_type"), word)];
                if let Some(number) = number {
                    remark.push(plan.set(key("round_robin.iops"), Setting::Number(number)));
                }
                let (outcome, detail) = together(remark);
                (outcome, format!("{detail}: {what}"))
            }
        },
        "no_path_retry" => {
            let (seconds, remark) = queueing(value, polling);
            let ms = seconds.saturating_mul(1000);
            let (outcome, what) = plan.set(key("apd_timeout_ms"), Setting::Number(ms));
            (outcome, what + &remark)
        }
        "fast_io_fail_tmo" | "dev_loss_tmo" => match timer(name, value) {
            Err(why) => (Outcome::Refused, why),
            Ok(seconds) => {
                let name = if name == "dev_loss_tmo" {
                    "dev_loss_tmo"
                } else {
                    "fast_io_fail_tmo"
                };
                plan.set(key(name), Setting::Number(seconds))
            }
        },
        _ => return None,
    })
}

/// Whether `features` requests queueing without a time limit.
pub(super) fn queues(features: &str) -> bool {
    let mut words = features.split_whitespace();
    words.any(|word| word == "queue_if_no_path")
}

/// The remark on `features`, whose words for device-mapper follow their number. `queue` is the remark on
/// `queue_if_no_path`.
pub(super) fn features(value: &str, queue: &Remark) -> Remark {
    let mut remark: Vec<Remark> = Vec::new();
    let mut words = value.split_whitespace().skip(1);
    while let Some(word) = words.next() {
        remark.push(match word {
            "queue_if_no_path" => queue.clone(),
            "retain_attached_hw_handler" => (
                Outcome::Same,
                "a device handler of the kernel stays attached".to_owned(),
            ),
            "pg_init_retries" => match words.next() {
                Some("50") => (Outcome::Same, "pg_init_retries is 50".to_owned()),
                _ => (
                    Outcome::NoEquivalent,
                    "pg_init_retries is 50, the kernel's maximum".to_owned(),
                ),
            },
            "pg_init_delay_msecs" | "queue_mode" => {
                words.next();
                (
                    Outcome::NoEquivalent,
                    format!("{word} keeps the kernel's default"),
                )
            }
            _ => (
                Outcome::Refused,
                format!("`{word}` is not a feature of multipath maps"),
            ),
        });
    }
    if remark.is_empty() {
        return (Outcome::Same, "no feature is requested".to_owned());
    }
    together(remark)
}

/// Why `queue_if_no_path` has no effect if `no_path_retry` is set.
pub(super) fn retry_goes_before() -> Remark {
    let why = "no_path_retry takes precedence over queue_if_no_path".to_owned();
    (Outcome::LeftOut, why)
}
