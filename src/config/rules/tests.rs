//! Tests of the merged rule files.

use super::edit::Edit;
use super::*;
use crate::psa::claim::lists::Permission;
use crate::psa::claim::{Rule, RuleClass};
use crate::psa::psp::PspKind;
use proptest::prelude::*;

fn files(root: &tempfile::TempDir, admin: &str) -> Result<RuleFiles, ConfigError> {
    let places = Places::below(root.path());
    store::replace(&places.admin_rules(), admin.as_bytes()).unwrap();
    load(&places)
}

#[test]
fn our_own_files_are_valid() {
    for (name, text) in EMBEDDED {
        schema::parse(text).unwrap_or_else(|why| panic!("rules/{name}: {why}"));
    }
    let files = built_in();
    for rule in files.lists.system.iter() {
        let remarks = rule.remarks();
        assert!(remarks.is_empty() || rule.plugin == "HPP", "{remarks:?}");
    }
    for rule in &files.satp {
        let text: Vec<String> = rule.remarks();
        let fine = |line: &String| {
            line.contains("has no VMW_SATP_") || line.contains("changes path with every I/O")
        };
        assert!(text.iter().all(fine), "{rule}: {text:?}");
    }
}

#[test]
fn rules_of_the_admin_precede_system_rules() {
    let root = tempfile::tempdir().unwrap();
    let admin = "\
[[claimrule]]
rule = 500
type = \"vendor\"
vendor = \"DGC\"
plugin = \"MASK_PATH\"

[[satprule]]
satp = \"VMW_SATP_DEFAULT_AA\"
vendor = \"PURE\"
model = \"FlashArray\"

[default-psp]
VMW_SATP_ALUA = \"VMW_PSP_RR\"
";
    let mut files = files(&root, admin).unwrap();
    assert_eq!(files.lists.file.iter().count(), 1);
    assert_eq!(files.lists.loaded.iter().count(), 0, "not loaded yet");
    let rules = files.satp_rules();
    let first = |rules: &SatpRules| {
        let pure = |r: &&SatpRule| r.vendor.as_ref().is_some_and(|v| v.as_str() == "PURE");
        rules.rules().iter().find(pure).unwrap().satp.clone()
    };
    assert_eq!(first(&rules), "VMW_SATP_DEFAULT_AA");
    assert_eq!(
        rules.default_psp("VMW_SATP_ALUA"),
        Some(PspKind::RoundRobin)
    );
    files.lists.load(None);
    assert!(
        files
            .in_force()
            .claim
            .rules()
            .iter()
            .any(|r| r.number == 500)
    );
}

#[test]
fn the_first_start_loads_and_a_later_one_does_not() {
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    let rule = |n: u32| {
        format!("[[claimrule]]\nrule = {n}\ntype = \"driver\"\ndriver = \"x\"\nplugin = \"NMP\"\n")
    };
    store::replace(&places.admin_rules(), rule(300).as_bytes()).unwrap();
    let numbers =
        |files: &RuleFiles| -> Vec<u32> { files.lists.loaded.iter().map(|r| r.number).collect() };
    let (first, problems) = start(&places);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(numbers(&first), [300]);
    store::replace(&places.admin_rules(), rule(301).as_bytes()).unwrap();
    assert_eq!(numbers(&start(&places).0), [300]);
    // With a damaged file, the loaded list stays and the place of the mistake is reported.
    store::replace(
        &places.admin_rules(),
        b"[[claimrule]]\nrule = 5\ntype = \"drivr\"\n",
    )
    .unwrap();
    let (kept, problems) = start(&places);
    assert_eq!(numbers(&kept), [300]);
    assert_eq!(kept.satp, built_in().satp);
    let problem_text = problems[0].to_string();
    assert!(
        problem_text.contains("rules.toml: line 1") && problem_text.contains("drivr"),
        "{problem_text}"
    );
}

/// After a reboot no loaded list exists: all rules but the ones with mistakes come into force.
#[test]
fn an_invalid_rule_affects_no_other() {
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    let admin = "\
[[claimrule]]
rule = 300
type = \"location\"
plugin = \"MASK_PATH\"
adapter = \"vmhba2\"
namespace = 7

[[claimrule]]
rule = 301
type = \"location\"
plugin = \"MASK_PATH\"
adapter = \"vmhba2\"
lun = 20

[[satprule]]
satp = \"VMW_SATP_ALUA\"
vendor = \"ACME\"

[[satprule]]
satp = \"VMW_SATP_ALUA\"
vendor = \"NEWER\"
pool = \"x\"

[default-psp]
VMW_SATP_ALUA = \"VMW_PSP_NEW\"
VMW_SATP_SYMM = \"VMW_PSP_RR\"

[newer-section]
a = 1
";
    store::replace(&places.admin_rules(), admin.as_bytes()).unwrap();
    let vendor =
        "[[satprule]]\nsatp = 5\n[[satprule]]\nsatp = \"VMW_SATP_ALUA\"\nvendor = \"BRAND\"\n";
    store::replace(&places.system_rules().join("brand.toml"), vendor.as_bytes()).unwrap();
    let (files, problems) = start(&places);
    let numbers: Vec<u32> = files.lists.loaded.iter().map(|rule| rule.number).collect();
    assert_eq!(numbers, [301]);
    let has = |name: &str| {
        let named = |rule: &SatpRule| rule.vendor.as_ref().is_some_and(|v| v.as_str() == name);
        files.satp.iter().any(named)
    };
    assert!(has("ACME") && has("BRAND") && !has("NEWER"));
    assert_eq!(files.default_psps["VMW_SATP_SYMM"], PspKind::RoundRobin);
    assert!(!files.default_psps.contains_key("VMW_SATP_ALUA"));
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for part in [
        "rules.toml: line 6: unknown field `namespace`",
        "rules.toml: line 22: unknown field `pool`",
        "rules.toml: line 25: there is no PSP VMW_PSP_NEW",
        "rules.toml: line 28: unknown field `newer-section`",
        "brand.toml: line 2: ",
    ] {
        let found = texts.iter().any(|text| text.contains(part));
        assert!(found, "{part}: {texts:#?}");
    }
    assert_eq!(texts.len(), 5, "{texts:#?}");
    // The loaded list was not stored: once corrected, all rules are in force.
    let text = admin.replace("namespace = 7\n", "");
    store::replace(&places.admin_rules(), text.as_bytes()).unwrap();
    assert_eq!(start(&places).0.lists.loaded.iter().count(), 2);
    // Loading the files by hand fails.
    let error = load(&places).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn vendors_can_add_files() {
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    let text = "[[satprule]]\nsatp = \"VMW_SATP_ALUA\"\nvendor = \"ACME\"\n";
    store::replace(&places.system_rules().join("acme.toml"), text.as_bytes()).unwrap();
    let files = load(&places).unwrap();
    let last = files.satp.last().unwrap();
    assert_eq!(
        (last.vendor.as_ref().unwrap().as_str(), last.group),
        ("ACME", Group::System)
    );
}

#[test]
fn a_system_rule_can_be_removed_until_reboot() {
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    let before = load(&places).unwrap().satp;
    let gone = before[7].clone();
    let mut edit = Edit::open(&places.boot_rules()).unwrap();
    edit.note_removed_satp_rule(&gone).unwrap();
    edit.save().unwrap();
    let after = load(&places).unwrap().satp;
    assert_eq!(after.len() + 1, before.len());
    assert!(!after.contains(&gone));
}

/// Any rule that can be written to a file.
fn rules() -> impl Strategy<Value = Rule> {
    let name = "[A-Za-z0-9][A-Za-z0-9 ./_-]{0,14}[A-Za-z0-9]";
    let matches = prop_oneof![
        (name, name).prop_map(|(v, m)| format!("vendor={v} model={m}")),
        name.prop_map(|v| format!("vendor={v} model=*")),
        name.prop_map(|m| format!("vendor=* model=^{m}*")),
        (0u32..9, 0u64..300)
            .prop_map(|(a, l)| format!("adapter=vmhba{a} channel=* target=0 lun={l}")),
        prop::sample::select(vec!["fc", "iscsi", "sas", "usb"])
            .prop_map(|t| format!("transport={t}")),
        "[a-z0-9_]{1,9}".prop_map(|d| format!("driver={d}")),
        "naa\\.[0-9a-f]{16}".prop_map(|d| format!("device={d}")),
        "iqn\\.[a-z:.]{1,20}".prop_map(|i| format!("transport=iscsi iqn={i} lun=*")),
    ];
    let plugin = prop::sample::select(vec!["NMP", "MASK_PATH", "HPP"]);
    let class = prop::sample::select(RuleClass::ALL.to_vec());
    (matches, plugin, class, 101u32..140).prop_map(|(matches, plugin, class, number)| Rule {
        class,
        ..Rule::new(number, matches.parse().unwrap(), plugin)
    })
}

proptest! {
    #[test]
    fn lists_obey_their_algebra(rules in prop::collection::vec(rules(), 0..30)) {
        let mut lists = built_in().lists;
        let system = lists.system.clone();
        let may = Permission { reserved: true, force: true };
        for rule in &rules {
            let before = lists.clone();
            let known = lists.file.get(rule.class, rule.number).is_some()
                || lists.system.get(rule.class, rule.number).is_some();
            prop_assert_eq!(lists.add(rule.clone(), may).is_err(), known);
            if known {
                prop_assert_eq!(&lists, &before, "a refused change changes nothing");
            } else {
                // Adding and then removing restores the previous lists.
                let mut undone = lists.clone();
                undone.remove(rule.class, rule.number).unwrap();
                prop_assert_eq!(undone, before);
            }
        }
        // Loading is idempotent, does not change the system rules, and affects only the requested class.
        let mut one_by_one = lists.clone();
        for class in RuleClass::ALL {
            one_by_one.load(Some(class));
        }
        lists.load(None);
        prop_assert_eq!(&one_by_one, &lists);
        prop_assert_eq!(&lists.loaded, &lists.file);
        prop_assert_eq!(&lists.system, &system);
        lists.load(None);
        prop_assert_eq!(&one_by_one, &lists);
        // Reading returns what was written.
        let text = schema::write_claim_rules(lists.loaded.iter());
        let read = RuleList::new(schema::parse(&text).unwrap().claim_rules);
        prop_assert_eq!(&read, &lists.loaded);
        for rule in lists.loaded.iter() {
            prop_assert_eq!(&rule.matches.to_string().parse::<crate::psa::claim::Match>().unwrap(), &rule.matches);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}", key in "[a-z-]{0,12}") {
        let _ = schema::parse(&text);
        let _ = schema::parse(&format!("[[claimrule]]\n{key} = {text}\n"));
        let _ = schema::parse(&format!("[[satprule]]\nvendor = '{text}'\n"));
        let _ = text.parse::<crate::psa::claim::Match>();
    }
}
