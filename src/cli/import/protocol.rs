//! The protocol of arrays that keywords request.

/// The keywords that can name the protocol of an array.
pub(super) const HINTS: [&str; 3] = ["hardware_handler", "prio", "path_checker"];

/// A protocol of arrays that a section requests.
#[derive(Debug)]
pub(super) struct Protocol {
    /// The values of `hardware_handler`, `prio` and `path_checker` for it.
    words: &'static [&'static str],
    /// The SATPs for such arrays. The first one is used if none of them is known for the array.
    satps: &'static [&'static str],
}

impl Protocol {
    pub(super) fn is_alua(&self) -> bool {
        self.satps
            .iter()
            .any(|satp| satp.starts_with("VMW_SATP_ALUA"))
    }

    pub(super) fn first(&self) -> &'static str {
        self.satps.first().copied().unwrap_or_default()
    }

    pub(super) fn has(&self, satp: &str) -> bool {
        self.satps.contains(&satp)
    }
}

const ALUA: Protocol = Protocol {
    words: &["alua", "sysfs"],
    satps: &["VMW_SATP_ALUA", "VMW_SATP_ALUA_CX"],
};

/// A CLARiiON that speaks ALUA: `prio alua` with `path_checker emc_clariion`.
const ALUA_CX: Protocol = Protocol {
    words: &[],
    satps: &["VMW_SATP_ALUA_CX"],
};

const PROTOCOLS: &[Protocol] = &[
    ALUA,
    Protocol {
        words: &["emc", "emc_clariion"],
        satps: &["VMW_SATP_CX"],
    },
    Protocol {
        words: &["rdac"],
        satps: &["VMW_SATP_LSI"],
    },
    Protocol {
        words: &["hp_sw"],
        satps: &["VMW_SATP_DEFAULT_AP", "VMW_SATP_EVA", "VMW_SATP_MSA"],
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
