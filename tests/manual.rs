//! The documentation matches the programs: each command is in a manual page and in the completions, each setting is in
//! dm-psa.toml(5) with its default.

mod screen;

use dm_psa::cli::printable::is_unsafe;
use dm_psa::cli::verbs::verbs;
use dm_psa::cli::{Exit, man};
use dm_psa::psa::settings::{DeviceSettings, LimitType, PspKind, RoundRobin, Scheme, Settings};
use dm_psa::psa::units::Millis;
use screen::psactl;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn each_command_is_in_one_page() {
    let pages = man::pages();
    for verb in verbs() {
        let section = format!(".SS \"psactl {}\"", verb.words.join(" "));
        let single = format!(".SS psactl {}", verb.words.join(" "));
        let count = pages
            .iter()
            .flat_map(|page| page.text.lines())
            .map(|line| line.replace("\\-", "-"))
            .filter(|line| *line == section || *line == single)
            .count();
        assert_eq!(count, usize::from(!verb.legacy), "{section}");
    }
    for page in pages {
        assert!(page.file.ends_with(".1"), "{}", page.file);
        assert!(page.text.contains(".SH NAME"), "{}", page.file);
        assert!(!page.text.contains(|c| c != '\n' && is_unsafe(c)));
    }
}

#[test]
fn pages_are_written_to_the_named_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let screen = psactl(["man", path]);
    assert_eq!(screen.exit, Exit::Ok);
    assert_eq!(screen.out + &screen.err, "");
    for page in man::pages() {
        let text = std::fs::read_to_string(folder.path().join(&page.file)).unwrap();
        assert_eq!(text, page.text);
    }
    let screen = psactl(["man", "/nonexistent"]);
    assert_eq!(screen.exit, Exit::Failed);
    let why = "/nonexistent/psactl.1 cannot be written";
    assert!(screen.err.contains(why), "{}", screen.err);
}

#[test]
fn completions_have_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let screen = psactl(["completion", shell]);
        assert_eq!(
            (screen.exit, screen.err.as_str()),
            (Exit::Ok, ""),
            "{shell}"
        );
        let script = screen.out;
        // clap_complete nests no deeper for fish.
        let depth = if shell == "fish" { 3 } else { usize::MAX };
        let shown = verbs().filter(|verb| !verb.legacy);
        for word in shown.flat_map(|verb| verb.words.iter().take(depth)) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        // Characters that are unsafe for a terminal are printed as an escape, which no shell would understand.
        assert!(!script.contains("\\x"), "{shell}");
    }
    assert_eq!(psactl(["completion", "tcsh"]).exit, Exit::Usage);
}

#[test]
fn bash_accepts_the_completion() {
    let script = psactl(["completion", "bash"]).out;
    let ask = "\nCOMP_WORDS=(psactl scsi decode ''); COMP_CWORD=3; _psactl psactl '' decode; echo \"${COMPREPLY[*]}\"\n";
    let mut bash = Command::new("bash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = bash.stdin.take().unwrap();
    stdin.write_all((script + ask).as_bytes()).unwrap();
    drop(stdin);
    let words = String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap();
    for word in ["inquiry", "vpd", "rtpg", "sense"] {
        assert!(words.split_whitespace().any(|w| w == word), "{words}");
    }
}

#[test]
fn each_setting_is_in_the_manual_with_its_default() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/man/dm-psa.toml.5");
    let page = std::fs::read_to_string(file).unwrap();
    // The words of the page, split at white space, quotes and punctuation.
    let words: Vec<&str> = page
        .split(|c: char| c.is_whitespace() || "(),:\"".contains(c))
        .collect();
    let full = RoundRobin {
        limit_type: Some(LimitType::Iops),
        iops: Some(1),
        bytes: Some(1),
        use_ano: Some(true),
        sampling_cycles: Some(1),
        latency_eval_ms: Some(Millis(1)),
    };
    let device = DeviceSettings {
        map: Some(true),
        psp: Some(PspKind::Fixed),
        scheme: Some(Scheme::Fixed),
        preferred: Some("vmhba1:C0:T0:L0".parse().unwrap()),
        round_robin: full,
        ranks: BTreeMap::new(),
        satp: BTreeMap::new(),
        apd_timeout_ms: Some(Millis(1)),
        is_ssd: Some(true),
        fast_io_fail_tmo: Some(1),
        dev_loss_tmo: Some(1),
        display_name: Some(String::new()),
        map_name: Some(String::new()),
        perennially_reserved: Some(true),
        shared_clusterwide: Some(true),
    };
    let names = |value: serde_json::Value| -> Vec<(String, serde_json::Value)> {
        value.as_object().unwrap().clone().into_iter().collect()
    };
    for (name, default) in names(serde_json::to_value(Settings::default()).unwrap()) {
        if name.contains("device") {
            // Tables of device settings.
            assert!(page.contains(&format!("[{name}")), "{name}");
        } else {
            // A string has quotes of its own, which roff would take for its own.
            let default = default.to_string().replace('"', "\\(dq");
            let line = format!(".BR {name} \" = {default}\"");
            assert!(page.contains(&line), "{line}");
        }
    }
    let device = serde_json::to_value(device).unwrap();
    let round_robin = device["round_robin"].clone();
    for (name, _) in names(device).into_iter().chain(names(round_robin)) {
        assert!(words.contains(&name.as_str()), "{name}");
    }
    let defaults = RoundRobin::default();
    for default in [
        defaults.iops(),
        defaults.bytes(),
        defaults.sampling_cycles().into(),
        defaults.latency_eval_ms().0,
    ] {
        assert!(words.contains(&default.to_string().as_str()), "{default}");
    }
}

#[test]
fn the_example_is_a_valid_settings_file() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/man/dm-psa.toml.5");
    let page = std::fs::read_to_string(file).unwrap();
    let (_, example) = page.split_once(".nf\n").unwrap();
    let (example, _) = example.split_once(".fi\n").unwrap();
    let settings: Settings = toml::from_str(example).unwrap();
    assert_eq!(settings.apd_timeout_ms, Millis::from_secs(60));
    assert_eq!(settings.device.len(), 2);
}
