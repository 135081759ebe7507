//! Checks the values of keywords in multipath.conf. multipath-tools ignores a keyword with an invalid value, with a
//! warning.

/// The keywords that accept only yes, no, 1 and 0.
const YES_OR_NO: &[&str] = &[
    "all_tg_pt",
    "allow_usb_devices",
    "deferred_remove",
    "detect_checker",
    "detect_pgpolicy",
    "detect_pgpolicy_use_tpg",
    "detect_prio",
    "disable_changed_wwids",
    "force_sync",
    "purge_disconnected",
    "queue_without_daemon",
    "reassign_maps",
    "recheck_wwid",
    "retain_attached_hw_handler",
    "skip_kpartx",
    "strict_timing",
    "user_friendly_names",
];

/// The canonical name of a keyword that has two names.
pub(super) fn canonical(name: &str) -> &str {
    match name {
        "checker" => "path_checker",
        name => name,
    }
}

/// The value of a keyword in the form that the translating modules expect.
///
/// # Errors
/// Why multipath-tools ignores the value.
pub(super) fn normal<'a>(name: &str, value: &'a str) -> Result<&'a str, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    // Whether the word at this position is the number of words after it.
    let counts = |at: usize| {
        let number = words.get(at).and_then(|word| word.parse::<usize>().ok());
        number.is_some_and(|number| words.len().checked_sub(at + 1) == Some(number))
    };
    let whole = |what: &str| {
        // Only blanks are accepted around a number.
        let is_number =
            value.trim().bytes().all(|b| b.is_ascii_digit()) && !value.trim().is_empty();
        if is_number {
            Ok(value.trim())
        } else {
            Err(format!(
                "multipath-tools accepts {what} and ignores this value"
            ))
        }
    };
    match name {
        _ if YES_OR_NO.contains(&name) => match value {
            "yes" | "1" => Ok("yes"),
            "no" | "0" => Ok("no"),
            _ => Err("multipath-tools accepts yes or no and ignores this value".to_owned()),
        },
        "path_selector" if !counts(1) => Err(
            "multipath-tools ignores it without the number of arguments, `\"round-robin 0\"`, in quotes".to_owned(),
        ),
        "features" if !counts(0) => Err(
            "multipath-tools ignores it unless it begins with the number of words that follow".to_owned(),
        ),
        "no_path_retry" => match value {
            "fail" | "queue" => Ok(value),
            _ => whole("fail, queue or a number of checks"),
        },
        "polling_interval" | "checker_timeout" => whole("a number of seconds"),
        "fast_io_fail_tmo" if value == "off" => Ok(value),
        "dev_loss_tmo" if value == "infinity" => Ok(value),
        "fast_io_fail_tmo" => whole("off or a number of seconds"),
        "dev_loss_tmo" => whole("infinity or a number of seconds"),
        "path_grouping_policy" if !POLICIES.contains(&value) => {
            Err("multipath-tools has no such policy and ignores it".to_owned())
        }
        _ => Ok(value),
    }
}

const POLICIES: [&str; 6] = [
    "failover",
    "multibus",
    "group_by_serial",
    "group_by_prio",
    "group_by_node_name",
    "group_by_tpg",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_multipath_tools() {
        for (name, value, wanted) in [
            ("detect_prio", "1", Some("yes")),
            ("detect_prio", "0", Some("no")),
            ("detect_prio", "off", None),
            ("path_selector", "round-robin 0", Some("round-robin 0")),
            ("path_selector", "round-robin", None),
            ("path_selector", "", None),
            ("features", "0", Some("0")),
            ("features", "1 queue_if_no_path", Some("1 queue_if_no_path")),
            ("features", "queue_if_no_path", None),
            ("features", "2 queue_if_no_path", None),
            ("no_path_retry", " 12 ", Some("12")),
            ("no_path_retry", "0", Some("0")),
            ("no_path_retry", "-1", None),
            ("no_path_retry", "twelve", None),
            ("dev_loss_tmo", "infinity", Some("infinity")),
            ("fast_io_fail_tmo", "infinity", None),
            ("path_grouping_policy", "round_robin", None),
            ("alias", "", Some("")),
        ] {
            assert_eq!(normal(name, value).ok(), wanted, "{name} {value}");
        }
    }
}
