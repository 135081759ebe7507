//! One claim rule.

use super::Subject;
use crate::psa::adapter::Transport;
use crate::psa::plugin::Plugin;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A numbered MP claim rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// 0..=65535; the lower is tried first.
    pub number: u32,
    /// What it matches.
    pub matches: Match,
    /// Who gets the path.
    pub plugin: Plugin,
}

/// What a rule matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// INQUIRY strings; `*` is any, a trailing `*` any ending.
    Vendor {
        /// Vendor.
        vendor: String,
        /// Product.
        model: String,
    },
    /// The runtime name; `None` is any.
    Location {
        /// `N` of `vmhbaN`.
        adapter: Option<u32>,
        /// Channel.
        channel: Option<u32>,
        /// Target.
        target: Option<u32>,
        /// LUN.
        lun: Option<u64>,
    },
    /// Transport.
    Transport(Transport),
    /// Driver of the HBA.
    Driver(String),
}

/// Whether `text` is what `pattern` asks for: equal after trimming, `*` for anything, `abc*` for a beginning.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => pattern.trim_end() == text.trim_end(),
    }
}

impl Match {
    /// Whether the rule matches; if not, why not.
    ///
    /// # Errors
    /// The first attribute that differs, for a person.
    pub fn test(&self, subject: &Subject<'_>) -> Result<(), String> {
        fn number<T: PartialEq + fmt::Display>(
            what: &str,
            wanted: Option<T>,
            is: T,
        ) -> Result<(), String> {
            match wanted {
                Some(n) if n != is => Err(format!("{what} is {is}")),
                _ => Ok(()),
            }
        }
        match self {
            Match::Vendor { vendor, .. } if !fits(vendor, subject.vendor) => {
                Err(format!("vendor is `{}`", subject.vendor))
            }
            Match::Vendor { model, .. } if !fits(model, subject.model) => {
                Err(format!("model is `{}`", subject.model))
            }
            Match::Vendor { .. } => Ok(()),
            Match::Location {
                adapter,
                channel,
                target,
                lun,
            } => number("adapter", *adapter, subject.name.adapter)
                .and_then(|()| number("channel", *channel, subject.name.channel))
                .and_then(|()| number("target", *target, subject.name.target))
                .and_then(|()| number("LUN", *lun, subject.name.lun)),
            Match::Transport(wanted) if *wanted != subject.facts.transport => {
                Err(format!("transport is {}", subject.facts.transport.as_str()))
            }
            Match::Transport(_) => Ok(()),
            Match::Driver(driver) if *driver != subject.facts.adapter.driver => {
                Err(format!("driver is {}", subject.facts.adapter.driver))
            }
            Match::Driver(_) => Ok(()),
        }
    }
}

impl fmt::Display for Match {
    /// ESXi's `Matches` column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn any<T: fmt::Display>(n: Option<T>) -> String {
            n.map_or_else(|| "*".to_owned(), |n| n.to_string())
        }
        match self {
            Match::Vendor { vendor, model } => write!(f, "vendor={vendor} model={model}"),
            Match::Location {
                adapter,
                channel,
                target,
                lun,
            } => {
                let adapter = adapter.map_or_else(|| "*".to_owned(), |n| format!("vmhba{n}"));
                write!(
                    f,
                    "adapter={adapter} channel={} target={} lun={}",
                    any(*channel),
                    any(*target),
                    any(*lun)
                )
            }
            Match::Transport(transport) => write!(f, "transport={}", transport.as_str()),
            Match::Driver(driver) => write!(f, "driver={driver}"),
        }
    }
}
