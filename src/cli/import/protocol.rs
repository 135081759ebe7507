//! The protocol of arrays that keywords request.

use crate::psa::satp;

/// The keywords that can name the protocol of an array.
pub(super) const HINTS: [&str; 3] = ["hardware_handler", "prio", "path_checker"];

/// A protocol of arrays that a section requests.
#[derive(Debug)]
pub(super) struct Protocol {
    /// The values of `hardware_handler`, `prio` and `path_checker` for it.
    words: &'static [&'static str],
    /// The SATP that is used if the array is not known.
    pub(super) first: &'static str,
    /// The kernel's device handler: all SATPs that need it are for such arrays. `None`: only the first SATP is.
    handler: Option<&'static str>,
}

impl Protocol {
    pub(super) fn is_alua(&self) -> bool {
        self.first.starts_with("VMW_SATP_ALUA")
    }

    pub(super) fn has(&self, satp: &str) -> bool {
        let needs_it =
            || satp::by_name(satp).is_some_and(|satp| satp.device_handler() == self.handler);
        satp == self.first || (self.handler.is_some() && needs_it())
    }
}

const ALUA: Protocol = Protocol {
    words: &["alua", "sysfs"],
    first: "VMW_SATP_ALUA",
    handler: Some("alua"),
};

/// A CLARiiON that speaks ALUA: `prio alua` with `path_checker emc_clariion`.
const ALUA_CX: Protocol = Protocol {
    words: &[],
    first: "VMW_SATP_ALUA_CX",
    handler: None,
};

const PROTOCOLS: &[Protocol] = &[
    ALUA,
    Protocol {
        words: &["emc", "emc_clariion"],
        first: "VMW_SATP_CX",
        handler: Some("emc"),
    },
    Protocol {
        words: &["rdac"],
        first: "VMW_SATP_LSI",
        handler: Some("rdac"),
    },
    Protocol {
        words: &["hp_sw"],
        first: "VMW_SATP_DEFAULT_AP",
        handler: Some("hp_sw"),
    },
];

/// The word in the value of a keyword that can name a protocol: `1 alua` gives `alua`.
fn protocol_word<'a>(name: &str, value: &'a str) -> &'a str {
    let mut words = value.split_whitespace();
    match name {
        "hardware_handler" => words.nth(1),
        _ => words.next(),
    }
    .unwrap_or_default()
}

/// Whether the value of a keyword names a protocol.
pub(super) fn names_protocol(name: &str, value: &str) -> bool {
    let word = protocol_word(name, value);
    PROTOCOLS.iter().any(|p| p.words.contains(&word))
}

/// Whether a word names the protocol of some type of arrays, other than ALUA.
pub(super) fn is_protocol_of_arrays(word: &str) -> bool {
    let mut protocols = PROTOCOLS.iter().filter(|protocol| !protocol.is_alua());
    protocols.any(|protocol| protocol.words.contains(&word))
}

/// The protocol that keywords request, by name and value.
pub(super) fn protocol(hints: &[(&str, &str)]) -> Option<&'static Protocol> {
    let of = |(name, value): &(&str, &str)| {
        let word = protocol_word(name, value);
        PROTOCOLS.iter().find(|p| p.words.contains(&word))
    };
    let mut named = hints.iter().filter_map(of);
    let first = named.next()?;
    let is_cx = |protocol: &Protocol| protocol.words.contains(&"emc");
    let both =
        named.any(|other| (first.is_alua() && is_cx(other)) || (is_cx(first) && other.is_alua()));
    Some(if both { &ALUA_CX } else { first })
}
