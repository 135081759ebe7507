//! What path selectors do with their arguments: which they refuse, and what they print.

use super::model::Selector;

/// Why a selector would refuse the arguments of a path, as a phrase that says what it accepts. `None` if it would not,
/// or if the selector is unknown.
pub(super) fn refuses(selector: &str, args: &[String]) -> Option<&'static str> {
    let number = |word: &String| word.parse::<u32>().is_ok();
    let (fine, wants) = match selector {
        "round-robin" | "queue-length" | "historical-service-time" => {
            (args.len() <= 1 && args.iter().all(number), "a repeat count")
        }
        "service-time" => (
            args.len() <= 2
                && args.iter().all(number)
                && args
                    .get(1)
                    .is_none_or(|word| word.parse::<u32>().is_ok_and(|n| n <= 100)),
            "a repeat count and a relative throughput of 0 to 100",
        ),
        "io-affinity" => (args.len() == 1, "one CPU mask"),
        _ => (true, ""),
    };
    (!fine).then_some(wants)
}

/// A selector as the kernel prints it.
pub(super) fn selector(selector: &Selector) -> Selector {
    let args = match selector.name.as_str() {
        // Their constructors ignore their arguments.
        "round-robin" | "queue-length" | "service-time" | "io-affinity" => vec![],
        "historical-service-time" => with_defaults(&selector.args, &["972", "0"]),
        _ => selector.args.clone(),
    };
    Selector {
        name: selector.name.clone(),
        args,
    }
}

/// The arguments of a path as its selector prints them: defaults filled in, repeat counts clamped to 1.
pub(super) fn path_args(selector: &str, args: &[String]) -> Vec<String> {
    match selector {
        "round-robin" | "queue-length" => clamped(with_defaults(args, &["1"])),
        "service-time" => clamped(with_defaults(args, &["1", "1"])),
        // It prints a literal 0, whatever its arguments.
        "historical-service-time" => vec![],
        "io-affinity" => args.iter().map(|mask| cpu_mask(mask)).collect(),
        _ => args.to_vec(),
    }
}

fn with_defaults(args: &[String], defaults: &[&str]) -> Vec<String> {
    let missing = defaults
        .iter()
        .skip(args.len())
        .map(|&word| word.to_owned());
    args.iter()
        .map(|word| number(word))
        .chain(missing)
        .collect()
}

/// A number without leading zeros; any other text unchanged.
fn number(word: &str) -> String {
    word.parse::<u32>()
        .map_or_else(|_| word.to_owned(), |n| n.to_string())
}

fn clamped(mut args: Vec<String>) -> Vec<String> {
    if let Some(repeat) = args.first_mut()
        && repeat.parse::<u32>().is_ok_and(|n| n > 1)
    {
        "1".clone_into(repeat);
    }
    args
}

/// Hexadecimal digits without the commas and leading zeros that the kernel adds.
fn cpu_mask(mask: &str) -> String {
    let digits: String = mask.chars().filter(|&c| c != ',').collect();
    digits.trim_start_matches('0').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(selector: &str, args: &[&str]) -> Vec<String> {
        let args: Vec<String> = args.iter().map(|&word| word.to_owned()).collect();
        path_args(selector, &args)
    }

    #[test]
    fn fills_in_and_clamps_as_the_kernel_does() {
        assert_eq!(read_back("round-robin", &[]), ["1"]);
        assert_eq!(read_back("queue-length", &["1000"]), ["1"]);
        assert_eq!(read_back("service-time", &[]), ["1", "1"]);
        assert_eq!(read_back("service-time", &["8"]), ["1", "1"]);
        assert_eq!(read_back("service-time", &["1", "050"]), ["1", "50"]);
        assert_eq!(read_back("io-affinity", &["0000,0000000F"]), ["f"]);
        assert_eq!(read_back("historical-service-time", &["0"]), [""; 0]);
        assert_eq!(read_back("new-one", &["a", "b"]), ["a", "b"]);
    }
}
