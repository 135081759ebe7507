//! `psactl import`: converts rules of an ESXi host, or the configuration of multipath-tools, into rules and settings of
//! this host. It needs no agent; a running agent loads new SATP rules immediately, as after `satp rule add`.

use super::arguments::flag;
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::import::{self, Plan};
use crate::cli::layout::listing;
use crate::cli::record::Listing;
use crate::config::rules::{self, RuleFiles, edit::Edit};
use crate::config::settings_file::SettingsFile;
use crate::psa::claim::lists::Permission;
use clap::{Arg, ArgMatches};
use std::fs::File;
use std::io::{self, Read};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["import", "esxcli"],
        about: "Import rules, default PSPs and PSPs of devices from the listings of an ESXi host",
        arguments: &[
            file,
            dry_run,
            || {
                flag(
                    "system",
                    None,
                    "Import ESXi's own rules too, not only those of the admin",
                )
            },
            || {
                flag(
                    "force-reserved",
                    None,
                    "Import claim rules with numbers in the reserved ranges too, 0-100 and 65436-65535",
                )
            },
            force,
        ],
        run: esxcli,
        legacy: false,
    },
    Verb {
        words: &["import", "multipath"],
        about: "Import a multipath.conf, and report what becomes of each keyword",
        arguments: &[
            files,
            dry_run,
            || {
                flag(
                    "mask",
                    None,
                    "Hide blacklisted disks from the host with claim rules for MASK_PATH; without it they stay plain disks, by SATP rules for VMW_SATP_LOCAL",
                )
            },
            force,
        ],
        run: multipath,
        legacy: false,
    },
];

fn file() -> Arg {
    Arg::new("file")
        .required(true)
        .value_name("FILE")
        .help("File to import; - is standard input")
}

fn files() -> Arg {
    file()
        .num_args(1..)
        .help("Files to import; - is standard input. Several files form one configuration, in this order: /etc/multipath.conf, then the files of /etc/multipath/conf.d sorted by name")
}

fn dry_run() -> Arg {
    flag("dry-run", None, "Change nothing; the output is the same")
}

fn force() -> Arg {
    flag(
        "force",
        Some('f'),
        "Import rules even if they look like a mistake",
    )
}

fn esxcli(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let wanted = import::esxcli::Wanted {
        system: given.get_flag("system"),
        may: Permission {
            reserved: given.get_flag("force-reserved"),
            force: given.get_flag("force"),
        },
    };
    run(context, given, |files, rules, settings| match files {
        [(_, text)] => import::esxcli::plan_with(text, rules, settings, wanted),
        _ => Err("only one listing can be imported at a time".to_owned()),
    })
}

fn multipath(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let wanted = import::multipath::Wanted {
        mask: given.get_flag("mask"),
        force: given.get_flag("force"),
    };
    run(context, given, |files, rules, settings| {
        import::multipath::plan_files(files, rules, settings, wanted)
    })
}

/// A function that makes a plan from the texts of files, given by their names.
type Planner<'a> = dyn Fn(&[(&str, &str)], &RuleFiles, SettingsFile) -> Result<Plan, String> + 'a;

fn run(
    context: &mut Context,
    given: &ArgMatches,
    plan: impl Fn(&[(&str, &str)], &RuleFiles, SettingsFile) -> Result<Plan, String>,
) -> Result<Listing, Failure> {
    import(context, given, &plan)
}

fn import(context: &mut Context, given: &ArgMatches, plan: &Planner) -> Result<Listing, Failure> {
    let files: Vec<&String> = given.get_many("file").into_iter().flatten().collect();
    let mut texts: Vec<(&str, String)> = Vec::new();
    for file in files {
        let name = match file.as_str() {
            "-" => "standard input",
            file => file,
        };
        let refused =
            |why: String| Failure::Refused(format!("{name}: {why}; nothing was imported"));
        let bytes = read(file).map_err(|why| refused(format!("it cannot be read: {why}")))?;
        texts.push((name, import::text::of(bytes).map_err(refused)?));
    }
    let names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let places = context.places();
    // The lock is held until the rules are saved, so that the rules that the plan is based on do not change.
    let edit = if given.get_flag("dry-run") {
        None
    } else {
        Some(Edit::open(&places.admin_rules())?)
    };
    let settings = SettingsFile::open(&places)?;
    let plan = plan(&texts, &rules::load(&places)?, settings);
    let plan =
        plan.map_err(|why| Failure::Refused(format!("{names}: {why}; nothing was imported")))?;
    let said = match edit {
        Some(edit) => carry_out(context, edit, &plan)?,
        None => Vec::new(),
    };
    context.warn(said);
    let refused = plan.refused();
    if refused > 0 {
        let all = plan.entries.len();
        context.partly(format!(
            "{names}: {refused} of the {all} listed entries were refused"
        ));
    }
    Ok(listing(&plan.entries))
}

/// Writes what is planned. Returns the messages for the user.
fn carry_out(context: &mut Context, mut edit: Edit, plan: &Plan) -> Result<Vec<String>, Failure> {
    for rule in &plan.claim_rules {
        edit.add_claim_rule(rule)?;
    }
    for rule in &plan.satp_rules {
        edit.add_satp_rule(rule)?;
    }
    for (satp, psp) in &plan.default_psps {
        edit.set_default_psp(satp, *psp)?;
    }
    let mut said = Vec::new();
    if !plan.claim_rules.is_empty() {
        said.push("claim rules were added to the file list: `psactl storage core claimrule load` puts them into force".to_owned());
    }
    if plan.claim_rules.is_empty() && plan.satp_rules.is_empty() && plan.default_psps.is_empty() {
        drop(edit);
    } else {
        edit.save()?;
        said.extend(context.load_rules());
    }
    if !plan.settings.is_empty() {
        let mut settings = SettingsFile::open(&context.places())?;
        for (key, setting) in &plan.settings {
            settings.set(key, setting)?;
        }
        settings.save()?;
        said.push(
            "settings were written to dm-psa.toml: they take effect when the agent is restarted"
                .to_owned(),
        );
    }
    Ok(said)
}

/// The bytes of a file, up to one more than the limit, which is enough to detect that it is too long.
fn read(file: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit =
        u64::try_from(import::text::LIMIT).map_or(u64::MAX, |limit| limit.saturating_add(1));
    if file == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
