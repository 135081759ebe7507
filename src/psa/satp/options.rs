//! The option strings of SATP rules: which words exist, and which of them take effect on Linux.
//!
//! Strings are kept as they were written. Unknown words are kept too, with a remark to the user: vendors' guides use
//! words that are not publicly documented.

use crate::psa::settings::{DeviceSettings, LimitType, RoundRobin};
use crate::psa::units::Millis;

/// The words of an option string, separated by blanks, commas and semicolons.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', ';']).filter(|word| !word.is_empty())
}

/// Parses the number that an option is set to.
///
/// # Errors
/// If the value is not a number, or not in the range.
pub(crate) fn in_range(key: &str, value: &str, least: u64, most: u64) -> Result<u64, String> {
    match value.parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!(
            "option {key}=`{value}` is out of range: use {least} to {most}"
        )),
    }
}

/// Claim options (`-c`) of ESXi other than `tpgs_on` and `tpgs_off`: those of CLARiiON arrays.
const CLAIM_OPTIONS: &[&str] = &[
    "navireg",
    "navireg_on",
    "navireg_off",
    "ipfilter",
    "ipfilter_on",
    "ipfilter_off",
];

/// Options (`-o`) of ESXi.
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

/// The settings of a device that its options (`-o`) contain. `apd_timeout=SECONDS`, `fast_io_fail_tmo=SECONDS` and
/// `dev_loss_tmo=SECONDS` are extensions of dm-psa.
///
/// # Errors
/// Which value is wrong, and what is valid.
pub(crate) fn device_options(text: &str) -> Result<DeviceSettings, String> {
    let mut settings = DeviceSettings::default();
    for word in words(text) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = |least, most| in_range(key, value, least, most);
        let seconds = |most| number(1, most).map(|n| u32::try_from(n).ok());
        match key {
            "enable_ssd" => settings.is_ssd = Some(true),
            "disable_ssd" => settings.is_ssd = Some(false),
            // ESXi's Misc.APDTimeout is at least 20 s. Here 1 s is allowed, which is the nearest to
            // `no_path_retry fail` of multipath-tools.
            "apd_timeout" => settings.apd_timeout_ms = Some(Millis::from_secs(number(1, 99_999)?)),
            "fast_io_fail_tmo" => settings.fast_io_fail_tmo = seconds(MOST_FAST_IO_FAIL)?,
            "dev_loss_tmo" if value == "infinity" => settings.dev_loss_tmo = Some(INFINITE),
            "dev_loss_tmo" => settings.dev_loss_tmo = seconds(INFINITE.into())?,
            _ => {}
        }
    }
    Ok(settings)
}

/// The largest value that the kernel accepts (`SCSI_DEVICE_BLOCK_MAX_TIMEOUT`), in seconds.
pub(crate) const MOST_FAST_IO_FAIL: u64 = 600;

/// The value that means "never" to the kernel, in seconds.
const INFINITE: u32 = 0x7fff_ffff;

/// Remarks on a claim option string.
#[must_use]
pub(crate) fn claim_option_remarks(text: &str) -> Vec<String> {
    let known = |word: &&str| matches!(*word, "tpgs_on" | "tpgs_off");
    words(text)
        .filter(|word| !known(word))
        .map(|word| {
            if CLAIM_OPTIONS.contains(&word) {
                format!("claim option {word} is stored and listed; on Linux it has no effect")
            } else {
                format!("unknown claim option `{word}`: it is stored, but is not part of the match; known are tpgs_on and tpgs_off")
            }
        })
        .collect()
}

/// Remarks on an option string.
#[must_use]
pub(crate) fn option_remarks(text: &str) -> Vec<String> {
    words(text)
        .filter_map(|word| match word {
            "tpgs_on" | "tpgs_off" => Some(format!(
                "{word} is a claim option: as an option (-o) it is not part of the match; write -c {word}"
            )),
            word if OPTIONS.contains(&word) => None,
            word if device_options(word).is_ok_and(|set| set != DeviceSettings::default()) => None,
            word => Some(format!(
                "unknown option `{word}`: it is stored and listed, without effect"
            )),
        })
        .collect()
}

/// The settings in a PSP option string; `None` for what it does not mention.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PspOptions {
    /// RR: its settings.
    pub round_robin: RoundRobin,
    /// MRU: the rank of a path.
    pub rank: Option<i64>,
    /// Words that no PSP of this build knows.
    pub unknown: Vec<String>,
}

/// Parses a PSP option string: `iops=1;policy=latency`, in any order.
///
/// # Errors
/// Which value is wrong, and what is valid. Parsing ends there.
pub fn psp_options(text: &str) -> Result<PspOptions, String> {
    let mut options = PspOptions::default();
    let set = &mut options.round_robin;
    for word in words(text) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = |least, most| in_range(key, value, least, most).map(Some);
        let wrong = |takes: &str| format!("PSP option {key}=`{value}` is not valid: use {takes}");
        match key.to_ascii_lowercase().as_str() {
            "policy" => match value {
                // `nmp device list` prints the default like this.
                "rr" => set.limit_type = Some(LimitType::Default),
                "default" | "iops" | "bytes" | "latency" => {
                    set.limit_type = LimitType::by_name(value);
                }
                _ => return Err(wrong("default, iops, bytes or latency")),
            },
            // Guides for some arrays use 0: each I/O takes the next path, and bytes are not counted.
            "iops" => set.iops = number(0, 10_000)?.map(|iops| iops.max(1)),
            "bytes" => set.bytes = number(0, 100 << 20)?.filter(|bytes| *bytes > 0),
            "useano" => {
                set.use_ano = Some(match value {
                    "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(wrong("0 or 1")),
                });
            }
            "latencyevaltime" => set.latency_eval_ms = number(10_000, 300_000)?.map(Millis),
            "samplingcycles" | "numsamplingcycles" => {
                set.sampling_cycles = number(16, 160)?.and_then(|n| n.try_into().ok());
            }
            "rank" => options.rank = Some(value.parse().map_err(|_| wrong("a whole number"))?),
            _ => options.unknown.push(word.to_owned()),
        }
    }
    Ok(options)
}

/// Remarks on the parts of a PSP option string that have no effect on Linux.
#[must_use]
pub(crate) fn psp_option_remarks(options: &PspOptions) -> Vec<String> {
    let unknown = options.unknown.iter();
    let mut remarks: Vec<String> = unknown
        .map(|word| {
            format!("unknown PSP option `{word}`: it is stored and listed, without effect; known are policy, iops, bytes, useANO, latencyEvalTime, samplingCycles and rank")
        })
        .collect();
    let set = &options.round_robin;
    if set.iops.is_some_and(|iops| iops != 1) {
        remarks.push(format!(
            "iops above 1 is stored; in effect is {}",
            set.in_effect()
        ));
    } else if set.bytes.is_some() || set.limit_type == Some(LimitType::Bytes) {
        remarks.push(format!(
            "a limit of bytes is stored; in effect is {}",
            set.in_effect()
        ));
    } else if set.limit_type == Some(LimitType::Latency) {
        remarks.push(format!("policy=latency: in effect is {}", set.in_effect()));
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
                round_robin: RoundRobin {
                    limit_type: Some(LimitType::Latency),
                    sampling_cycles: Some(32),
                    latency_eval_ms: Some(Millis::from_secs(180)),
                    use_ano: Some(true),
                    ..RoundRobin::default()
                },
                ..PspOptions::default()
            }
        );
        assert_eq!(
            psp_options("iops=1;policy=latency"),
            psp_options("policy=latency, iops=1")
        );
        let least = psp_options("policy=iops;iops=0;bytes=0")
            .unwrap()
            .round_robin;
        assert_eq!((least.iops, least.bytes), (Some(1), None));
        for (text, part) in [
            ("iops=10001", "0 to 10000"),
            ("iops=\"1\"", "out of range"),
            ("policy=fast", "latency"),
            ("useANO=maybe", "0 or 1"),
        ] {
            assert!(psp_options(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn unknown_options_are_reported() {
        let remarks = psp_option_remarks(&psp_options("iop=1").unwrap());
        assert!(remarks[0].contains("unknown PSP option `iop=1`"));
    }

    #[test]
    fn tpgs_is_a_claim_option() {
        assert!(option_remarks("tpgs_on")[0].contains("-c tpgs_on"));
        assert!(option_remarks("enable_local enable_ssd").is_empty());
        assert!(option_remarks("throttle_sll")[0].contains("unknown option"));
        assert!(claim_option_remarks("tpgs_on").is_empty());
    }
}
