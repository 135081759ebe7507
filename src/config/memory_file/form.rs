//! The entries of the memory file that this version knows, and the form of each.

use super::parts::reason;
use crate::psa::adapter::{RuntimeName, Transport};
use crate::psa::facts::{BlockFacts, Handler};
use crate::psa::settings::{LimitType, Named, PspKind, Scheme};
use crate::psa::units::{Hctl, Sg};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The expected form of a value.
pub(super) enum Form {
    /// A value of one type, valid only as a whole.
    One(fn(&[u8]) -> Result<Value, String>),
    /// A list of texts.
    Texts,
    /// An object with any keys.
    Table(&'static Form),
    /// An object whose keys are runtime names of paths.
    Paths(&'static Form),
    /// An object with these keys.
    Fields {
        known: &'static [(&'static str, Form)],
        /// An object without one of these keys is invalid.
        required: &'static [&'static str],
    },
}

/// A value of type `T`.
const fn one<T: DeserializeOwned>() -> Form {
    Form::One(|text| {
        serde_json::from_slice::<T>(text)
            .and_then(|_| serde_json::from_slice(text))
            .map_err(|error| reason(&error))
    })
}

/// An object with these keys.
const fn fields(known: &'static [(&'static str, Form)], required: &'static [&'static str]) -> Form {
    Form::Fields { known, required }
}

pub(super) static MEMORY: Form = fields(
    &[
        (DEVICES, Form::Texts),
        ("ids", Form::Table(&TEXT_ENTRY)),
        ("names", Form::Table(&TEXT_ENTRY)),
        ("settings", Form::Table(&DEVICE_SETTINGS)),
        ("paths_off", Form::Texts),
        ("devices_off", Form::Texts),
        ("autoclaim_off", one::<bool>()),
        ("masked", Form::Table(&MASKED_PATH)),
        ("adapters", Form::Table(&ADAPTER)),
    ],
    &[],
);

pub(super) const DEVICES: &str = "devices";

static DEVICE_SETTINGS: Form = fields(
    &[
        ("psp", one::<Option<Named<PspKind>>>()),
        ("scheme", one::<Option<Scheme>>()),
        ("preferred", one::<Option<Named<RuntimeName>>>()),
        ("round_robin", ROUND_ROBIN),
        ("ranks", Form::Paths(&RANK)),
        ("satp", Form::Table(&FLAG)),
        ("apd_timeout_ms", one::<Option<u64>>()),
        ("is_ssd", one::<Option<bool>>()),
        ("fast_io_fail_tmo", one::<Option<u32>>()),
        ("map", one::<Option<bool>>()),
        ("dev_loss_tmo", one::<Option<u32>>()),
        ("display_name", one::<Option<String>>()),
        ("map_name", one::<Option<String>>()),
        ("perennially_reserved", one::<Option<bool>>()),
        ("shared_clusterwide", one::<Option<bool>>()),
    ],
    &[],
);

static RANK: Form = one::<i32>();

static FLAG: Form = one::<bool>();

const ROUND_ROBIN: Form = fields(
    &[
        ("limit_type", one::<Option<LimitType>>()),
        ("iops", one::<Option<u64>>()),
        ("bytes", one::<Option<u64>>()),
        ("use_ano", one::<Option<bool>>()),
        ("sampling_cycles", one::<Option<u32>>()),
        ("latency_eval_ms", one::<Option<u64>>()),
    ],
    &[],
);

static MASKED_PATH: Form = fields(
    &[
        ("facts", PATH_FACTS),
        ("inquiry", one::<Vec<u8>>()),
        ("device", one::<Option<String>>()),
        ("rule", one::<u32>()),
    ],
    &["facts", "inquiry", "rule"],
);

const PATH_FACTS: Form = fields(
    &[
        ("hctl", one::<Hctl>()),
        ("block", one::<Option<BlockFacts>>()),
        ("sg", one::<Option<Sg>>()),
        ("device_type", one::<u8>()),
        ("vendor", TEXT),
        ("model", TEXT),
        ("device_state", one::<String>()),
        ("handler", one::<Handler>()),
        ("transport", one::<Transport>()),
        ("adapter", ADAPTER_FACTS),
        ("target", TARGET_FACTS),
    ],
    &[
        "hctl",
        "device_type",
        "device_state",
        "handler",
        "transport",
        "adapter",
        "target",
    ],
);

const ADAPTER_FACTS: Form = fields(
    &[
        ("key", TEXT),
        ("identifier", TEXT),
        ("driver", TEXT),
        ("link_state", TEXT),
        ("description", TEXT),
    ],
    &["key", "identifier", "driver", "link_state", "description"],
);

const TARGET_FACTS: Form = fields(
    &[
        ("identifier", TEXT),
        ("details", TEXT),
        ("portal", one::<Option<String>>()),
        ("port_state", one::<Option<String>>()),
    ],
    &["identifier", "details"],
);

static TEXT_ENTRY: Form = one::<String>();

const TEXT: Form = one::<String>();

static ADAPTER: Form = fields(
    &[("number", one::<u32>()), ("targets", Form::Table(&NUMBER))],
    &["number"],
);

static NUMBER: Form = one::<u32>();
