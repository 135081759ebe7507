//! Commands that array vendors and users published for `esxcli` have the same meaning in `psactl`: every line of
//! `tests/data/vendor_commands.tsv` is run, on the files below a directory.

mod screen;

use dm_psa::cli::Exit;
use dm_psa::config::{Places, rules, store};
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::report::inventory::{Hex, Inventory};
use dm_psa::psa::satp::rules::{Group, SatpRule};
use dm_psa::scsi::inquiry::{StandardInquiry, Tpgs};
use proptest::prelude::*;
use screen::{Screen, golden_file, psactl_below};
use serde_json::Value;
use std::path::Path;

/// Commands that the agent carries out: without an agent they are only understood or refused.
const OF_THE_AGENT: &[&str] = &[
    "storage core claimrule load",
    "storage core claimrule run",
    "storage core claiming unclaim",
    "storage core adapter rescan",
    "storage core device detached",
    "storage core device set",
    "storage core path set",
    "storage hpp device set",
    "storage hpp device usermarkedssd list",
    "storage nmp psp fixed deviceconfig set",
    "storage nmp psp generic pathconfig set",
    "storage nmp psp roundrobin deviceconfig set",
    "storage nmp satp generic deviceconfig set",
];

/// The words of a line, split as a shell does.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn line(root: &Path, text: &str) -> Screen {
    psactl_below(root, words(text))
}

fn json(root: &Path, text: &str) -> Vec<Value> {
    let screen = line(root, &format!("--formatter=json {text}"));
    assert_eq!(screen.exit, Exit::Ok, "{screen:?}");
    serde_json::from_str(&screen.out).unwrap()
}

/// `(expected, command)` of each line.
fn table() -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vendor_commands.tsv");
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (verdict, command) = line.split_once('\t').unwrap();
            (verdict.to_owned(), command.to_owned())
        })
        .collect()
}

/// The value of an option of a command, by any of its names.
fn option(words: &[String], names: &[&str]) -> Option<String> {
    words.iter().enumerate().find_map(|(at, word)| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if !names.contains(&name) {
            return None;
        }
        if word.contains('=') {
            Some(value.to_owned())
        } else {
            words.get(at + 1).cloned()
        }
    })
}

/// The fields that `satp rule list` must show for a command that adds a rule.
fn satp_fields(words: &[String]) -> Vec<(&'static str, String)> {
    let fields: [(&str, &[&str]); 11] = [
        ("Name", &["-s", "--satp"]),
        ("Device", &["-d", "--device"]),
        ("Vendor", &["-V", "--vendor"]),
        ("Model", &["-M", "--model"]),
        ("Driver", &["-D", "--driver"]),
        ("Transport", &["-R", "--transport"]),
        ("Options", &["-o", "--option"]),
        ("Claim Options", &["-c", "--claim-option"]),
        ("Default PSP", &["-P", "--psp"]),
        ("PSP Options", &["-O", "--psp-option"]),
        ("Description", &["-e", "--description"]),
    ];
    fields
        .iter()
        .map(|(column, names)| (*column, option(words, names).unwrap_or_default()))
        .collect()
}

/// Checks that the file list has a claim rule with the fields of the command that added it.
fn claim_rule_is_listed(root: &Path, words: &[String]) {
    let get = |names: &[&str]| option(words, names);
    let plugin = get(&["-P", "--plugin"]).unwrap();
    let number = get(&["-r", "--rule"]);
    let class = get(&["-c", "--claimrule-class"]).unwrap_or("MP".to_owned());
    let rules = json(root, "storage core claimrule list");
    let rule = rules
        .iter()
        .filter(|rule| rule["Class"] == "file" && rule["Rule Class"] == class.as_str())
        .find(|rule| {
            let wanted = number.as_ref().map(|n| n.parse::<u64>().unwrap());
            wanted.is_none() || rule["Rule"].as_u64() == wanted
        })
        .unwrap_or_else(|| panic!("{words:?}: {rules:?}"));
    assert_eq!(rule["Plugin"], plugin.as_str());
    let kind = get(&["-t", "--type"]).unwrap().to_lowercase();
    assert_eq!(rule["Type"], kind.as_str());
    let any = |names: &[&str]| get(names).unwrap_or("*".to_owned());
    let matches = match (kind.as_str(), get(&["--nvme-controller-model"])) {
        (_, Some(model)) => format!("nvme_controller_model={model}"),
        ("vendor", None) => format!(
            "vendor={} model={}",
            any(&["-V", "--vendor"]),
            any(&["-M", "--model"])
        ),
        ("location", None) => format!(
            "adapter={} channel={} target={} lun={}",
            any(&["-A"]),
            any(&["-C"]),
            any(&["-T"]),
            any(&["-L"])
        ),
        ("transport", None) => format!("transport={}", any(&["-R"])),
        other => panic!("{other:?}"),
    };
    assert_eq!(rule["Matches"], matches.as_str());
    let config = get(&["--config-string"]).unwrap_or_default();
    assert_eq!(rule["Config String"], config.as_str());
    let has = |flag: &str| words.iter().any(|word| word == flag);
    assert_eq!(rule["XCOPY Use Array Reported Values"], has("-a"));
    assert_eq!(rule["XCOPY Use Multiple Segments"], has("-s"));
    let mib: u64 = get(&["-m"]).map_or(0, |text| text.parse().unwrap());
    assert_eq!(rule["XCOPY Max Transfer Size KiB"], mib * 1024);
}

/// A captured host with a path and device that the rule matches: its INQUIRY strings, HBA, address and transport.
fn host_for(words: &[String]) -> Inventory {
    let get = |names: &[&str]| option(words, names).map(|text| text.replace(['*', '^'], ""));
    let file = golden_file("inventories/ibm-2145/host.json");
    let mut host: Inventory =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    host.paths.truncate(1);
    let tpgs = match get(&["-c", "--claim-option"]).as_deref() {
        Some("tpgs_off") => Tpgs::None,
        _ => Tpgs::Implicit,
    };
    let path = &mut host.paths[0];
    let vendor = get(&["-V", "--vendor"]).unwrap_or_default();
    let model = get(&["-M", "--model"]).unwrap_or_default();
    path.inquiry = Hex(StandardInquiry::build(tpgs, &vendor, &model, "1"));
    if let Some(transport) = get(&["-R", "--transport"]) {
        path.facts.transport = Transport::by_name(&transport).unwrap();
    }
    if let Some(driver) = get(&["-D", "--driver"]) {
        path.facts.adapter.driver = driver;
    }
    if let Some(adapter) = get(&["-A", "--adapter"]) {
        let number = adapter.trim_start_matches("vmhba").parse().unwrap();
        let known = host
            .memory
            .adapters
            .get_mut(&path.facts.adapter.key)
            .unwrap();
        known.number = number;
        let at = |name: &str| get(&[name]).map_or(0, |text| text.parse().unwrap());
        path.facts.hctl.channel = at("-C");
        path.facts.hctl.target = at("-T");
        path.facts.hctl.lun = at("-L").into();
    }
    host
}

/// The claim rule and the SATP rule that decide on that path and device with the rules below a directory.
fn decided_by(root: &Path, host: &Inventory) -> (u32, Option<SatpRule>) {
    let mut files = rules::load(&Places::below(root)).unwrap();
    files.lists.load(None);
    let world = host.revive(files.in_force());
    let claim = world.paths().next().unwrap().1.owner().claim().unwrap();
    let device = world.devices().next().unwrap();
    let rule = device.selection().and_then(|s| s.rule.clone());
    (claim.rule, rule)
}

/// Whether a rule decides on a device that matches it; `None` if there can be no such device: NVMe controllers are not
/// SCSI devices, INQUIRY fields hold at most 8 and 16 characters, and a rule may be for one device or for a SATP that
/// does not exist.
fn rule_decides(root: &Path, words: &[String]) -> Option<bool> {
    let vendor = option(words, &["-V", "--vendor"]).unwrap_or_default();
    let model = option(words, &["-M", "--model"]).unwrap_or_default();
    let other = |word: &String| {
        let one_of = ["-d", "--device", "--nvme-controller-model", "TestSATP"];
        one_of.contains(&word.as_str()) || word.contains("VAAI")
    };
    if vendor.len() > 8 || model.len() > 16 || words.iter().any(other) {
        return None;
    }
    let (claim, satp) = decided_by(root, &host_for(words));
    if words.iter().any(|word| word == "claimrule") {
        let number = option(words, &["-r", "--rule"])?.parse::<u32>().unwrap();
        return Some(claim == number);
    }
    let wanted = option(words, &["-s", "--satp"]).unwrap();
    let found = satp.filter(|rule| rule.group == Group::User);
    Some(found.is_some_and(|rule| rule.satp == wanted))
}

#[test]
fn every_published_command_has_its_effect() {
    let mut decided = 0;
    let mut ran = 0;
    for (verdict, command) in table() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let words = words(&command);
        ran += 1;
        let removes = ["satp rule remove", "deleterule"];
        if removes.iter().any(|word| command.contains(word)) && !command.contains(" -b ") {
            let add = command.replace("rule remove", "rule add") + " -P VMW_PSP_RR -O iops=1";
            assert_eq!(line(root, &add).exit, Exit::Ok);
        }
        let before = json(root, "nmp satp rule list");
        let screen = psactl_below(root, &words);
        if verdict == "refuse" {
            assert_eq!(screen.exit, Exit::Usage, "{command}: {screen:?}");
            assert!(!screen.err.is_empty() && !screen.err.contains("needs the agent"));
            assert_eq!(json(root, "nmp satp rule list"), before);
            continue;
        }
        if OF_THE_AGENT.iter().any(|start| command.contains(start)) {
            let understood = screen.exit == Exit::Ok || screen.err.contains("without --root");
            assert!(understood, "{command}: {screen:?}");
            continue;
        }
        assert_eq!(screen.exit, Exit::Ok, "{command}: {screen:?}");
        if command.contains("satp rule add") || command.contains("addrule") {
            let rules = json(root, "storage nmp satp rule list");
            let fields = satp_fields(&words);
            let found = rules.iter().find(|rule| {
                rule["Rule Group"] == "user" && fields.iter().all(|(c, v)| rule[c] == v.as_str())
            });
            assert!(found.is_some(), "{command}: {fields:?}");
            // Run again: an identical rule is an error.
            let again = psactl_below(root, &words);
            assert_eq!(again.exit, Exit::Failed, "{command}: {again:?}");
            let decides = rule_decides(root, &words);
            assert_ne!(decides, Some(false), "{command}");
            decided += u32::from(decides.is_some());
        } else if command.contains("satp rule remove") {
            let rules = json(root, "storage nmp satp rule list");
            assert_eq!(rules.len() + 1, before.len(), "{command}");
        } else if command.contains("satp set") {
            let satp = option(&words, &["-s", "--satp"]).unwrap();
            let psp = option(&words, &["-P", "--default-psp"]).unwrap();
            assert_eq!(screen.out, format!("Default PSP for {satp} is now {psp}\n"));
            let satps = json(root, "storage nmp satp list");
            let line = satps.iter().find(|s| s["Name"] == satp.as_str()).unwrap();
            assert_eq!(line["Default PSP"], psp.as_str());
        } else if command.contains("claimrule add") {
            claim_rule_is_listed(root, &words);
            let decides = rule_decides(root, &words);
            assert_ne!(decides, Some(false), "{command}");
            decided += u32::from(decides.is_some());
        } else {
            panic!("the test does not know the effect of this command: {command}");
        }
    }
    println!("{decided} of their rules decided on a device as intended");
    assert!(decided >= 20, "{decided}");
    println!("{ran} published commands were run");
}

#[test]
fn quirks_of_scripts_are_accepted() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for (command, matches) in [
        (
            "claimrule add -r 200 --type=VENDOR -V=NVMe -M=* -P NMP",
            "vendor=NVMe model=*",
        ),
        (
            "claimrule add -r=201 -t location -A vmhba2 -P MASK_PATH",
            "adapter=vmhba2 channel=* target=* lun=*",
        ),
        (
            "claimrule add -r 202 -t vendor -V 'DGC     ' -P NMP",
            "vendor=DGC model=*",
        ),
        (
            "claimrule add -r 203 -t device -d naa.6001 -P NMP",
            "device=naa.6001",
        ),
        (
            "claimrule add -r 204 -t target -R fc --wwnn 20:00:00:24:FF:8A:F5:C1 --wwpn 21000024ff8af5c1 -L 3 -P NMP",
            "transport=fc wwnn=20000024ff8af5c1 wwpn=21000024ff8af5c1 lun=3",
        ),
        (
            "claimrule add -r 205 -t target -R iscsi -i iqn.2001-05.com.x:y -P NMP",
            "transport=iscsi iqn=iqn.2001-05.com.x:y lun=*",
        ),
        (
            "claimrule add -r 206 -t driver -D qla2xxx -P NMP",
            "driver=qla2xxx",
        ),
        (
            "claimrule add -r 7 -t transport -R FC -P NMP --force-reserved",
            "transport=fc",
        ),
    ] {
        let screen = line(root, &format!("storage core {command}"));
        assert_eq!(screen.exit, Exit::Ok, "{command}: {screen:?}");
        let listed = json(root, "core claimrule list");
        assert!(
            listed
                .iter()
                .any(|r| r["Matches"] == matches && r["Class"] == "file"),
            "{command}: {listed:?}"
        );
    }
    // The syntax of ESXi 4.
    for command in [
        "corestorage claimrule add -r 300 -t driver -D lpfc -P NMP",
        "corestorage claimrule list",
        "corestorage claimrule delete -r 300",
        "nmp satp addrule -s VMW_SATP_ALUA -V A -M B",
        "nmp satp listrules",
        "nmp satp deleterule -s VMW_SATP_ALUA -V A -M B",
        "nmp satp setdefaultpsp --psp VMW_PSP_RR --satp VMW_SATP_ALUA",
    ] {
        let screen = line(root, command);
        assert_eq!(screen.exit, Exit::Ok, "{command}: {screen:?}");
    }
}

#[test]
fn refusals_name_the_cause_and_the_fix() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for (command, exit, part) in [
        (
            "core claimrule add -r 50 -t transport -R fc -P NMP",
            Exit::Usage,
            "--force-reserved",
        ),
        (
            "core claimrule add -r 50 -t transport -R fc -P NMP --force-reserved",
            Exit::Failed,
            "exists already",
        ),
        (
            "core claimrule add -r 65535 -t transport -R fc -P NMP --force-reserved",
            Exit::Failed,
            "catch-all",
        ),
        (
            "core claimrule add -r 70000 -t transport -R fc -P NMP",
            Exit::Usage,
            "out of range",
        ),
        (
            "core claimrule add -r 200 -t transport -R morse -P NMP",
            Exit::Usage,
            "no transport `morse`",
        ),
        (
            "core claimrule add -r 200 -t transport -P NMP",
            Exit::Usage,
            "needs `transport`",
        ),
        (
            "core claimrule add -r 200 -t vendor -V A -D x -P NMP",
            Exit::Usage,
            "`driver` is not valid with type vendor",
        ),
        (
            "core claimrule add -r 200 -t vendr -V A -P NMP",
            Exit::Usage,
            "no rule type `vendr`",
        ),
        (
            "core claimrule add -r 200 -t location -A hba2 -P NMP",
            Exit::Usage,
            "write vmhba2",
        ),
        (
            "core claimrule add -r 200 -t location -A vmhba2 -L x -P NMP",
            Exit::Usage,
            "LUN `x` is not a number",
        ),
        (
            "core claimrule add -r 200 -t location -P NMP",
            Exit::Usage,
            "needs one of",
        ),
        (
            "core claimrule add -t vendor -V A -P NMP",
            Exit::Usage,
            "--rule",
        ),
        (
            "core claimrule add -r 200 -t vendor -V '*' -P MASK_PATH",
            Exit::Usage,
            "every path of the host",
        ),
        (
            "core claimrule add -r 200 -t vendor -V A -P NMP -a",
            Exit::Usage,
            "class VAAI",
        ),
        (
            "core claimrule add -c VAAI -r 200 -t vendor -V A -P X -s",
            Exit::Usage,
            "requires `xcopy-use-array-values`",
        ),
        (
            "core claimrule add -c VIA -r 200 -t vendor -V A -P X",
            Exit::Usage,
            "MP, Filter or VAAI",
        ),
        ("core claimrule remove -r 101", Exit::Failed, "system rule"),
        (
            "core claimrule remove -r 200",
            Exit::NotFound,
            "no rule 200",
        ),
        (
            "core claimrule remove -P HPP",
            Exit::NotFound,
            "plug-in HPP",
        ),
        (
            "core claimrule move -r 200 -n 201",
            Exit::NotFound,
            "no rule 200",
        ),
        ("core claimrule convert", Exit::NotFound, "esx.conf"),
        (
            "nmp satp rule add -s VMW_SATP_ALUA",
            Exit::Usage,
            "matches every device",
        ),
        ("nmp satp rule add -V A", Exit::Usage, "--satp"),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V A -D x",
            Exit::Usage,
            "write two rules",
        ),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -d naa.1 -V x",
            Exit::Usage,
            "already names one device",
        ),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V A -O iops=10001",
            Exit::Usage,
            "0 to 10000",
        ),
        (
            "nmp satp rule remove -s VMW_SATP_ALUA -V PURE -M FlashArray",
            Exit::NotFound,
            "there is: system rule",
        ),
        (
            "nmp satp set -s VMW_SATP_ALUX -P VMW_PSP_RR",
            Exit::NotFound,
            "satp list",
        ),
        (
            "nmp satp set -s VMW_SATP_ALUA -P VMW_PSP_RX",
            Exit::NotFound,
            "VMW_PSP_MRU",
        ),
        (
            "nmp satp rule list -s VMW_SATP_ALUX",
            Exit::NotFound,
            "VMW_SATP_ALUX",
        ),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V “PURE”",
            Exit::Usage,
            "curly quote",
        ),
        ("core path list", Exit::Usage, "--root uses files only"),
    ] {
        let screen = line(root, command);
        assert_eq!(screen.exit, exit, "{command}: {screen:?}");
        assert!(screen.err.contains(part), "{command}: {}", screen.err);
        assert_eq!(screen.out, "");
    }
    assert!(
        !Places::below(root).admin_rules().exists(),
        "nothing was written"
    );
}

#[test]
fn a_rule_is_added_despite_warnings() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for (command, part) in [
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V SolidFire -M 'SSD SAN'",
            "INQUIRY has only 8",
        ),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V A -o tpgs_on",
            "write -c tpgs_on",
        ),
        ("nmp satp rule add -s TestSATP -V B", "unknown SATP"),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V C -P DELL_PSP_EQL_ROUTED",
            "DELL_PSP_EQL_ROUTED",
        ),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V D -O iops=1000",
            "iops above 1",
        ),
        (
            "nmp satp rule add -s VMW_SATP_ALUA -V E -O iops=10001 -f",
            "out of range",
        ),
        (
            "core claimrule add -r 300 -t vendor -V F -P POWERPATH",
            "no plug-in POWERPATH",
        ),
        (
            "core claimrule add -u -c VAAI -t vendor -V F -P VMW_VAAIP_T10 -e",
            "without effect",
        ),
    ] {
        let screen = line(root, command);
        assert_eq!(screen.exit, Exit::Ok, "{command}: {screen:?}");
        assert!(screen.err.starts_with("psactl: warning: "), "{screen:?}");
        assert!(screen.err.contains(part), "{command}: {}", screen.err);
    }
    let lint = line(root, "lint").out;
    for part in ["INQUIRY has only 8", "write -c tpgs_on", "not loaded"] {
        assert!(lint.contains(part), "{lint}");
    }
}

#[test]
fn lint_finds_rules_that_are_never_reached() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for command in [
        "core claimrule add -r 200 -t vendor -V ACME -P NMP",
        "core claimrule add -r 201 -t vendor -V ACME -M Disk -P MASK_PATH",
        "core claimrule add -r 202 -t vendor -V ACME -M Other -P NMP",
        "core claimrule add -r 203 -t vendor -V ACME -P NMP",
        "core claimrule add -r 204 -t vendor -V '*' -M Disk -P MASK_PATH",
        "nmp satp rule add -s VMW_SATP_ALUA -V ACME",
        "nmp satp rule add -s VMW_SATP_DEFAULT_AA -V ACME",
        "nmp satp set -s VMW_SATP_ALUA -P VMW_PSP_FIXED",
    ] {
        assert_eq!(line(root, command).exit, Exit::Ok, "{command}");
    }
    let found: Vec<(String, String)> = json(root, "lint")
        .iter()
        .filter(|finding| finding["Kind"] != "pending")
        .map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            (text("Rule"), text("Kind"))
        })
        .collect();
    let wanted = [
        ("MP 201", "unreachable"),
        ("MP 202", "shadowed"),
        ("MP 203", "duplicate"),
        ("MP 204", "overlap"),
        ("MP 204", "overlap"),
        ("user rule VMW_SATP_DEFAULT_AA (vendor=ACME)", "duplicate"),
        ("VMW_SATP_ALUA", "remark"),
    ];
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn editing_the_file_list_keeps_its_comments() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let file = Places::below(root).admin_rules();
    let mine = "# The tape library.\n[[claimrule]]\nrule = 150\ntype = \"location\"\nplugin = \"MASK_PATH\"\nadapter = \"vmhba3\"\n";
    store::replace(&file, mine.as_bytes()).unwrap();
    assert_eq!(
        line(root, "core claimrule add -r 151 -t driver -D x -P NMP").exit,
        Exit::Ok
    );
    assert_eq!(
        line(root, "core claimrule move -r 150 -n 152").exit,
        Exit::Ok
    );
    assert_eq!(line(root, "core claimrule remove -r 151").exit, Exit::Ok);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        mine.replace("150", "152")
    );
    // The list of masked LUNs of ESX 3.
    let conf = Places::below(root).esx_conf();
    store::replace(&conf, b"/adv/Disk/MaskLUNs = \"vmhba1:0:5;\"\n").unwrap();
    let shown = line(root, "core claimrule convert").out;
    assert!(
        shown.contains("adapter=vmhba1 channel=0 target=0 lun=5"),
        "{shown}"
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        mine.replace("150", "152")
    );
    assert_eq!(line(root, "core claimrule convert --commit").exit, Exit::Ok);
    let files = rules::load(&Places::below(root)).unwrap();
    assert_eq!(files.lists.file.iter().count(), 2);
    // A mistake in the file is reported with its line, and nothing is changed.
    let broken = mine.replace("location", "locatoin");
    store::replace(&file, broken.as_bytes()).unwrap();
    for command in [
        "core claimrule list",
        "core claimrule add -r 151 -t driver -D x -P NMP",
        "lint",
    ] {
        let screen = line(root, command);
        assert_eq!(screen.exit, Exit::Failed, "{screen:?}");
        assert!(
            screen.err.contains("rules.toml: line 2") && screen.err.contains("locatoin"),
            "{}",
            screen.err
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), broken);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Published commands mixed with words of other commands and any text: run or refused, and the files stay readable.
    #[test]
    fn any_mixture_is_run_or_refused(
        command in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "\\PC{0,9}", 0u8..4), 0..6),
    ) {
        let table = table();
        let mut line = words(&command.get(&table).1);
        for (at, from, text, kind) in changes {
            let other = words(&from.get(&table).1);
            let (at, word) = (at.index(line.len()), from.get(&other).clone());
            match kind {
                0 => line[at] = text,
                1 => line[at] = word,
                2 => line.insert(at, word),
                _ if line.len() > 1 => drop(line.remove(at)),
                _ => {}
            }
        }
        let root = tempfile::tempdir().unwrap();
        let screen = psactl_below(root.path(), &line);
        prop_assert!(screen.exit != Exit::Unreachable, "{:?}: {:?}", line, screen);
        let again = psactl_below(root.path(), ["lint"]);
        prop_assert_eq!(again.exit, Exit::Ok, "{:?}: {:?}", line, again);
    }
}

/// Commands of ESXi and of guides for it, each with its expected result without an agent: understood (3, the agent does
/// not answer), or carried out. None is a usage error.
#[test]
fn commands_of_esxi_are_accepted() {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/esxi_commands.txt"),
    )
    .unwrap();
    let commands: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(commands.len() > 40);
    for command in commands {
        let screen = screen::psactl(
            ["--socket", "/nonexistent/io.dmpsa"]
                .into_iter()
                .map(str::to_owned)
                .chain(words(command))
                .collect::<Vec<_>>(),
        );
        assert_eq!(
            screen.exit,
            Exit::Unreachable,
            "{command}: {}{}",
            screen.out,
            screen.err
        );
    }
}

#[test]
fn a_leading_esxcli_is_ignored() {
    let root = tempfile::tempdir().unwrap();
    for (number, command) in [
        "esxcli storage nmp satp rule add -s VMW_SATP_ALUA -V A1 -P VMW_PSP_RR",
        "localcli storage nmp satp rule add -s VMW_SATP_ALUA -V A2 -P VMW_PSP_RR",
        "--formatter=json esxcli nmp satp rule add -s VMW_SATP_ALUA -V A3 -P VMW_PSP_RR",
        "esxcli --formatter csv storage nmp satp rule add -s VMW_SATP_ALUA -V A4 -P VMW_PSP_RR",
    ]
    .iter()
    .enumerate()
    {
        let screen = line(root.path(), command);
        assert_eq!(screen.exit, Exit::Ok, "{command}: {}", screen.err);
        let listed = line(root.path(), "esxcli nmp satp rule list");
        assert!(
            listed.out.contains(&format!("A{}", number + 1)),
            "{}",
            listed.out
        );
    }
    // `esxcli` alone is not a command.
    assert_eq!(line(root.path(), "esxcli").exit, Exit::Usage);
}

#[test]
fn advanced_settings_of_esxi_are_settings_here() {
    let root = tempfile::tempdir().unwrap();
    let set = |words: &str| {
        line(
            root.path(),
            &format!("system settings advanced set {words}"),
        )
    };
    let settings = || dm_psa::config::load_settings(&Places::below(root.path())).unwrap();
    let screen = set("-o /Misc/APDTimeout -i 20");
    assert_eq!(screen.exit, Exit::Ok, "{}", screen.err);
    assert_eq!(settings().apd_timeout_ms.0, 20_000);
    assert_eq!(
        set("--option=/disk/patheVALtime --int-value=30").exit,
        Exit::Ok
    );
    assert_eq!(settings().check_interval_ms.0, 30_000);
    assert_eq!(set("-o /Disk/AutoremoveOnPDL -i 0").exit, Exit::Ok);
    assert!(!settings().remove_lost);
    let listed = line(
        root.path(),
        "system settings advanced list -o /Misc/APDTimeout",
    );
    assert!(
        listed.out.contains("apd_timeout_ms = 20000"),
        "{}",
        listed.out
    );
    assert_eq!(set("-o /Misc/APDTimeout -d").exit, Exit::Ok);
    assert_eq!(settings().apd_timeout_ms.0, 140_000);
    let idle = set("-o /Disk/QFullThreshold -i 4");
    assert_eq!(idle.exit, Exit::Ok);
    assert!(idle.out.contains("without effect"), "{}", idle.out);
    for wrong in [
        "-o /Misc/APDTimeout -i 19",
        "-o /Misc/APDTimeout",
        "-o /Net/X -i 1",
        "-o /Misc/APDTimeout -s x",
    ] {
        assert_eq!(set(wrong).exit, Exit::Usage, "{wrong}");
    }
}

#[test]
fn iops_0_means_1() {
    let root = tempfile::tempdir().unwrap();
    let screen = line(
        root.path(),
        "storage nmp satp rule add --satp VMW_SATP_ALUA --psp VMW_PSP_RR --vendor Nimble --model Server --psp-option \"policy=iops;iops=0;bytes=0\"",
    );
    assert_eq!(screen.exit, Exit::Ok, "{}", screen.err);
    let files = rules::load(&Places::below(root.path())).unwrap();
    let rule = files
        .satp
        .iter()
        .find(|rule| rule.group == Group::User)
        .unwrap();
    assert_eq!(rule.psp_options, "policy=iops;iops=0;bytes=0");
    let options = dm_psa::psa::satp::options::psp_options(&rule.psp_options).unwrap();
    assert_eq!(options.round_robin.iops(), 1);
}
