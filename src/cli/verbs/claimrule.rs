//! `storage core claimrule`: edits the file list of claim rules. These commands change files and need no agent.

use super::arguments::{flag, option, text};
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_rules::ClaimRuleLine;
use crate::cli::record::Listing;
use crate::config::rules::{self, edit::Edit};
use crate::psa::claim::lists::{Permission, Problem, convert_mask_luns};
use crate::psa::claim::{RuleClass, RuleSpec, Word};
use clap::{Arg, ArgMatches, value_parser};

const ADD: Verb = Verb {
    words: &["storage", "core", "claimrule", "add"],
    about: "Add a claim rule to the file list",
    arguments: &[
        || {
            number("rule", "Number of the rule; the lowest is tried first")
                .required_unless_present("autoassign")
        },
        || flag("autoassign", Some('u'), "Choose a free number").conflicts_with("rule"),
        || {
            option(
                "type",
                Some('t'),
                "TYPE",
                "vendor, location, driver, transport, device or target",
            )
            .required(true)
        },
        || {
            option(
                "plugin",
                Some('P'),
                "PLUGIN",
                "Plug-in for the paths that match: NMP, MASK_PATH, HPP, ...",
            )
            .required(true)
        },
        class,
        || {
            option(
                "vendor",
                Some('V'),
                "VENDOR",
                "INQUIRY vendor; * matches any",
            )
        },
        || {
            option(
                "model",
                Some('M'),
                "MODEL",
                "INQUIRY product; * matches any, Pure* any that begins with Pure",
            )
        },
        || {
            option(
                "transport",
                Some('R'),
                "TRANSPORT",
                "block, fc, fcoe, iscsi, iscsivendor, ide, sas, sata, usb, parallel, unknown",
            )
        },
        || option("driver", Some('D'), "DRIVER", "Driver of the HBA"),
        || {
            option(
                "adapter",
                Some('A'),
                "ADAPTER",
                "HBA, vmhba2; each of -A, -C, -T, -L that is left out matches any",
            )
        },
        || option("channel", Some('C'), "CHANNEL", "Channel"),
        || option("target", Some('T'), "TARGET", "Target"),
        || option("lun", Some('L'), "LUN", "LUN; also with type target"),
        || option("iqn", Some('i'), "IQN", "iSCSI name, with type target"),
        || {
            option(
                "wwnn",
                None,
                "WWNN",
                "Fibre Channel node name, with type target",
            )
        },
        || {
            option(
                "wwpn",
                None,
                "WWPN",
                "Fibre Channel port name, with type target",
            )
        },
        || {
            option(
                "device",
                Some('d'),
                "DEVICE",
                "Device identifier, naa.6001...",
            )
        },
        || {
            option(
                "nvme-controller-model",
                None,
                "MODEL",
                "Model of an NVMe controller, with type vendor",
            )
        },
        || {
            option(
                "pci-vendor-id",
                None,
                "ID",
                "PCI vendor of a local NVMe disk, with type vendor",
            )
        },
        || {
            option(
                "pci-sub-vendor-id",
                None,
                "ID",
                "PCI subsystem vendor of a local NVMe disk, with type vendor",
            )
        },
        || {
            option(
                "config-string",
                Some('g'),
                "OPTIONS",
                "Options for the plug-in: pss=LB-Latency,latency-eval-time=180000",
            )
        },
        || {
            option(
                "if-unset",
                None,
                "VARIABLE",
                "Use the rule only if this variable of ESXi is not 1; on Linux it never is",
            )
        },
        || {
            flag(
                "xcopy-use-array-values",
                Some('a'),
                "Copy within the limits that the array reports (class VAAI)",
            )
        },
        || {
            flag(
                "xcopy-use-multi-segs",
                Some('s'),
                "Copy several segments with one command (class VAAI, with -a)",
            )
        },
        || {
            option(
                "xcopy-max-transfer-size",
                Some('m'),
                "MB",
                "Size of the largest copy (class VAAI)",
            )
            .value_parser(value_parser!(u32).range(..=4_194_303))
        },
        || {
            option(
                "xcopy-max-transfer-size-kib",
                Some('k'),
                "KIB",
                "Size of the largest copy (class VAAI)",
            )
            .value_parser(value_parser!(u32))
            .conflicts_with("xcopy-max-transfer-size")
        },
        force_reserved,
        || {
            flag(
                "force",
                Some('f'),
                "Add it even if it takes every path away",
            )
        },
        // Published commands have this option, but its meaning is undocumented.
        || {
            Arg::new("e")
                .short('e')
                .action(clap::ArgAction::SetTrue)
                .hide(true)
        },
    ],
    run: add,
    legacy: false,
};

const REMOVE: Verb = Verb {
    words: &["storage", "core", "claimrule", "remove"],
    about: "Remove a claim rule, or all claim rules of a plug-in, from the file list",
    arguments: &[
        || number("rule", "Number of the rule").required_unless_present("plugin"),
        || {
            option("plugin", Some('P'), "PLUGIN", "All rules of this plug-in")
                .conflicts_with("rule")
        },
        class,
    ],
    run: remove,
    legacy: false,
};

const LIST: Verb = Verb {
    words: &["storage", "core", "claimrule", "list"],
    about: "List the claim rules: `runtime` is in force, `file` is what `claimrule load` would put into force",
    arguments: &[class_or_all],
    run: list,
    legacy: false,
};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    ADD,
    REMOVE,
    Verb {
        words: &["storage", "core", "claimrule", "move"],
        about: "Change the number of a claim rule in the file list",
        arguments: &[
            || number("rule", "Number of the rule").required(true),
            || {
                option("new-rule", Some('n'), "NUMBER", "Its new number")
                    .value_parser(value_parser!(u32))
                    .required(true)
            },
            class,
            force_reserved,
        ],
        run: renumber,
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "claimrule", "convert"],
        about: "Create MASK_PATH rules from /adv/Disk/MaskLUNs in /etc/vmware/esx.conf",
        arguments: &[|| {
            flag(
                "commit",
                Some('C'),
                "Add the rules; without it they are only shown",
            )
        }],
        run: convert,
        legacy: false,
    },
    LIST,
    ADD.also(&["storage", "corestorage", "claimrule", "add"]),
    REMOVE.also(&["storage", "corestorage", "claimrule", "delete"]),
    LIST.also(&["storage", "corestorage", "claimrule", "list"]),
];

fn number(name: &'static str, help: &'static str) -> Arg {
    option(name, Some('r'), "NUMBER", help).value_parser(value_parser!(u32))
}

fn class() -> Arg {
    option(
        "claimrule-class",
        Some('c'),
        "CLASS",
        "MP, Filter or VAAI [default: MP]",
    )
}

fn class_or_all() -> Arg {
    option(
        "claimrule-class",
        Some('c'),
        "CLASS",
        "MP, Filter, VAAI or all [default: all]",
    )
}

fn force_reserved() -> Arg {
    flag(
        "force-reserved",
        None,
        "Allow a number in the reserved ranges, 0-100 and 65436-65535",
    )
}

fn permission(given: &ArgMatches) -> Permission {
    let has = |name| matches!(given.try_get_one::<bool>(name), Ok(Some(true)));
    Permission {
        reserved: has("force-reserved"),
        force: has("force"),
    }
}

fn class_of(given: &ArgMatches) -> Result<RuleClass, Failure> {
    let name = text(given, "claimrule-class");
    name.map_or(Ok(RuleClass::MP), |name| RuleClass::by_name(&name))
        .map_err(Failure::Usage)
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        let text = problem.to_string();
        match problem {
            Problem::NotFound { .. } | Problem::NoneOfPlugin(..) => Failure::NotFound(text),
            Problem::OutOfRange(_) | Problem::Reserved(_) | Problem::MasksAll => {
                Failure::Usage(text)
            }
            _ => Failure::Refused(text),
        }
    }
}

/// The rule that the options describe.
fn spec(given: &ArgMatches) -> RuleSpec {
    let word = |name| text(given, name).map(Word);
    let mib = given.get_one::<u32>("xcopy-max-transfer-size");
    let kib = given.get_one::<u32>("xcopy-max-transfer-size-kib");
    RuleSpec {
        rule: given.get_one("rule").copied(),
        class: text(given, "claimrule-class"),
        kind: text(given, "type").unwrap_or_default(),
        plugin: text(given, "plugin").unwrap_or_default(),
        vendor: text(given, "vendor"),
        model: text(given, "model"),
        pci_vendor_id: word("pci-vendor-id"),
        pci_sub_vendor_id: word("pci-sub-vendor-id"),
        nvme_controller_model: text(given, "nvme-controller-model"),
        adapter: text(given, "adapter"),
        channel: word("channel"),
        target: word("target"),
        lun: word("lun"),
        transport: text(given, "transport"),
        driver: text(given, "driver"),
        device: text(given, "device"),
        iqn: text(given, "iqn"),
        wwnn: text(given, "wwnn"),
        wwpn: text(given, "wwpn"),
        xcopy_use_array_values: given.get_flag("xcopy-use-array-values"),
        xcopy_use_multi_segs: given.get_flag("xcopy-use-multi-segs"),
        xcopy_max_transfer_size_kib: kib.copied().or(mib.map(|mib| mib.saturating_mul(1024))),
        config_string: text(given, "config-string"),
        if_unset: text(given, "if-unset"),
    }
}

fn add(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let spec = spec(given);
    let places = context.places();
    // An invalid command line is reported before an invalid file.
    let mut rule = spec
        .build(spec.rule.unwrap_or_default())
        .map_err(Failure::Usage)?;
    let mut edit = Edit::open(&places.admin_rules())?;
    let mut lists = rules::load(&places)?.lists;
    let mut said = Vec::new();
    if spec.rule.is_none() {
        rule.number = lists.autoassign(rule.class, &rule.matches)?;
        said.push(format!("Claim rule {} was added", rule.number));
    }
    lists.add(rule.clone(), permission(given))?;
    edit.add_claim_rule(&rule)?;
    edit.save()?;
    context.warn(rule.remarks());
    if given.get_flag("e") {
        context.warn(["-e: without effect: its meaning is not documented".to_owned()]);
    }
    Ok(Listing::lines(said))
}

fn remove(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let class = class_of(given)?;
    let places = context.places();
    let mut edit = Edit::open(&places.admin_rules())?;
    let mut lists = rules::load(&places)?.lists;
    let removed = match (given.get_one::<u32>("rule"), text(given, "plugin")) {
        (Some(number), _) => vec![lists.remove(class, *number)?],
        (None, plugin) => lists.remove_plugin(class, &plugin.unwrap_or_default())?,
    };
    for rule in removed {
        edit.remove_claim_rule(class, rule.number)?;
    }
    edit.save()?;
    Ok(Listing::lines([]))
}

fn renumber(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let class = class_of(given)?;
    let number = |name| given.get_one::<u32>(name).copied().unwrap_or_default();
    let (from, to) = (number("rule"), number("new-rule"));
    let places = context.places();
    let mut edit = Edit::open(&places.admin_rules())?;
    let mut lists = rules::load(&places)?.lists;
    lists.renumber(class, from, to, permission(given))?;
    edit.renumber_claim_rule(class, from, to)?;
    edit.save()?;
    Ok(Listing::lines([]))
}

/// The value of `/adv/Disk/MaskLUNs` in ESX's configuration.
fn mask_luns(conf: &str) -> Option<&str> {
    conf.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "/adv/Disk/MaskLUNs").then(|| value.trim().trim_matches('"'))
    })
}

fn convert(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let places = context.places();
    let file = places.esx_conf();
    let conf = std::fs::read_to_string(&file).map_err(|why| {
        Failure::NotFound(format!(
            "{}: {why}; copy it from the ESX host to convert its /adv/Disk/MaskLUNs",
            file.display()
        ))
    })?;
    let mut lists = rules::load(&places)?.lists;
    let made = convert_mask_luns(&lists, mask_luns(&conf).unwrap_or_default())
        .map_err(|why| Failure::Refused(format!("{}: {why}", file.display())))?;
    if given.get_flag("commit") {
        let mut edit = Edit::open(&places.admin_rules())?;
        for rule in &made {
            lists.add(rule.clone(), Permission::default())?;
            edit.add_claim_rule(rule)?;
        }
        edit.save()?;
    }
    let lines = made.into_iter().map(|rule| ClaimRuleLine {
        rule,
        runtime: false,
    });
    Ok(listing(&lines.collect::<Vec<_>>()))
}

fn list(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let class = match text(given, "claimrule-class") {
        Some(name) if !name.eq_ignore_ascii_case("all") => {
            Some(RuleClass::by_name(&name).map_err(Failure::Usage)?)
        }
        _ => None,
    };
    let lists = rules::load(&context.places())?.lists;
    let lines: Vec<ClaimRuleLine> = lists
        .entries(class)
        .into_iter()
        .map(|entry| ClaimRuleLine {
            rule: entry.rule.clone(),
            runtime: entry.runtime,
        })
        .collect();
    Ok(listing(&lines))
}
