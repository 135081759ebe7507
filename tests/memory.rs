//! The agent's stored state survives files of other versions and damaged files, entry by entry.
//!
//! `tests/golden/memory` has a file as each version of the format wrote it (the number is that of the format), as newer
//! versions may write it, and damaged files. Next to each is its report: the reported problems, and the file that is
//! written back. `UPDATE_GOLDEN=1 cargo test --test memory` writes the reports.

use dm_psa::config::memory_file::{Fate, known_devices, load, parse, write};
use dm_psa::config::{Places, store};
use dm_psa::kernel::id;
use dm_psa::psa::adapter::{AdapterFacts, RuntimeName, TargetFacts, Transport};
use dm_psa::psa::facts::{Handler, PathFacts};
use dm_psa::psa::memory::{MaskedPath, Memory, RememberedAdapter};
use dm_psa::psa::names::{DeviceId, Wwid};
use dm_psa::psa::settings::{DeviceSettings, LimitType, PspKind, RoundRobin, Scheme};
use dm_psa::psa::units::{Hctl, Millis};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/memory");

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(FILES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"))
        .collect();
    files.sort();
    assert!(files.len() > 15, "too few files in {FILES}");
    files
}

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(FILES).join(format!("{name}.json"))).unwrap()
}

#[test]
fn every_file_is_reported_and_written_back_as_its_report_says() {
    for file in files() {
        let content = fs::read(&file).unwrap();
        let (memory, problems) = parse(&content);
        let mut report: String = problems.iter().map(|p| format!("{p}\n")).collect();
        report += "----\n";
        report += &String::from_utf8(write(&memory)).unwrap();
        let golden = file.with_extension("report");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &report).unwrap();
        }
        assert_eq!(
            report,
            fs::read_to_string(&golden).unwrap(),
            "{}",
            file.display()
        );
        // The written file is read back as the same state, and `dm-psa-id` knows the same devices.
        let (again, _) = parse(&write(&memory));
        assert_eq!(again, memory, "{}", file.display());
        assert_eq!(
            known_devices(&content),
            memory.devices,
            "{}",
            file.display()
        );
    }
}

#[test]
fn files_of_released_versions_are_read_completely() {
    for file in files() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let content = fs::read(&file).unwrap();
        let (memory, problems) = parse(&content);
        assert_eq!(problems, [], "{name}");
        let strict: Memory = serde_json::from_slice(&content).unwrap();
        assert_eq!(memory, strict, "{name}");
    }
}

/// Whether `whole` has everything that `part` has, with the same values.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| holds(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole == part || part.iter().all(|part| whole.contains(part))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn what_a_newer_version_wrote_survives_a_change_by_this_one() {
    for name in ["newer-entries", "newer-kinds"] {
        let content = file(name);
        let (mut memory, _) = parse(&content);
        memory.paths_off.insert("vmhba7:C0:T0:L0".to_owned());
        if name == "newer-kinds" {
            memory.paths_off.clear();
        }
        memory
            .settings
            .entry("naa.new".into())
            .or_default()
            .display_name = Some("new".to_owned());
        let written = write(&memory);
        let (before, after): (Value, Value) = (
            serde_json::from_slice(&content).unwrap(),
            serde_json::from_slice(&written).unwrap(),
        );
        assert!(holds(&after, &before), "{name}");
        let text = String::from_utf8(written).unwrap();
        if name == "newer-entries" {
            // Byte by byte: no number was parsed and printed again.
            assert!(text.contains("\"since\": 1.50e3"), "{text}");
            assert!(text.contains("123456789012345678901234567890"), "{text}");
        }
    }
}

#[test]
fn a_value_that_is_set_replaces_an_unreadable_one() {
    let (mut memory, _) = parse(&file("malformed-entries"));
    let device = "naa.600140500000001aabbccdd000000001";
    memory.settings.get_mut(device).unwrap().display_name = Some("mine".to_owned());
    let text = String::from_utf8(write(&memory)).unwrap();
    assert!(text.contains("\"display_name\": \"mine\""), "{text}");
    let (again, _) = parse(text.as_bytes());
    assert_eq!(again.settings, memory.settings);
    // A part of an entry is removed with the entry.
    let (mut memory, _) = parse(&file("newer-entries"));
    memory.masked.clear();
    let (again, problems) = parse(&write(&memory));
    assert!(again.masked.is_empty());
    let masked = |p: &&dm_psa::config::memory_file::Problem| p.place[0] == "masked";
    assert_eq!(problems.iter().filter(masked).count(), 1, "{problems:?}");
}

#[test]
fn names_that_this_version_does_not_know_stay_in_the_file() {
    let names = [
        r#""psp": "VMW_PSP_NEW""#,
        r#""preferred": "nvme1:P0""#,
        r#""nvme1:P0": 3"#,
        r#""vmhba1:C0:T0:L0": 5"#,
    ];
    let [psp, preferred, ranks @ ..] = names;
    let settings = format!(
        r#"{{{psp}, {preferred}, "ranks": {{{}}}}}"#,
        ranks.join(", ")
    );
    let content = format!(r#"{{"settings": {{"naa.6": {settings}}}, "devices_off": ["naa.6"]}}"#);
    let (mut memory, problems) = parse(content.as_bytes());
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(memory.devices_off.len(), 1);
    let set = memory.settings.get_mut("naa.6").unwrap();
    assert_eq!((set.psp, set.preferred, set.ranks.len()), (None, None, 1));
    set.display_name = Some("mine".to_owned());
    let text = String::from_utf8(write(&memory)).unwrap();
    for name in names {
        assert!(text.contains(name), "{name}: {text}");
    }
    // A value that is set replaces an unknown one.
    memory.settings.get_mut("naa.6").unwrap().psp = Some(PspKind::Fixed);
    let text = String::from_utf8(write(&memory)).unwrap();
    assert!(
        !text.contains("VMW_PSP_NEW") && text.contains("VMW_PSP_FIXED"),
        "{text}"
    );
}

fn places(root: &Path, content: &[u8]) -> Places {
    let places = Places::below(root);
    store::replace(&places.memory(), content).unwrap();
    places
}

fn copies(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root.join("etc/dm-psa/state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_damaged_file_is_set_aside_and_the_copies_are_bounded() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..6 {
        let mut content = file("truncated");
        content.extend(format!("{n}").bytes());
        let places = places(root.path(), &content);
        // A second start with the same file makes no second copy.
        for _ in 0..2 {
            let (memory, problems) = load(&places);
            assert_eq!(memory.devices.len(), 2);
            let first = problems[0].to_string();
            assert!(first.contains("memory.json: it is damaged"), "{first}");
            let aside = "memory.json.damaged";
            assert!(first.contains(aside), "{first}");
            let copy = places.memory().with_file_name(aside);
            assert_eq!(fs::read(copy).unwrap(), content);
        }
    }
    let names = [
        "memory.json",
        "memory.json.damaged",
        "memory.json.damaged.1",
        "memory.json.damaged.2",
    ];
    assert_eq!(copies(root.path()), names);
}

#[test]
fn entries_of_a_newer_version_cause_no_copy() {
    let root = tempfile::tempdir().unwrap();
    let places = places(
        root.path(),
        br#"{"devices":["3600"],"reservations":{"a":1}}"#,
    );
    let (memory, problems) = load(&places);
    assert_eq!(memory.devices.len(), 1);
    assert_eq!(problems.len(), 1);
    let text = problems[0].to_string();
    for part in ["memory.json: ", "`reservations`", "stays in the file"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(copies(root.path()), ["memory.json"]);
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside_before_it_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    fs::create_dir_all(places.memory()).unwrap();
    let (memory, problems) = load(&places);
    assert_eq!(memory, Memory::default());
    let text = problems[0].to_string();
    assert!(text.contains("the old file is kept as"), "{text}");
    assert_eq!(copies(root.path()), ["memory.json.damaged"]);
    assert_eq!(load(&places).1.len(), 0);
}

#[test]
fn many_problems_are_reported_in_few_lines() {
    let root = tempfile::tempdir().unwrap();
    let many: BTreeMap<String, u32> = (0..10_000).map(|n| (format!("new{n}"), n)).collect();
    let places = places(root.path(), &serde_json::to_vec(&many).unwrap());
    let (memory, problems) = load(&places);
    assert_eq!(memory.not_understood.len(), 10_000);
    assert_eq!(problems.len(), 21);
    let last = problems[20].to_string();
    assert!(last.contains("9980 more entries"), "{last}");
}

/// `dm-psa-id` hides a disk that had a map, whatever else is in the file.
#[test]
fn the_udev_helper_reads_the_intact_entries() {
    for name in [
        "newer-entries",
        "truncated",
        "garbled-line",
        "malformed-entries",
    ] {
        let root = tempfile::tempdir().unwrap();
        places(root.path(), &file(name));
        let disk = root.path().join("sys/block/sdb");
        fs::create_dir_all(disk.join("device")).unwrap();
        fs::create_dir_all(disk.join("holders")).unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/mountinfo"), "").unwrap();
        fs::write(root.path().join("proc/swaps"), "").unwrap();
        fs::write(disk.join("dev"), "8:16\n").unwrap();
        let naa = [
            0x60, 0x01, 0x40, 0x50, 0, 0, 0, 0x1a, 0xab, 0xbc, 0xcd, 0xd0, 0, 0, 0, 2,
        ];
        let page = [&[0, 0x83, 0, 20, 1, 3, 0, 16][..], &naa].concat();
        fs::write(disk.join("device/vpd_pg83"), page).unwrap();
        let decision = id::decide(root.path(), "sdb").unwrap();
        assert!(decision.path, "{name}: {decision:?}");
        assert_eq!(decision.reason.to_string(), "remembered");
    }
}

// ---- properties ------------------------------------------------------------------------------------------------

fn some<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::of(value)
}

fn text() -> impl Strategy<Value = String> {
    "[a-z0-9.:\"\\\\{}, é]{1,12}"
}

fn runtime_name() -> impl Strategy<Value = RuntimeName> {
    (0..20_u32, 0..20_u32, 0..20_u64).prop_map(|(adapter, target, lun)| RuntimeName {
        adapter,
        channel: 0,
        target,
        lun,
    })
}

fn device_settings() -> impl Strategy<Value = DeviceSettings> {
    let round_robin = (some(0_u64..9), some(any::<bool>()), some(0_u32..9)).prop_map(
        |(iops, use_ano, sampling_cycles)| RoundRobin {
            limit_type: iops.map(|_| LimitType::Iops),
            iops,
            bytes: iops,
            use_ano,
            sampling_cycles,
            latency_eval_ms: iops.map(Millis),
        },
    );
    let maps = (
        prop::collection::btree_map(runtime_name(), any::<i32>(), 0..3),
        prop::collection::btree_map(text(), any::<bool>(), 0..3),
    );
    (
        (some(text()), some(runtime_name())),
        some(0_u32..9),
        some(any::<bool>()),
        round_robin,
        maps,
    )
        .prop_map(
            |((text, preferred), number, flag, round_robin, (ranks, satp))| DeviceSettings {
                map: flag,
                // Every field is named, so that the compiler rejects a new field until this test covers it.
                psp: number.map(|n| PspKind::ALL[n as usize % 3]),
                scheme: flag.map(|_| Scheme::Latency),
                preferred,
                round_robin,
                ranks,
                satp,
                apd_timeout_ms: number.map(|n| Millis(n.into())),
                is_ssd: flag,
                fast_io_fail_tmo: number,
                dev_loss_tmo: number,
                display_name: text.clone(),
                map_name: text,
                perennially_reserved: flag,
                shared_clusterwide: flag,
            },
        )
}

fn masked_path() -> impl Strategy<Value = MaskedPath> {
    (text(), some(text()), any::<u32>()).prop_map(|(text, device, rule)| MaskedPath {
        facts: PathFacts {
            hctl: Hctl {
                host: rule % 7,
                channel: 0,
                target: 1,
                lun: 5,
            },
            block: None,
            sg: None,
            device_type: 0,
            vendor: text.clone(),
            model: text.clone(),
            device_state: "running".to_owned(),
            handler: Handler::Attached("alua".to_owned()),
            transport: Transport::Fc,
            adapter: AdapterFacts {
                key: text.clone(),
                identifier: text.clone(),
                driver: "qla2xxx".to_owned(),
                link_state: "link-up".to_owned(),
                description: text.clone(),
            },
            target: TargetFacts {
                identifier: text,
                details: String::new(),
                portal: device.clone(),
                port_state: None,
            },
        },
        inquiry: vec![0, 1, 2],
        device: device.map(Wwid::from),
        rule,
    })
}

fn memory() -> impl Strategy<Value = Memory> {
    let texts = || prop::collection::btree_set(text(), 0..4);
    let wwids = prop::collection::btree_set(text().prop_map(Wwid::from), 0..4);
    let id = || text().prop_map(DeviceId::from);
    let adapter = (
        any::<u32>(),
        prop::collection::btree_map(text(), any::<u32>(), 0..3),
    )
        .prop_map(|(number, targets)| RememberedAdapter { number, targets });
    (
        (
            wwids,
            prop::collection::btree_map(text().prop_map(Wwid::from), id(), 0..3),
            prop::collection::btree_map(text().prop_map(Wwid::from), text(), 0..3),
            texts(),
            prop::collection::btree_set(id(), 0..4),
            any::<bool>(),
        ),
        prop::collection::btree_map(id(), device_settings(), 0..3),
        prop::collection::btree_map(text(), masked_path(), 0..3),
        prop::collection::btree_map(text(), adapter, 0..3),
    )
        .prop_map(
            |(
                (devices, ids, names, paths_off, devices_off, autoclaim_off),
                settings,
                masked,
                adapters,
            )| {
                Memory {
                    devices,
                    ids,
                    names,
                    settings,
                    paths_off,
                    devices_off,
                    autoclaim_off,
                    masked,
                    adapters,
                    not_understood: Vec::new(),
                }
            },
        )
}

/// The entries of a stored state, each with its place.
fn entries(memory: &Memory) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let value = serde_json::to_value(memory).unwrap();
    let fields = value.as_object().unwrap().iter();
    for (field, value) in fields.filter(|(field, _)| *field != "not_understood") {
        match value {
            Value::Array(list) => {
                for element in list {
                    entries.insert(format!("{field} {element}"), String::new());
                }
            }
            Value::Object(table) => {
                for (key, value) in table {
                    let Some(fields) = value.as_object() else {
                        entries.insert(format!("{field} {key}"), value.to_string());
                        continue;
                    };
                    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                        // A masked path and the number of an adapter are kept or lost as a whole.
                        let name = if field == "masked" { "" } else { name };
                        let text = entries
                            .entry(format!("{field} {key} {name}"))
                            .or_insert_with(String::new);
                        *text += &value.to_string();
                    }
                }
            }
            value => {
                entries.insert(field.clone(), value.to_string());
            }
        }
    }
    entries
}

/// The indexes of the lines of the file that contain a single value.
fn value_lines(text: &str) -> Vec<usize> {
    let is_value = |line: &str| {
        let line = line.trim_end_matches(',').trim();
        !line.is_empty() && !line.ends_with(['{', '[', '}', ']'])
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| is_value(line))
        .map(|(n, _)| n)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(memory in memory()) {
        let content = write(&memory);
        let (again, problems) = parse(&content);
        prop_assert_eq!(problems, []);
        prop_assert_eq!(&again, &memory);
        prop_assert_eq!(known_devices(&content), memory.devices);
    }

    /// One line of a valid file is replaced: all entries except the one on that line survive.
    #[test]
    fn one_damaged_entry_costs_no_other(
        memory in memory(),
        at in any::<prop::sample::Index>(),
        junk in prop_oneof![
            Just("null".to_owned()), Just("{\"new\": [1, 2]}".to_owned()), Just("1e999".to_owned()),
            Just("\"".to_owned()), Just("{".to_owned()), Just("]}".to_owned()), Just(String::new()),
                "[ -~]{0,20}", "\\PC{0,8}",
        ],
        with_key in any::<bool>(),
    ) {
        let text = String::from_utf8(write(&memory)).unwrap();
        let lines = value_lines(&text);
        let line = lines[at.index(lines.len())];
        let damaged: Vec<String> = text
            .lines()
            .enumerate()
            .map(|(n, before)| {
                if n != line {
                    return before.to_owned();
                }
                let indentation = &before[..before.len() - before.trim_start().len()];
                // In a key, a quote, a colon and a blank follow each other only at the end.
                let key = before.rfind("\": ").map(|end| &before[..end + 3]);
                match key.filter(|_| with_key) {
                    Some(key) => format!("{key}{junk},"),
                    None => format!("{indentation}{junk},"),
                }
            })
            .collect();
        let (read, _) = parse(damaged.join("\n").as_bytes());
        let (before, after) = (entries(&memory), entries(&read));
        let lost: BTreeSet<&String> = before
            .iter()
            .filter(|(place, value)| after.get(*place) != Some(*value))
            .map(|(place, _)| place)
            .collect();
        // The targets of an adapter are lost with the number of the adapter.
        let adapter = lost.iter().all(|place| place.starts_with("adapters "));
        prop_assert!(lost.len() <= 1 || adapter && lost.len() <= 2, "{:?}\n{}", lost, damaged.join("\n"));
    }

    /// Entries that no version knows, at any depth, are written back byte by byte.
    #[test]
    fn unknown_entries_survive(memory in memory(), number in "[1-9][0-9]{0,40}(\\.[0-9]{1,30})?(e[0-9]{1,2})?") {
        let mut value = serde_json::to_value(&memory).unwrap();
        let places = mark(&mut value, "unknown entry");
        let text = serde_json::to_string_pretty(&value).unwrap();
        let text = text.replace("\"unknown entry\"", &format!("[ {number},{{}} ]"));
        let (read, problems) = parse(text.as_bytes());
        prop_assert_eq!(problems.len(), places, "{:?}", problems);
        prop_assert!(problems.iter().all(|problem| problem.fate == Fate::Unknown));
        prop_assert_eq!(entries(&read).len(), entries(&memory).len());
        let written = String::from_utf8(write(&read)).unwrap();
        prop_assert_eq!(written.matches(&format!("[ {number},{{}} ]")).count(), places);
    }

    #[test]
    fn any_bytes_are_read_up_to_the_damage(bytes in prop::collection::vec(any::<u8>(), 0..200), memory in memory(), cut in any::<prop::sample::Index>()) {
        let _ = parse(&bytes);
        let _ = known_devices(&bytes);
        // A file that was cut has all entries before the cut.
        let content = write(&memory);
        let cut = cut.index(content.len());
        let (read, _) = parse(&content[..cut]);
        let (part, whole) = (entries(&read), entries(&memory));
        for (place, value) in part.iter().filter(|(place, _)| !place.contains(' ')) {
            prop_assert!(value == "false" || whole.get(place) == Some(value));
        }
        // Everything that was read is in the file.
        for place in part.keys().filter(|place| place.contains(' ')) {
            prop_assert!(whole.contains_key(place), "{}", place);
        }
    }
}

/// Adds an entry to every object whose fields have fixed names; returns the number of these objects.
fn mark(value: &mut Value, entry: &str) -> usize {
    let mut count = 0;
    let mut put = |value: &mut Value| {
        count += 1;
        value
            .as_object_mut()
            .unwrap()
            .insert("a new field".to_owned(), Value::String(entry.to_owned()));
    };
    for device in value["settings"].as_object_mut().unwrap().values_mut() {
        put(&mut device["round_robin"]);
        put(device);
    }
    for masked in value["masked"].as_object_mut().unwrap().values_mut() {
        put(&mut masked["facts"]["adapter"]);
        put(&mut masked["facts"]["target"]);
        put(&mut masked["facts"]);
        put(masked);
    }
    for adapter in value["adapters"].as_object_mut().unwrap().values_mut() {
        put(adapter);
    }
    put(value);
    count
}
