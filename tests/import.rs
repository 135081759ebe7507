//! `psactl import` turns listings of ESXi and configurations of multipath-tools into rules and settings, and prints a
//! line for each of their entries. Inputs and results are files in `tests/golden/import/`, rewritten by
//! `UPDATE_GOLDEN=1 cargo test --test import`. psactl also imports its own lists, in any format.

mod screen;

use dm_psa::cli::format::{Format, render};
use dm_psa::cli::import::{Outcome, Plan, esxcli, multipath, text};
use dm_psa::cli::layout::listing;
use dm_psa::cli::layout_rules::ClaimRuleLine;
use dm_psa::cli::{Exit, verbs};
use dm_psa::config::rules::{self, RuleFiles, edit::Edit, schema};
use dm_psa::config::settings_file::{Key, SettingsFile};
use dm_psa::config::{Places, load_settings, store};
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::claim::lists::Permission;
use dm_psa::psa::claim::matching::{PciIds, TargetPort};
use dm_psa::psa::claim::{Match, Rule, RuleClass, Xcopy};
use dm_psa::psa::pattern::Pattern;
use dm_psa::psa::satp::rules::{Group, SatpRule};
use dm_psa::psa::settings::MapNames;
use proptest::prelude::*;
use screen::{Screen, golden, golden_file, psactl_below};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The rules that come with dm-psa.
static BUILT_IN: LazyLock<RuleFiles> = LazyLock::new(rules::built_in);

/// Imports a file of `tests/golden/import/`.
fn import(root: &Path, kind: &str, name: &str, more: &[&str]) -> Screen {
    let file = golden_file(&format!("import/{name}"));
    let words = ["import", kind, file.to_str().unwrap()];
    psactl_below(root, [&words, more].concat())
}

/// The file, or an empty text.
fn file(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Compares the output of an import and the files it writes with files of `tests/golden/import/`; `tag` distinguishes
/// two imports of one input.
fn holds(kind: &str, name: &str, tag: &str, more: &[&str]) -> Exit {
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    let dry = import(root.path(), kind, name, &[more, &["--dry-run"]].concat());
    assert!(!places.admin_rules().exists() && !places.settings().exists());
    assert!(
        !root.path().join("etc").exists(),
        "{name}: --dry-run wrote files"
    );
    let screen = import(root.path(), kind, name, more);
    assert_eq!((dry.exit, &dry.out), (screen.exit, &screen.out), "{name}");
    // Paths of this machine do not belong in the golden files.
    let folder = golden_file("import");
    let err = screen.err.replace(&format!("{}/", folder.display()), "");
    let code = screen.exit as u8;
    golden(
        &format!("import/{name}{tag}.report"),
        &format!("{}---- standard error, exit code {code}\n{err}", screen.out),
    );
    for (path, kind) in [
        (places.admin_rules(), "rules.toml"),
        (places.settings(), "dm-psa.toml"),
    ] {
        let text = file(&path);
        let golden_name = format!("import/{name}{tag}.{kind}");
        if text.is_empty() {
            assert!(!golden_file(&golden_name).exists(), "{golden_name}");
        } else {
            golden(&golden_name, &text);
        }
    }
    // The agent accepts what was written, and a second import finds nothing to do.
    rules::load(&places).unwrap();
    load_settings(&places).unwrap();
    let before = (file(&places.admin_rules()), file(&places.settings()));
    let again = import(root.path(), kind, name, more);
    assert_eq!(again.exit, screen.exit, "{name}: {}", again.err);
    let imports = |line: &str| line.split_whitespace().nth(1) == Some("imported");
    assert!(!again.out.lines().any(imports), "{name}: {}", again.out);
    assert_eq!(
        before,
        (file(&places.admin_rules()), file(&places.settings()))
    );
    screen.exit
}

#[test]
fn listings_of_esxi_are_imported() {
    for (name, exit) in [
        ("esx-4.1.txt", Exit::Ok),
        ("esx-5.5.txt", Exit::Ok),
        ("esx-6.7.txt", Exit::Partly),
        ("esx-7.0.txt", Exit::Ok),
        ("esx-8.0.txt", Exit::Partly),
        ("satp-rules.csv", Exit::Ok),
        ("satp-rules.keyvalue", Exit::Ok),
        ("claimrules.xml", Exit::Ok),
        ("claimrules.json", Exit::Ok),
        ("powercli.json", Exit::Partly),
        ("damaged.txt", Exit::Partly),
        ("satp-list.txt", Exit::Partly),
        ("nmp-device-list.list", Exit::Partly),
        ("powercli-devices.csv", Exit::Ok),
        ("powercli-satp.list", Exit::Ok),
    ] {
        assert_eq!(holds("esxcli", name, "", &[]), exit, "{name}");
    }
    let all = ["--system", "--force-reserved", "--force"];
    assert_eq!(holds("esxcli", "esx-4.1.txt", ".all", &all), Exit::Ok);
    assert_eq!(holds("esxcli", "esx-8.0.txt", ".all", &all), Exit::Ok);
}

#[test]
fn configurations_of_multipath_tools_are_imported() {
    for (name, exit) in [
        ("netapp.conf", Exit::Partly),
        ("pure.conf", Exit::Partly),
        ("dell-emc.conf", Exit::Partly),
        ("hpe-3par.conf", Exit::Partly),
        ("blacklist.conf", Exit::Partly),
        ("allow-list.conf", Exit::Partly),
        ("no-equivalent.conf", Exit::Partly),
        ("multipaths.conf", Exit::Partly),
        ("overrides.conf", Exit::Partly),
        ("wrong-brace.conf", Exit::Partly),
        ("wrong-quote.conf", Exit::Ok),
        ("wrong-close.conf", Exit::Ok),
        ("wrong-typography.conf", Exit::Ok),
        ("overrides-wait.conf", Exit::Ok),
        ("defaults-fail.conf", Exit::Ok),
        ("blacklist-and-device.conf", Exit::Ok),
        ("blacklist-and-device-equal.conf", Exit::Ok),
        ("blacklist-2145.conf", Exit::Ok),
        ("const-no-detect.conf", Exit::Ok),
        ("sections-merge.conf", Exit::Ok),
        ("brace-next-line.conf", Exit::Ok),
        ("extra-brace.conf", Exit::Ok),
        ("one-line.conf", Exit::Partly),
        ("devnode-sd.conf", Exit::Ok),
        ("old-keywords.conf", Exit::Ok),
        ("vdsm.conf", Exit::Ok),
        ("latin.conf", Exit::Ok),
        ("except-arrays.conf", Exit::Ok),
    ] {
        assert_eq!(holds("multipath", name, "", &[]), exit, "{name}");
    }
    for name in ["blacklist.conf", "allow-list.conf"] {
        assert_eq!(
            holds("multipath", name, ".mask", &["--mask"]),
            Exit::Partly,
            "{name}"
        );
    }
    let all = ["--mask", "--force"];
    assert_eq!(
        holds("multipath", "allow-list.conf", ".force", &all),
        Exit::Partly
    );
}

/// The names that multipath-tools gave to devices are the names of their maps here, too.
#[test]
fn aliases_and_bindings_are_imported() {
    let root = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let naa = |n: u32| format!("600a098038304437415d4b6a5968{n:04}");
    let (a, b, c, d) = (naa(1), naa(2), naa(3), naa(4));
    let multipaths = format!(
        "multipaths {{
            multipath {{\n wwid 3{a}\n alias data\n }}
            multipath {{\n wwid 3{b}\n alias data\n }}
            multipath {{\n wwid 3{c}\n alias a/b\n }}
        }}"
    );
    let bindings = write(
        "bindings",
        &format!(
            "# Multipath bindings, Version : 1.0\n\nmpatha 3{a}\nmpathb 3{d}\nmpathb 3{b}\nmpathc\nmpathd 1ATA_X_1\n"
        ),
    );
    let conf = |friendly: &str| {
        let text = format!("defaults {{\n user_friendly_names {friendly}\n}}\n{multipaths}\n");
        write(&format!("{friendly}.conf"), &text)
    };
    let outcomes = |screen: &Screen| -> Vec<String> {
        let lines = screen.out.lines().filter(|line| line.contains("bind"));
        let outcome = |line: &str| {
            line.get(6..)
                .unwrap()
                .split("  ")
                .next()
                .unwrap()
                .to_owned()
        };
        lines.map(outcome).collect()
    };

    // Without user_friendly_names, multipath-tools does not read the bindings.
    let no = conf("no");
    let words = ["import", "multipath", &no, "--bindings", &bindings];
    let screen = psactl_below(root.path(), [&words[..], &["--dry-run"]].concat());
    assert_eq!(screen.exit, Exit::Partly, "{}", screen.err);
    assert!(
        screen.out.contains("map_names = \"wwid\""),
        "{}",
        screen.out
    );
    assert_eq!(outcomes(&screen), ["left out"; 5], "{}", screen.out);

    let yes = conf("yes");
    let words = ["import", "multipath", &yes, "--bindings", &bindings];
    let screen = psactl_below(root.path(), words.to_vec());
    assert_eq!(screen.exit, Exit::Partly, "{}", screen.err);
    assert_eq!(
        outcomes(&screen),
        ["left out", "imported", "left out", "left out", "refused"],
        "{}",
        screen.out
    );
    let settings = load_settings(&Places::below(root.path())).unwrap();
    assert_eq!(settings.map_names, MapNames::Mpath);
    let named: Vec<(String, Option<&str>)> = settings
        .device
        .iter()
        .map(|(id, device)| (id.to_string(), device.map_name.as_deref()))
        .collect();
    assert_eq!(
        named,
        [
            (format!("naa.{a}"), Some("data")),
            (format!("naa.{d}"), Some("mpathb"))
        ]
    );
    // A second import changes nothing.
    let file = file(&Places::below(root.path()).settings());
    psactl_below(root.path(), words.to_vec());
    assert_eq!(self::file(&Places::below(root.path()).settings()), file);
}

/// The line numbers that a plan reports.
fn remarked(plan: &Plan) -> BTreeSet<usize> {
    plan.entries.iter().map(|entry| entry.line).collect()
}

#[test]
fn no_keyword_of_a_configuration_is_dropped() {
    for name in inputs("conf") {
        let bytes = std::fs::read(golden_file(&format!("import/{name}"))).unwrap();
        let input = text::of(bytes).unwrap();
        let plan = multipath::plan(&input, &BUILT_IN, SettingsFile::default(), PLAIN).unwrap();
        let remarked = remarked(&plan);
        for (line, text) in (1..).zip(input.lines()) {
            let bare = text.trim();
            let is_layout = bare.is_empty() || bare.starts_with(['#', '!']) || bare == "}";
            let is_outermost = text.ends_with(" {") && !text.starts_with([' ', '\t']);
            assert!(
                remarked.contains(&line) || is_layout || is_outermost,
                "{name}: line {line} is dropped: {text}"
            );
        }
    }
}

#[test]
fn no_line_of_a_table_is_dropped() {
    for name in inputs("txt") {
        let input = file(&golden_file(&format!("import/{name}")));
        let plan = esxcli::plan(&input, &BUILT_IN, esxcli::Wanted::default()).unwrap();
        let remarked = remarked(&plan);
        let words = |text: &str| -> Vec<String> {
            let words = text.split_whitespace();
            words.map(str::to_owned).collect()
        };
        let lines: Vec<Vec<String>> = input.lines().map(words).collect();
        for (line, words) in (1..).zip(&lines) {
            let first = words.first().map_or("", String::as_str);
            let is_layout = matches!(first, "" | "Rule" | "Name") || first.starts_with("---");
            // A loaded rule has two lines, and is reported with that of the file list.
            let is_loaded = (1..).zip(&lines).any(|(at, other)| {
                let twin = words.get(..2) == other.get(..2);
                twin && words.get(2).is_some_and(|class| class == "runtime")
                    && at != line
                    && remarked.contains(&at)
            });
            assert!(
                remarked.contains(&line) || is_layout || is_loaded,
                "{name}: line {line} is dropped: {words:?}"
            );
        }
    }
}

/// The inputs in `tests/golden/import/` with this suffix.
fn inputs(ending: &str) -> Vec<String> {
    let files = std::fs::read_dir(golden_file("import")).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names
        .filter(|name| name.ends_with(&format!(".{ending}")))
        .collect();
    assert!(names.len() > 4, "{names:?}");
    names
}

#[test]
fn standard_input_can_be_imported() {
    let root = tempfile::tempdir().unwrap();
    let mut psactl = Command::new(env!("CARGO_BIN_EXE_psactl"))
        .args(["import", "esxcli", "-", "--root"])
        .arg(root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let listing = std::fs::read(golden_file("import/esx-5.5.txt")).unwrap();
    psactl.stdin.take().unwrap().write_all(&listing).unwrap();
    assert!(psactl.wait().unwrap().success());
    assert!(file(&Places::below(root.path()).admin_rules()).contains("COMSTAR"));
}

#[test]
fn input_that_cannot_be_read_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (kind, file, part) in [
        (
            "esxcli",
            root.path().join("none").to_str().unwrap().to_owned(),
            "cannot be read",
        ),
        (
            "esxcli",
            at("binary", b"\x7fELF\xff"),
            "not valid UTF-8 from byte 4 on",
        ),
        (
            "esxcli",
            at("prose", b"hello\n"),
            "this is not a listing of rules",
        ),
        (
            "esxcli",
            at("xml", b"<output>\n<list>\n"),
            "it ends within the element `list`",
        ),
        ("esxcli", at("json", b"[\n{\n"), "line 3"),
        (
            "esxcli",
            at("csv", b"Name,Vendor,Model,Claim Options\nX,\"V\n"),
            "line 2: the quote",
        ),
        (
            "multipath",
            at("conf", &b"\n".repeat(50_001)),
            "at most 50000 lines",
        ),
    ] {
        let screen = psactl_below(root.path(), ["import", kind, &file]);
        assert_eq!(
            (screen.exit, screen.out.as_str()),
            (Exit::Failed, ""),
            "{file}"
        );
        assert!(screen.err.contains(part), "{}", screen.err);
        assert!(
            screen.err.contains("nothing was imported"),
            "{}",
            screen.err
        );
        assert!(!Places::below(root.path()).admin_rules().exists());
    }
}

#[test]
fn existing_rules_and_settings_stay() {
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    let rules = "\
# Ours, since 2019.
[[claimrule]]
rule = 109 # never touch it
type = \"transport\"
plugin = \"NMP\"
transport = \"fc\"

[default-psp]
VMW_SATP_ALUA = \"VMW_PSP_FIXED\" # on purpose
";
    let settings = "check_interval_ms = 3000 # on purpose\n";
    store::replace(&places.admin_rules(), rules.as_bytes()).unwrap();
    store::replace(&places.settings(), settings.as_bytes()).unwrap();
    let screen = import(root.path(), "esxcli", "esx-5.5.txt", &[]);
    assert_eq!(screen.exit, Exit::Partly);
    assert!(
        screen
            .out
            .contains("MP rule 109 already exists here and differs (transport=fc, NMP)"),
        "{}",
        screen.out
    );
    let screen = import(root.path(), "multipath", "no-equivalent.conf", &[]);
    assert!(
        screen.out.contains("check_timeout_ms = 90000"),
        "{}",
        screen.out
    );
    let screen = import(root.path(), "esxcli", "satp-list.txt", &[]);
    let part =
        "the default PSP of VMW_SATP_ALUA is already set to VMW_PSP_FIXED here, and is not changed";
    assert!(screen.out.contains(part), "{}", screen.out);
    let screen = import(root.path(), "multipath", "pure.conf", &[]);
    assert!(
        screen
            .out
            .contains("check_interval_ms is already 3000 in dm-psa.toml, and is not changed"),
        "{}",
        screen.out
    );
    let text = file(&places.admin_rules());
    for line in rules.lines() {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(file(&places.settings()).starts_with(settings));
    assert_eq!(load_settings(&places).unwrap().check_timeout_ms.0, 90_000);
}

#[test]
fn a_damaged_file_of_ours_is_not_touched() {
    for place in ["rules.toml", "dm-psa.toml"] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("etc/dm-psa").join(place);
        store::replace(&path, b"[[\n").unwrap();
        let screen = import(root.path(), "multipath", "multipaths.conf", &[]);
        assert_eq!(screen.exit, Exit::Failed);
        assert!(screen.err.contains(place), "{}", screen.err);
        assert_eq!(file(&path), "[[\n");
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }
}

#[test]
fn the_report_can_be_json() {
    let root = tempfile::tempdir().unwrap();
    let screen = import(
        root.path(),
        "multipath",
        "pure.conf",
        &["--dry-run", "--formatter=json"],
    );
    let report: Vec<serde_json::Value> = serde_json::from_str(&screen.out).unwrap();
    assert_eq!(report[0]["Line"], 2);
    assert_eq!(report[0]["Result"], "imported");
    assert_eq!(report[0]["Subject"], "defaults polling_interval 10");
    assert_eq!(report[0]["Detail"], "check_interval_ms = 10000");
}

#[test]
fn a_value_out_of_its_range_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let conf = root.path().join("conf");
    let text =
        "defaults {\n polling_interval 100000\n checker_timeout x\n no_path_retry 4000000000\n}\n";
    std::fs::write(&conf, text).unwrap();
    let screen = psactl_below(root.path(), ["import", "multipath", conf.to_str().unwrap()]);
    assert_eq!(screen.exit, Exit::Partly);
    for part in [
        "check_interval_ms = 100000000 is out of range: use 100 to 86400000",
        "multipath-tools accepts a number of seconds and ignores this value",
        "[unlisted_device] apd_timeout_ms = 99999000",
    ] {
        assert!(screen.out.contains(part), "{part}: {}", screen.out);
    }
    let settings = load_settings(&Places::below(root.path())).unwrap();
    let unlisted = settings.unlisted_device.apd_timeout_ms;
    assert_eq!(unlisted.map(|ms| ms.0), Some(99_999_000));
    assert_eq!(settings.check_interval_ms.0, 5_000);
}

/// More rules than a host has: as many as there are numbers.
#[test]
fn as_many_rules_as_there_are_numbers_are_imported() {
    let row = |number: u32| {
        format!(
            "structure[{number}].X.Rule.integer={number}\nstructure[{number}].X.Class.string=file\nstructure[{number}].X.Type.string=driver\nstructure[{number}].X.Plugin.string=NMP\nstructure[{number}].X.Matches.string=driver=d{number}\n"
        )
    };
    let claim: String = (102..=65_435).map(row).collect();
    let satp: String = std::iter::once("Name,Vendor,Model,Rule Group,Claim Options\n".to_owned())
        .chain((0..20_000).map(|n| format!("VMW_SATP_ALUA,V{},M{n},user,tpgs_on\n", n % 99)))
        .collect();
    let start = std::time::Instant::now();
    assert_eq!(imported(&claim).claim_rules.len(), 65_334);
    println!("65334 claim rules: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    assert_eq!(imported(&satp).satp_rules.len(), 20_000);
    println!("20000 SATP rules: {:?}", start.elapsed());
}

#[test]
fn both_imports_are_in_the_help() {
    let words = |name: &'static str| vec!["import", name];
    for name in ["esxcli", "multipath"] {
        assert!(verbs::verbs().any(|verb| verb.words == words(name) && !verb.legacy));
    }
}

// ---- round trips --------------------------------------------------------------------------------------------

const FORMATS: [Format; 6] = [
    Format::Table,
    Format::List,
    Format::Json,
    Format::Csv,
    Format::Xml,
    Format::Keyvalue,
];

/// Text that a rule may contain. A table does not show blanks at the end of a value, and the column Matches is parsed
/// by its `key=`.
fn words() -> impl Strategy<Value = String> {
    "[ A-Za-z0-9,;\"'<>&#!|()\\[\\]{}./\\\\äß€_-]{0,14}[A-Za-z0-9,\"'>)ä_]"
        .prop_filter("bytes of INQUIRY have a form of their own", |text| {
            !text.starts_with("inq_data")
        })
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9_,\"<& -]{0,12}[A-Za-z0-9]"
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        1 => Just("*".to_owned()),
        4 => words(),
        1 => words().prop_map(|text| format!("^{text}*")),
        1 => Just("inq_data[110]={0x70 0x6a}".to_owned()),
    ]
    .prop_map(|text| Pattern::parse(&text).unwrap())
}

fn matches() -> impl Strategy<Value = Match> {
    let number = || prop::option::of(0u32..70_000);
    let pci = (pattern(), pattern())
        .prop_map(|(vendor, sub_vendor)| PciIds { vendor, sub_vendor })
        .prop_filter("what is for any device is not written", |ids| {
            !(ids.vendor.is_any() && ids.sub_vendor.is_any())
        });
    let lun = || prop::option::of(any::<u64>());
    prop_oneof![
        (pattern(), pattern(), prop::option::of(pci))
            .prop_map(|(vendor, model, pci)| Match::Vendor { vendor, model, pci }),
        pattern().prop_map(Match::NvmeController),
        (number(), number(), number(), lun()).prop_map(|(adapter, channel, target, lun)| {
            Match::Location {
                adapter,
                channel,
                target,
                lun,
            }
        }),
        prop::sample::select(Transport::ALL).prop_map(Match::Transport),
        words().prop_map(Match::Driver),
        words().prop_map(|id| Match::Device(id.into())),
        ("[0-9a-f]{16}", "[0-9a-f]{16}", lun()).prop_map(|(wwnn, wwpn, lun)| Match::Target {
            port: TargetPort::Fc { wwnn, wwpn },
            lun,
        }),
        (words(), lun()).prop_map(|(iqn, lun)| Match::Target {
            port: TargetPort::Iscsi { iqn },
            lun,
        }),
    ]
}

prop_compose! {
    fn claim_rule()(
        class in prop::sample::select(RuleClass::ALL.to_vec()),
        number in 0u32..65_535,
        matches in matches(),
        plugin in name(),
        config in prop_oneof![Just(String::new()), words()],
        xcopy in any::<(bool, bool, u32)>(),
    ) -> Rule {
        let (use_array_values, use_multi_segs, max_transfer_kib) = xcopy;
        let xcopy = Xcopy {
            use_array_values,
            use_multi_segs: use_multi_segs && use_array_values,
            max_transfer_kib,
        };
        Rule {
            config,
            class,
            xcopy: if class == RuleClass::VAAI { xcopy } else { Xcopy::default() },
            ..Rule::new(number, matches, &plugin)
        }
    }
}

/// A file list without two rules of one number, and without rules of the system.
fn claim_rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(claim_rule(), 0..12).prop_map(|rules| {
        let mut seen = BTreeSet::new();
        let free = |rule: &Rule| BUILT_IN.lists.system.get(rule.class, rule.number).is_none();
        let mut rules: Vec<Rule> = rules
            .into_iter()
            .filter(|rule| free(rule) && seen.insert(rule.key()))
            .collect();
        let place = |class| RuleClass::ALL.iter().position(|c| *c == class);
        rules.sort_by_key(|rule| (place(rule.class), rule.number));
        rules
    })
}

prop_compose! {
    fn satp_rule()(
        satp in prop_oneof![Just("VMW_SATP_ALUA".to_owned()), name()],
        what in 0..4,
        strings in (prop::option::of(pattern()), prop::option::of(pattern())),
        one in words(),
        transport in prop::option::of(prop::sample::select(Transport::ALL)),
        texts in prop::array::uniform4(prop_oneof![Just(String::new()), words()]),
        psp in prop::option::of(name()),
    ) -> SatpRule {
        let [claim_options, options, psp_options, description] = texts;
        let (vendor, model) = if what < 2 { strings } else { (None, None) };
        SatpRule {
            satp,
            device: (what == 2).then(|| one.as_str().into()),
            driver: (what == 3).then_some(one),
            vendor,
            model,
            transport,
            claim_options,
            options,
            psp,
            psp_options,
            description,
            group: Group::User,
        }
    }
}

/// User rules in the order of `satp rule list`, no two of them equal.
fn satp_rules() -> impl Strategy<Value = Vec<SatpRule>> {
    prop::collection::vec(satp_rule(), 0..12).prop_map(|rules| {
        let mut rules = rules;
        rules.sort_by_key(|rule| (rule.satp != "VMW_SATP_ALUA", rule.satp.clone()));
        let mut seen = BTreeSet::new();
        rules.retain(|rule| {
            let plain = SatpRule {
                description: String::new(),
                ..rule.clone()
            };
            seen.insert(format!("{plain:?}"))
        });
        rules
    })
}

/// The import without options.
const PLAIN: multipath::Wanted = multipath::Wanted {
    mask: false,
    force: false,
};

/// All lists are wanted.
const ALL: esxcli::Wanted = esxcli::Wanted {
    system: true,
    may: Permission {
        reserved: true,
        force: true,
    },
};

fn imported(text: &str) -> Plan {
    let plan = esxcli::plan(text, &BUILT_IN, ALL).unwrap_or_else(|why| panic!("{why}: {text}"));
    assert_eq!(plan.refused(), 0, "{:#?}\n{text}", plan.entries);
    plan
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn claim_rules_round_trip_in_any_format(rules in claim_rules()) {
        let system = BUILT_IN.lists.system.iter().map(|rule| (rule.clone(), true));
        let lines: Vec<ClaimRuleLine> = system
            .chain(rules.iter().map(|rule| (rule.clone(), false)))
            .map(|(rule, runtime)| ClaimRuleLine { rule, runtime })
            .collect();
        for format in FORMATS {
            let text = render(&listing(&lines), Some(format), false);
            prop_assert_eq!(&imported(&text).claim_rules, &rules, "{:?}", format);
        }
    }

    #[test]
    fn satp_rules_round_trip_in_any_format(rules in satp_rules()) {
        let all: Vec<SatpRule> = BUILT_IN.satp.iter().cloned().chain(rules.iter().cloned()).collect();
        for format in FORMATS {
            let text = render(&listing(&all), Some(format), false);
            prop_assert_eq!(&imported(&text).satp_rules, &rules, "{:?}", format);
        }
    }
}

proptest! {
    // Each case writes a dozen files and waits for the disk.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_identical_after_an_import(claim in claim_rules(), satp in satp_rules()) {
        let there = tempfile::tempdir().unwrap();
        let mut edit = Edit::open(&Places::below(there.path()).admin_rules()).unwrap();
        for rule in &claim {
            edit.add_claim_rule(rule).unwrap();
        }
        for rule in &satp {
            edit.add_satp_rule(rule).unwrap();
        }
        edit.save().unwrap();
        for format in ["table", "list", "json", "csv", "xml", "keyvalue"] {
            let here = tempfile::tempdir().unwrap();
            for list in ["core claimrule list", "nmp satp rule list"] {
                let words = |format: &str| {
                    let option = format!("--formatter={format}");
                    let list = list.split(' ').map(str::to_owned);
                    std::iter::once(option).chain(list).collect::<Vec<_>>()
                };
                let screen = psactl_below(there.path(), words(format));
                prop_assert_eq!(screen.exit, Exit::Ok);
                let copy = here.path().join("copy");
                std::fs::write(&copy, &screen.out).unwrap();
                let import = ["import", "esxcli", copy.to_str().unwrap(), "--force", "--force-reserved", "--system"];
                let said = psactl_below(here.path(), import);
                prop_assert_eq!(said.exit, Exit::Ok, "{}{}", said.out, said.err);
                let json = psactl_below(there.path(), words("json"));
                prop_assert_eq!(&json.out, &psactl_below(here.path(), words("json")).out);
            }
        }
    }
}

// ---- any text -----------------------------------------------------------------------------------------------

/// Plans an import of a text as each kind, and checks that files can hold the plan.
fn any_text(input: &str) {
    for wanted in [esxcli::Wanted::default(), ALL] {
        if let Ok(plan) = esxcli::plan(input, &BUILT_IN, wanted) {
            holds_together(&plan);
        }
    }
    for (mask, force) in [(false, false), (true, false), (true, true)] {
        let wanted = multipath::Wanted { mask, force };
        let plan = multipath::plan(input, &BUILT_IN, SettingsFile::default(), wanted);
        if let Ok(plan) = plan {
            holds_together(&plan);
        }
    }
}

fn holds_together(plan: &Plan) {
    let text = schema::write_claim_rules(plan.claim_rules.iter());
    assert_eq!(schema::parse(&text).unwrap().claim_rules, plan.claim_rules);
    for rule in &plan.satp_rules {
        assert_eq!(rule.check(), Ok(()));
    }
    let mut settings = SettingsFile::default();
    for (key, setting) in &plan.settings {
        settings.set(key, setting).unwrap();
    }
    let is_empty =
        plan.claim_rules.is_empty() && plan.satp_rules.is_empty() && plan.settings.is_empty();
    let is_imported = plan
        .entries
        .iter()
        .any(|entry| entry.outcome == Outcome::Imported);
    // An entry that is imported in part counts as refused, and names the setting.
    let is_named = |key: &Key| {
        let entries = plan.entries.iter();
        entries
            .filter(|entry| entry.outcome == Outcome::Refused)
            .any(|entry| entry.detail.contains(&key.to_string()))
    };
    let in_part = plan.claim_rules.is_empty()
        && plan.satp_rules.is_empty()
        && plan.settings.keys().all(is_named);
    assert!(
        is_empty || is_imported || in_part,
        "{:#?}: {:#?}",
        plan.settings,
        plan.entries
    );
    assert!(plan.entries.is_sorted_by_key(|entry| entry.line));
}

static INPUTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let files = std::fs::read_dir(golden_file("import")).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    paths
        .filter_map(|path| text::of(std::fs::read(path).unwrap()).ok())
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(text) = text::of(bytes) {
            any_text(&text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "([ \\t\\n{}\"#!|,=\\[\\]<>:-]|[a-z]{1,4}|Rule|Name|Matches|ä){0,80}") {
        any_text(&text);
    }

    /// Any entry of a section is reported, known or not, with a value or without.
    #[test]
    fn each_keyword_is_reported(
        outer in prop::sample::select(vec![
            "defaults", "overrides", "devices", "multipaths", "blacklist", "blacklist_exceptions", "other",
        ]),
        inner in prop::sample::select(vec!["", "device", "multipath", "protocol", "other"]),
        keywords in prop::collection::vec((
            prop::sample::select(vec![
                "vendor", "product", "revision", "wwid", "alias", "devnode", "property", "protocol", "type",
                "path_grouping_policy", "path_selector", "prio", "path_checker", "hardware_handler", "features",
                "failback", "no_path_retry", "polling_interval", "checker_timeout", "rr_min_io", "dev_loss_tmo",
                "user_friendly_names", "product_blacklist", "no_such_keyword",
            ]),
            prop::sample::select(vec![
                "", "\"\"", "yes", "no", "5", "queue", "fail", "alua", "\"1 alua\"", "\"1 rdac\"", "multibus",
                "failover", "NETAPP", "\"LUN.*\"", "PURE", "\".*\"", "\"!x\"", "(a|b", "round-robin 0",
                "\"service-time 0\"", "3600a098038304437415d4b6a59684a52", "scsi:fcp", "\"^sd[a-z]\"",
                "\"1 queue_if_no_path\"",
            ]),
        ), 0..8),
        mask in any::<bool>(),
    ) {
        let keyword = |(name, value): &(&str, &str)| format!("{name} {value}\n");
        let body: String = keywords.iter().map(keyword).collect();
        let text = match inner {
            "" => format!("{outer} {{\n{body}}}\n"),
            inner => format!("{outer} {{\n{inner} {{\n{body}}}\n}}\n"),
        };
        let wanted = multipath::Wanted { mask, force: false };
        let plan = multipath::plan(&text, &BUILT_IN, SettingsFile::default(), wanted).unwrap();
        let remarked = remarked(&plan);
        let first = if inner.is_empty() { 2 } else { 3 };
        for line in first..first + keywords.len() {
            prop_assert!(remarked.contains(&line), "line {} of {}: {:#?}", line, text, plan.entries);
        }
        holds_together(&plan);
    }

    #[test]
    fn no_damage_makes_it_panic(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[ -~\\n\\t€]{0,3}"), 1..6),
    ) {
        let mut chars: Vec<char> = which.get(&INPUTS).chars().collect();
        for (at, gone, new) in damage {
            let at = at.index(chars.len() + 1);
            let end = (at + gone).min(chars.len());
            chars.splice(at..end, new.chars());
        }
        any_text(&chars.into_iter().collect::<String>());
    }
}
