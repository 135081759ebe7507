//! The option strings of SATP rules: which words there are, and what of them takes effect on Linux.
//!
//! Strings are kept as they were written. A word that is not known is kept too, and told of: vendors' guides name
//! words of which no public text says what they do.

/// The words of an option string; blanks, commas and semicolons part them.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', ';']).filter(|word| !word.is_empty())
}

/// Claim options (`-c`), other than `tpgs_on` and `tpgs_off`, that ESXi has: those of CLARiiON arrays.
const CLAIM_OPTIONS: &[&str] = &[
    "navireg",
    "navireg_on",
    "navireg_off",
    "ipfilter",
    "ipfilter_on",
    "ipfilter_off",
];

/// Options (`-o`) that ESXi has.
const OPTIONS: &[&str] = &[
    "reset_on_attempted_reserve",
    "disable_action_OnRetryErrors",
    "enable_action_OnRetryErrors",
    "enable_ssd",
    "disable_ssd",
    "enable_local",
    "disable_local",
    "enable_removable",
    "disable_removable",
    "navireg_on",
    "navireg_off",
    "ipfilter_on",
    "ipfilter_off",
];

/// What is to be said of a claim option string.
#[must_use]
pub fn claim_option_remarks(text: &str) -> Vec<String> {
    let known = |word: &&str| matches!(*word, "tpgs_on" | "tpgs_off");
    words(text)
        .filter(|word| !known(word))
        .map(|word| {
            if CLAIM_OPTIONS.contains(&word) {
                format!("claim option {word} is stored and listed; on Linux it has no effect")
            } else {
                format!("claim option `{word}` is not known: it is stored, and no part of the match; known are tpgs_on and tpgs_off")
            }
        })
        .collect()
}

/// What is to be said of an option string.
#[must_use]
pub fn option_remarks(text: &str) -> Vec<String> {
    words(text)
        .filter_map(|word| match word {
            "tpgs_on" | "tpgs_off" => Some(format!(
                "{word} is a claim option: as an option (-o) it does not take part in the match; write -c {word}"
            )),
            word if OPTIONS.contains(&word) => None,
            word => Some(format!(
                "option `{word}` is not known: it is stored and listed, and has no effect"
            )),
        })
        .collect()
}

/// What a PSP option string asks for; what it does not name is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PspOptions {
    /// RR: `default`, `rr`, `iops`, `bytes` or `latency`.
    pub policy: Option<String>,
    /// RR: I/Os before the path changes, 1..=10000.
    pub iops: Option<u64>,
    /// RR: bytes before the path changes.
    pub bytes: Option<u64>,
    /// RR: whether active-unoptimized paths carry I/O.
    pub use_ano: Option<bool>,
    /// RR by latency: between two evaluations, in ms.
    pub latency_eval_time_ms: Option<u64>,
    /// RR by latency: I/Os that are sampled on each path.
    pub sampling_cycles: Option<u64>,
    /// MRU: rank of a path.
    pub rank: Option<i64>,
    /// Words that no PSP here knows.
    pub unknown: Vec<String>,
}

/// Reads a PSP option string: `iops=1;policy=latency`, in any order.
///
/// # Errors
/// The value that is wrong, and what it may be; the rest of the string is not read.
pub fn psp_options(text: &str) -> Result<PspOptions, String> {
    let mut options = PspOptions::default();
    for word in words(text) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = |least: u64, most: u64| match value.parse() {
            Ok(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ => Err(format!(
                "PSP option {key}=`{value}` is out of range: take {least} to {most}"
            )),
        };
        let wrong = |takes: &str| format!("PSP option {key}=`{value}` is wrong: take {takes}");
        match key.to_ascii_lowercase().as_str() {
            "policy" => match value {
                "default" | "rr" | "iops" | "bytes" | "latency" => {
                    options.policy = Some(value.to_owned());
                }
                _ => return Err(wrong("default, iops, bytes or latency")),
            },
            "iops" => options.iops = number(1, 10_000)?,
            "bytes" => options.bytes = number(1, 100 << 20)?,
            "useano" => {
                options.use_ano = Some(match value {
                    "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(wrong("0 or 1")),
                });
            }
            "latencyevaltime" => options.latency_eval_time_ms = number(10_000, 300_000)?,
            "samplingcycles" | "numsamplingcycles" => options.sampling_cycles = number(16, 160)?,
            "rank" => options.rank = Some(value.parse().map_err(|_| wrong("a whole number"))?),
            _ => options.unknown.push(word.to_owned()),
        }
    }
    Ok(options)
}

/// What of a PSP option string Linux cannot do.
#[must_use]
pub fn psp_option_remarks(options: &PspOptions) -> Vec<String> {
    let unknown = options.unknown.iter();
    let mut remarks: Vec<String> = unknown
        .map(|word| {
            format!("PSP option `{word}` is not known: it is stored and listed, and has no effect; known are policy, iops, bytes, useANO, latencyEvalTime, samplingCycles and rank")
        })
        .collect();
    if options.iops.is_some_and(|iops| iops != 1) {
        remarks.push(
            "iops above 1 is stored; the kernel changes path with every I/O, as with iops=1"
                .to_owned(),
        );
    }
    if options.bytes.is_some() || options.policy.as_deref() == Some("bytes") {
        remarks.push(
            "a change of path by bytes is stored; the kernel changes path with every I/O"
                .to_owned(),
        );
    }
    if options.policy.as_deref() == Some("latency") {
        remarks.push(
            "policy=latency: in effect is the path with the least data under way, for each I/O"
                .to_owned(),
        );
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psp_options_in_any_order() {
        let options =
            psp_options("policy=latency;samplingCycles=32;latencyEvalTime=180000;useANO=1")
                .unwrap();
        assert_eq!(
            options,
            PspOptions {
                policy: Some("latency".to_owned()),
                sampling_cycles: Some(32),
                latency_eval_time_ms: Some(180_000),
                use_ano: Some(true),
                ..PspOptions::default()
            }
        );
        assert_eq!(
            psp_options("iops=1;policy=latency"),
            psp_options("policy=latency, iops=1")
        );
        for (text, part) in [
            ("iops=0", "1 to 10000"),
            ("iops=\"1\"", "out of range"),
            ("policy=fast", "latency"),
            ("useANO=maybe", "0 or 1"),
        ] {
            assert!(psp_options(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_told() {
        let remarks = psp_option_remarks(&psp_options("iop=1").unwrap());
        assert!(remarks[0].contains("`iop=1` is not known"));
    }

    #[test]
    fn tpgs_is_no_option() {
        assert!(option_remarks("tpgs_on")[0].contains("-c tpgs_on"));
        assert!(option_remarks("enable_local enable_ssd").is_empty());
        assert!(option_remarks("throttle_sll")[0].contains("not known"));
        assert!(claim_option_remarks("tpgs_on").is_empty());
    }
}
