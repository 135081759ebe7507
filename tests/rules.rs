//! Rules decide: each array family gets its plug-in, SATP and PSP (`tests/golden/rules/arrays.txt`, rewritten by
//! `UPDATE_GOLDEN=1 cargo test --test rules`); the order of rules is total; the first match wins; many rules are fast.

mod san;
mod screen;

use dm_psa::api::requests::RulesLoaded;
use dm_psa::cli::Exit;
use dm_psa::config::{Places, rules, store};
use dm_psa::psa::adapter::{AdapterFacts, RuntimeName, TargetFacts, Transport};
use dm_psa::psa::claim::{Claim, Match, Rule, Ruleset};
use dm_psa::psa::evidence::{Link, PathState};
use dm_psa::psa::facts::{Handler, PathFacts, Subject};
use dm_psa::psa::mpp::Plugin;
use dm_psa::psa::pattern::Pattern;
use dm_psa::psa::rules::Rules;
use dm_psa::psa::satp::Evidence;
use dm_psa::psa::satp::rule::DeviceFacts;
use dm_psa::psa::satp::rules::{Group, SatpRule, SatpRules};
use dm_psa::psa::settings::Settings;
use dm_psa::scsi::inquiry::{StandardInquiry, Tpgs};
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use screen::{golden, psactl_below};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A path of a simulated host.
fn facts(transport: Transport, driver: &str) -> PathFacts {
    PathFacts {
        hctl: "1:0:0:1".parse().unwrap(),
        block: None,
        sg: None,
        device_type: 0,
        vendor: String::new(),
        model: String::new(),
        device_state: "running".to_owned(),
        handler: Handler::Unsupported,
        transport,
        adapter: AdapterFacts {
            key: "a".to_owned(),
            identifier: "a".to_owned(),
            driver: driver.to_owned(),
            link_state: "link-up".to_owned(),
            description: String::new(),
        },
        target: TargetFacts {
            identifier: "fc.2100143004b0e459:2080143004b0e459".to_owned(),
            details: String::new(),
            port_state: None,
            portal: None,
        },
    }
}

const NAME: RuntimeName = RuntimeName {
    adapter: 2,
    channel: 0,
    target: 1,
    lun: 20,
};

/// The decisions on a device over Fibre Channel with these INQUIRY data: plug-in, SATP, PSP, PSP options.
fn decide(rules: &Rules, vendor: &str, model: &str, tpgs: Tpgs) -> [String; 4] {
    let data = StandardInquiry::build(tpgs, vendor, model, "0001");
    let inquiry = StandardInquiry::parse(&data).unwrap();
    let facts = facts(Transport::Fc, "qla2xxx");
    let claim = rules.claim.decide(&Subject {
        vendor: inquiry.vendor_trimmed(),
        model: inquiry.product_trimmed(),
        inquiry: &inquiry.raw,
        facts: &facts,
        name: NAME,
        device: Some(&"naa.6001".into()),
    });
    if claim.plugin != Plugin::Nmp {
        return [
            claim.plugin.to_string(),
            "-".into(),
            "-".into(),
            String::new(),
        ];
    }
    let groups = BTreeMap::new();
    let evidence = Evidence {
        tpgs,
        port_group: Some(1),
        relative_port: Some(1),
        groups: &groups,
        link: &Link::Up,
        ownership: None,
        handler: &Handler::Unsupported,
    };
    let device = DeviceFacts {
        device: &"naa.6001".into(),
        vendor: inquiry.vendor_trimmed(),
        model: inquiry.product_trimmed(),
        inquiry: &inquiry.raw,
        driver: "qla2xxx",
        transport: Transport::Fc,
        paths: 4,
        had_map: true,
    };
    let selection = rules.satp.select(&device, &evidence);
    let options = selection
        .rule
        .map_or(String::new(), |rule| rule.psp_options);
    [
        claim.plugin.to_string(),
        selection.satp.name().to_owned(),
        selection.psp.name().to_owned(),
        options,
    ]
}

/// INQUIRY strings of array families: vendor, product.
const ARRAYS: &[(&str, &str)] = &[
    ("3PARdata", "VV"),
    ("AIX", "VDASD"),
    ("APPLE", "Xserve RAID"),
    ("AStor", "NeoSapphire"),
    ("COMPAQ", "MSA1000"),
    ("COMPELNT", "Compellent Vol"),
    ("DDN", "SFA14KX"),
    ("DEC", "HSG80"),
    ("DELL", "MD36xxf"),
    ("DELL", "Universal Xport"),
    ("DGC", "LUNZ"),
    ("DGC", "RAID 5"),
    ("DGC", "VRAID"),
    ("DataCore", "Virtual Disk"),
    ("DellEMC", "ME4"),
    ("DellEMC", "PowerStore"),
    ("DotHill", "DH3554"),
    ("EMC", "Invista"),
    ("EMC", "SYMMETRIX"),
    ("EQLOGIC", "100E-00"),
    ("FUJITSU", "ETERNUS_DXL"),
    ("HITACHI", "DF600F"),
    ("HITACHI", "OPEN-V"),
    ("HP", "HSV210"),
    ("HP", "HSV110"),
    ("HP", "MSA VOLUME"),
    ("HP", "OPEN-V"),
    ("HP", "P2000 G3 FC"),
    ("HPE", "MSA 2060 FC"),
    ("HUAWEI", "XSG1"),
    ("IBM", "1814      FAStT"),
    ("IBM", "2105800"),
    ("IBM", "2107900"),
    ("IBM", "2145"),
    ("IBM", "2810XIV"),
    ("IBM", "FlashSystem"),
    ("IBM", "Universal Xport"),
    ("IFT", "DS 4000"),
    ("LEFTHAND", "iSCSIDisk"),
    ("LENOVO", "DE_Series"),
    ("LIO-ORG", "disk0"),
    ("MacroSAN", "LU"),
    ("NEC", "DISK ARRAY"),
    ("NETAPP", "INF-01-00"),
    ("NETAPP", "LUN C-Mode"),
    ("NEXENTA", "COMSTAR"),
    ("NFINIDAT", "InfiniBox"),
    ("Nimble", "Server"),
    ("PURE", "FlashArray"),
    ("Promise", "VTrak E610f"),
    ("Promise", "Vess V-LUN"),
    ("SCST_BIO", "disk1"),
    ("SEAGATE", "4005"),
    ("SGI", "TP9100"),
    ("SGI", "TP9500"),
    ("SUN", "COMSTAR"),
    ("SUN", "CSM200_R"),
    ("SolidFir", "SSD SAN"),
    ("TEGILE", "ZEBI-FC"),
    ("VIOLIN", "SAN ARRAY"),
    ("VIOLIN", "SAN ARRAY ALUA"),
    ("XtremIO", "XtremApp"),
    ("ACME", "nobody knows it"),
];

#[test]
fn every_array_family_has_its_plugins() {
    let rules = rules::built_in().in_force();
    let mut text = "# vendor | product | TPGS | plug-in | SATP | PSP | PSP options\n".to_owned();
    for (vendor, model) in ARRAYS {
        for (tpgs, word) in [(Tpgs::None, "none"), (Tpgs::Implicit, "implicit")] {
            let decision = decide(&rules, vendor, model, tpgs).join(" | ");
            text +=
                format!("{vendor} | {model} | {word} | {decision}").trim_end_matches([' ', '|']);
            text.push('\n');
        }
    }
    golden("rules/arrays.txt", &text);
}

/// Runs a command on the files below a directory; it must succeed.
fn psactl(root: &Path, line: &str) -> String {
    let screen = psactl_below(root, line.split_whitespace());
    assert_eq!(screen.exit, Exit::Ok, "{line}: {}", screen.err);
    screen.out
}

#[test]
fn a_vendors_rule_changes_the_decision() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let in_force = || {
        let mut files = rules::load(&Places::below(root)).unwrap();
        files.lists.load(None);
        files.in_force()
    };
    let satp = |rules: &Rules| decide(rules, "CTMS-SAN", "DISK", Tpgs::Implicit);
    assert_eq!(satp(&in_force())[1..3], ["VMW_SATP_ALUA", "VMW_PSP_MRU"]);
    psactl(
        root,
        "nmp satp rule add -s VMW_SATP_DEFAULT_AA -V CTMS-SAN -P VMW_PSP_RR -O iops=1",
    );
    assert_eq!(
        satp(&in_force())[1..],
        ["VMW_SATP_DEFAULT_AA", "VMW_PSP_RR", "iops=1"]
    );
    psactl(
        root,
        "nmp satp rule remove -s VMW_SATP_DEFAULT_AA -V CTMS-SAN",
    );
    psactl(root, "nmp satp set -s VMW_SATP_ALUA -P VMW_PSP_RR");
    assert_eq!(satp(&in_force())[1..3], ["VMW_SATP_ALUA", "VMW_PSP_RR"]);
    // NMP by vendor, location, transport, driver; MASK_PATH likewise (500-503, 600-603).
    for what in [
        "vendor -V CTMS-SAN -M DISK",
        "location -A vmhba2 -C 0 -T 1 -L 20",
        "transport -R fc",
        "driver -D qla2xxx",
    ] {
        psactl(
            root,
            &format!("core claimrule add -r 600 -P MASK_PATH -t {what}"),
        );
        assert_eq!(satp(&in_force())[0], "MASK_PATH", "{what}");
        psactl(root, &format!("core claimrule add -r 500 -P NMP -t {what}"));
        assert_eq!(satp(&in_force())[0], "NMP", "{what}");
        psactl(root, "core claimrule remove -r 500");
        psactl(root, "core claimrule remove -r 600");
    }
}

#[test]
fn screens_match_the_goldens() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    psactl(
        root,
        "core claimrule add -P MASK_PATH -r 109 -t location -A vmhba2 -C 0 -T 1 -L 20",
    );
    psactl(
        root,
        "core claimrule add -c VAAI -P VMW_VAAIP_T10 -t vendor -V HUAWEI -r 911 -a -s",
    );
    let mut lists = rules::load(&Places::below(root)).unwrap().lists;
    lists.load(None);
    rules::save_loaded(&Places::below(root), &lists).unwrap();
    psactl(
        root,
        "core claimrule add -r 110 -t vendor -P HPP -V NVMe -M Pure* --config-string latency-eval-time=180000,pss=LB-Latency",
    );
    psactl(
        root,
        "nmp satp rule add -s VMW_SATP_EQL -V ACME -M ^120* -P VMW_PSP_RR -O iops=1 -c tpgs_off -e Ours",
    );
    for (name, line) in [
        ("claimrule-list", "core claimrule list"),
        ("satp-list", "nmp satp list"),
        ("satp-rule-list", "nmp satp rule list -s VMW_SATP_EQL"),
        ("lint", "lint"),
    ] {
        golden(&format!("rules/{name}.txt"), &psactl(root, line));
        for format in ["table", "list", "json", "csv", "xml", "keyvalue"] {
            let out = psactl(root, &format!("--formatter={format} {line}"));
            golden(&format!("rules/{name}.{format}"), &out);
        }
    }
}

// ---- in the world -------------------------------------------------------------------------------------------

/// A simulated host of four paths whose agent has the rules that these commands created.
fn host(commands: &[&str]) -> Simulation {
    let root = tempfile::tempdir().unwrap();
    for command in commands {
        psactl(root.path(), command);
    }
    let (files, problems) = rules::start(&Places::below(root.path()));
    assert!(problems.is_empty(), "{problems:?}");
    let (kernel, settings) = (san::four_paths(), Settings::default());
    let mut host = Simulation::start_with_rules(kernel, settings, files.in_force());
    host.run_for(san::seconds(10));
    host
}

fn states(host: &Simulation) -> Vec<PathState> {
    let mut paths: Vec<_> = host.world.paths().map(|(_, path)| path).collect();
    paths.sort_by_key(|path| path.name());
    paths.into_iter().map(|path| path.state()).collect()
}

#[test]
fn only_a_masked_path_is_in_no_table() {
    use PathState::{Active, ActiveUnoptimized, Masked};
    // vmhba1 and vmhba2 are numbered by their first path, from 0.
    let mut host =
        host(&["core claimrule add -r 109 -P MASK_PATH -t location -A vmhba0 -C 0 -T 0 -L 0"]);
    let masked = [Masked, ActiveUnoptimized, Active, ActiveUnoptimized];
    assert_eq!(states(&host), masked);
    let maps = san::maps(&host);
    assert_eq!(maps.len(), 1);
    assert!(!maps[0].contains("8:0 "), "{maps:?}");
    // The mask survives a restart of the agent.
    host.restart_agent();
    host.run_for(san::seconds(10));
    assert_eq!(states(&host), masked);
}

#[test]
fn a_rule_of_type_device_masks_the_device() {
    let host = host(&[
        "core claimrule add -r 109 -P MASK_PATH -t device -d naa.6001405a000000000000000000000001",
    ]);
    assert_eq!(states(&host), [PathState::Masked; 4]);
    assert_eq!(host.kernel.maps().count(), 0);
}

#[test]
fn a_satp_rule_chooses_satp_psp_and_its_options() {
    let host =
        host(&["nmp satp rule add -s VMW_SATP_ALUA -V SIM -P VMW_PSP_RR -O useANO=1 -c tpgs_on"]);
    let text = san::explained(&host, "naa.6001405a000000000000000000000001");
    let says = |part: &str| assert!(text.contains(part), "{part}: {text}");
    says("user rule VMW_SATP_ALUA (vendor=SIM tpgs_on): matches");
    says("VMW_PSP_RR (set by the SATP rule)");
    says("useANO=1");
    // Active-unoptimized paths are in the group of the optimized ones.
    let map = san::maps(&host);
    assert!(
        map[0].contains(" 1 1 service-time 0 4 ") || map[0].contains(" 1 1 round-robin 0 4 "),
        "{map:?}"
    );
}

#[test]
fn a_satp_rule_that_differs_from_what_is_claimed_is_reported() {
    // What `satp rule add` prints after it changed the file.
    let printed = |answer: Value| {
        let loaded: RulesLoaded = serde_json::from_value(answer).unwrap();
        loaded.difference()
    };
    let world = host(&[]).world;
    let effect = |command| {
        let root = tempfile::tempdir().unwrap();
        psactl(root.path(), command);
        let rules = rules::start(&Places::below(root.path())).0.in_force();
        json!(RulesLoaded::from(world.check_rules(&rules)))
    };
    let differs = printed(effect(
        "nmp satp rule add -s VMW_SATP_ALUA -V SIM -P VMW_PSP_RR -O useANO=1 -c tpgs_on",
    ));
    let text = differs.unwrap();
    assert!(
        text.contains("would change 0 claimed paths and 1 claimed devices"),
        "{text}"
    );
    assert!(text.contains("claiming reclaim -d DEVICE"), "{text}");
    let same = effect("nmp satp rule add -s VMW_SATP_ALUA -V OTHER -P VMW_PSP_RR -c tpgs_on");
    assert_eq!(printed(same), None);
    assert_eq!(
        printed(json!({ "effect": "from an agent before version 6" })),
        None
    );
}

// ---- order --------------------------------------------------------------------------------------------------

fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
    let matches = prop::sample::select(vec![
        "vendor=A model=*",
        "vendor=A model=B",
        "vendor=* model=^B*",
        "vendor=Z model=*",
        "transport=fc",
        "transport=usb",
        "driver=qla2xxx",
        "device=naa.6001",
        "adapter=vmhba2 channel=* target=* lun=20",
        "adapter=vmhba3 channel=* target=* lun=*",
        "transport=iscsi iqn=iqn.x lun=*",
    ]);
    let plugin = prop::sample::select(vec!["NMP", "MASK_PATH", "HPP"]);
    let rule = (0u32..65536, matches, plugin)
        .prop_map(|(number, matches, plugin)| Rule::new(number, matches.parse().unwrap(), plugin));
    prop::collection::vec(rule, 0..20)
}

fn claim(rules: &Ruleset) -> (Claim, Vec<String>) {
    let facts = facts(Transport::Fc, "qla2xxx");
    let subject = Subject {
        vendor: "A",
        model: "Bx",
        inquiry: &[],
        facts: &facts,
        name: NAME,
        device: Some(&"naa.6001".into()),
    };
    let traced = rules.trace(&subject);
    assert_eq!(traced.0, rules.decide(&subject));
    traced
}

fn some_satp_rules() -> impl Strategy<Value = Vec<SatpRule>> {
    let text = |texts: &[&'static str]| prop::sample::select(texts.to_vec());
    let satp = text(&[
        "VMW_SATP_ALUA",
        "VMW_SATP_DEFAULT_AA",
        "VMW_SATP_LOCAL",
        "VMW_SATP_EQL",
    ]);
    let vendor = prop::option::of(text(&["A", "Z", "^A*"]));
    let model = prop::option::of(text(&["Bx", "^B*", "Y"]));
    let rule = (
        satp,
        vendor,
        model,
        text(&["", "tpgs_on", "tpgs_off"]),
        any::<bool>(),
        0u8..4,
    );
    let rule = rule.prop_map(|(satp, vendor, model, claim_options, user, kind)| {
        let pattern = |text: Option<&str>| text.map(|text| Pattern::parse(text).unwrap());
        SatpRule {
            satp: satp.to_owned(),
            vendor: pattern(vendor),
            model: pattern(model),
            device: (kind == 1).then(|| "naa.6001".into()),
            driver: (kind == 2).then(|| "qla2xxx".to_owned()),
            transport: (kind == 3).then_some(Transport::Fc),
            claim_options: claim_options.to_owned(),
            group: if user { Group::User } else { Group::System },
            ..SatpRule::default()
        }
    });
    prop::collection::vec(rule, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_match_wins_whatever_the_order_of_the_list(rules in some_rules(), turn in 0usize..20) {
        let ruleset = Ruleset::new(rules.clone());
        let numbers: Vec<u32> = ruleset.rules().iter().map(|rule| rule.number).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
        prop_assert_eq!(numbers.last(), Some(&65535));
        let (decision, trace) = claim(&ruleset);
        // Every rule before the last line was tried and did not match.
        let (last, before) = trace.split_last().unwrap();
        prop_assert!(last.contains(" matches: ") || last.contains("no rule matches: "));
        prop_assert!(before.iter().all(|line| line.contains("): no, ") || line.contains("no plug-in HPP")));
        // Numbers are unique here, so the same rules in another order give the same decision.
        let mut unique = ruleset.rules().to_vec();
        let count = unique.len();
        unique.rotate_left(turn % count);
        prop_assert_eq!(claim(&Ruleset::new(unique)), (decision, trace));
        // Rules after the deciding one have no effect.
        let mut cut = ruleset.rules().to_vec();
        cut.retain(|rule| rule.number <= decision.rule);
        prop_assert_eq!(claim(&Ruleset::new(cut)).0, decision);
    }

    #[test]
    fn satp_rules_have_one_order(rules in some_satp_rules()) {
        let ordered = SatpRules::new(rules.clone(), BTreeMap::new());
        let keys: Vec<_> = ordered.rules().iter().map(SatpRule::order).collect();
        prop_assert!(keys.is_sorted());
        let again = SatpRules::new(ordered.rules().to_vec(), BTreeMap::new());
        prop_assert_eq!(&again, &ordered);
        // Equal keys keep the order of the list.
        for key in &keys {
            let of = |rules: &[SatpRule]| -> Vec<SatpRule> {
                rules.iter().filter(|rule| rule.order() == *key).cloned().collect()
            };
            prop_assert_eq!(of(ordered.rules()), of(&rules));
        }
        let all = Rules { claim: Ruleset::new([]), satp: ordered };
        for tpgs in [Tpgs::None, Tpgs::Both] {
            let decision = decide(&all, "A", "Bx", tpgs);
            prop_assert!(decision[1].starts_with("VMW_SATP_"));
        }
    }

    #[test]
    fn any_match_is_parsed_or_refused(text in "[ =*a-z0-9_]{0,40}|\\PC{0,40}") {
        if let Ok(matches) = text.parse::<Match>() {
            prop_assert_eq!(matches.to_string().parse::<Match>(), Ok(matches));
        }
    }
}

// ---- size ---------------------------------------------------------------------------------------------------

#[test]
fn ten_thousand_rules_and_ten_thousand_paths() {
    let rules = (0..10_000u32).map(|n| {
        let matches = match n % 4 {
            0 => format!("vendor=VENDOR{} model=MODEL{n}", n % 97),
            1 => format!("vendor=VENDOR{} model=^MODEL{n}*", n % 97),
            2 => format!(
                "adapter=vmhba{} channel=0 target={} lun={n}",
                n % 16,
                n % 200
            ),
            _ => format!("device=naa.6001405{n:025}"),
        };
        Rule::new(101 + n, matches.parse().unwrap(), "MASK_PATH")
    });
    let ruleset = Ruleset::new(rules);
    let facts = facts(Transport::Fc, "qla2xxx");
    let models: Vec<String> = (0..10_000).map(|n| format!("MODEL{}", n * 7)).collect();
    let start = Instant::now();
    let masked = (0..10_000u32)
        .zip(&models)
        .filter(|(n, model)| {
            let subject = Subject {
                vendor: "VENDOR1",
                model,
                inquiry: &[],
                facts: &facts,
                name: RuntimeName {
                    adapter: 17,
                    lun: (*n).into(),
                    ..NAME
                },
                device: Some(&"naa.60014050000000000000000000000".into()),
            };
            ruleset.decide(&subject).plugin == Plugin::MaskPath
        })
        .count();
    println!(
        "10000 rules x 10000 paths: {:?}, {masked} masked",
        start.elapsed()
    );
    assert!(masked < 10_000);
    // The same number of rules in a file, listed.
    let root = tempfile::tempdir().unwrap();
    let places = Places::below(root.path());
    let text =
        rules::schema::write_claim_rules(ruleset.rules().iter().filter(|r| r.number != 65535));
    store::replace(&places.admin_rules(), text.as_bytes()).unwrap();
    let start = Instant::now();
    let lines = psactl(root.path(), "core claimrule list").lines().count();
    println!("claimrule list of {lines} lines: {:?}", start.elapsed());
}
