//! The stored inputs of every fuzz target, replayed as ordinary tests: inputs that a fuzzer once found, or needed to
//! get far into a parser, are tested with every change. The fuzzing itself is `tests/fuzz/run`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

// The target has the attribute `#![no_main]`, which is for a crate.
#[allow(unused_attributes)]
#[path = "fuzz/targets"]
mod targets {
    pub(crate) mod esxcli;
    pub(crate) mod inquiry;
    pub(crate) mod journal;
    pub(crate) mod multipath_conf;
    pub(crate) mod multipathd;
    pub(crate) mod replies;
    pub(crate) mod rtpg;
    pub(crate) mod sense;
    pub(crate) mod table;
    pub(crate) mod vpd83;
    pub(crate) mod wire;
}

// A target is a crate that defines libFuzzer's entry point. Here the same file is a module, and a macro of the same
// name defines a plain function instead. It comes after the modules, which find it by the path that they import.
extern crate self as libfuzzer_sys;

macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:block) => {
        pub(crate) fn run($data: &[u8]) {
            $body
        }
    };
    // libFuzzer skips input that is not UTF-8, too.
    (|$text:ident: &str| $body:block) => {
        pub(crate) fn run(data: &[u8]) {
            if let Ok($text) = std::str::from_utf8(data) {
                $body
            }
        }
    };
}
pub(crate) use fuzz_target;

macro_rules! replays {
    ($($name:ident)*) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), targets::$name::run);
            }
        )*
    };
}
replays! { esxcli inquiry journal multipath_conf multipathd replies rtpg sense table vpd83 wire }

/// Every stored input of a target: the lines of `seeds/NAME.txt`, and the files of `seeds/NAME`. Each is also tested
/// cut short, because parsers tend to fail where input ends early.
fn replay(name: &str, run: fn(&[u8])) {
    let seeds = Path::new("tests/fuzz/seeds");
    let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
    let packed = seeds.join(name).with_extension("txt");
    if let Ok(text) = fs::read_to_string(&packed) {
        let lines = text.lines().enumerate();
        inputs.extend(lines.map(|(i, line)| (format!("line {}", i + 1), unpacked(line))));
    }
    if let Ok(entries) = fs::read_dir(seeds.join(name)) {
        for entry in entries {
            let path = entry.expect("an entry of the folder").path();
            let input = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            inputs.push((path.display().to_string(), input));
        }
    }
    assert!(!inputs.is_empty(), "{name} has no seeds");
    for (place, input) in inputs {
        // Shown only if the test fails: the current input.
        println!("{place}");
        run(&input);
        run(input.get(..input.len() / 2).unwrap_or_default());
    }
}

/// The input that `tests/fuzz/pack` wrote as this line.
fn unpacked(line: &str) -> Vec<u8> {
    let mut input = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            input.push(byte);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            input.push(b'\\');
            rest = after;
        } else {
            let digits = rest.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok());
            input.push(
                u8::from_str_radix(digits.expect("two digits"), 16).expect("hexadecimal digits"),
            );
            rest = &rest[3..];
        }
    }
    input
}

#[test]
fn a_packed_line_is_unpacked() {
    assert_eq!(unpacked(r"a\\x\x00\xff "), b"a\\x\x00\xff ");
    assert_eq!(unpacked(""), b"");
}

#[test]
fn every_target_is_replayed() {
    let stem = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry of the folder").path();
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let there: BTreeSet<String> = fs::read_dir("tests/fuzz/targets")
        .expect("the targets")
        .map(stem)
        .collect();
    assert_eq!(
        there,
        REPLAYED.iter().map(|name| (*name).to_string()).collect()
    );
}
