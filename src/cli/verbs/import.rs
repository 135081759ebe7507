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
            || {
                Arg::new("bindings")
                    .long("bindings")
                    .value_name("FILE")
                    .help("The names that multipath-tools gave to devices: /etc/multipath/bindings")
            },
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
    let asked = Asked {
        files: files_of(given),
        bindings: None,
        dry_run: given.get_flag("dry-run"),
    };
    let imported = import(context, &asked, &|files, _, rules, settings| match files {
        [(_, text)] => import::esxcli::plan_with(text, rules, settings, wanted),
        _ => Err("only one listing can be imported at a time".to_owned()),
    })?;
    Ok(imported.report(context))
}

fn multipath(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let wanted = import::multipath::Wanted {
        mask: given.get_flag("mask"),
        force: given.get_flag("force"),
    };
    let asked = Asked {
        files: files_of(given),
        bindings: given.get_one::<String>("bindings").cloned(),
        dry_run: given.get_flag("dry-run"),
    };
    Ok(multipath_files(context, &asked, wanted)?.report(context))
}

/// Imports a configuration of multipath-tools, unless this is a dry run.
///
/// # Errors
/// A file cannot be read, is not a configuration, or cannot be written.
pub(super) fn multipath_files(
    context: &mut Context,
    asked: &Asked,
    wanted: import::multipath::Wanted,
) -> Result<Imported, Failure> {
    import(context, asked, &|files, bindings, rules, settings| {
        import::multipath::plan_files(files, bindings, rules, settings, wanted)
    })
}

/// What is imported.
pub(super) struct Asked {
    /// Names of files; `-` is standard input.
    pub files: Vec<String>,
    /// Name of a bindings file.
    pub bindings: Option<String>,
    pub dry_run: bool,
}

/// What was imported, or would be.
pub(super) struct Imported {
    /// Names of the files.
    names: String,
    pub plan: Plan,
    /// What to do now.
    said: Vec<String>,
}

impl Imported {
    fn report(self, context: &mut Context) -> Listing {
        context.warn(self.said);
        let (refused, all) = (self.plan.refused(), self.plan.entries.len());
        if refused > 0 {
            let names = self.names;
            context.partly(format!(
                "{names}: {refused} of the {all} listed entries were refused"
            ));
        }
        listing(&self.plan.entries)
    }
}

fn files_of(given: &ArgMatches) -> Vec<String> {
    given
        .get_many("file")
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

/// The name of a file and its text.
type Named<'a> = (&'a str, &'a str);

/// A function that makes a plan from files and a bindings file.
type Planner<'a> =
    dyn Fn(&[Named], Option<Named>, &RuleFiles, SettingsFile) -> Result<Plan, String> + 'a;

fn import(context: &mut Context, asked: &Asked, plan: &Planner) -> Result<Imported, Failure> {
    let text = |file: &String| {
        let name = match file.as_str() {
            "-" => "standard input",
            file => file,
        };
        let refused =
            |why: String| Failure::Refused(format!("{name}: {why}; nothing was imported"));
        let bytes = read(file).map_err(|why| refused(format!("it cannot be read: {why}")))?;
        let text = import::text::of(bytes).map_err(refused)?;
        Ok::<_, Failure>((name.to_owned(), text))
    };
    let files: Vec<(String, String)> = asked.files.iter().map(text).collect::<Result<_, _>>()?;
    let bindings = asked.bindings.as_ref().map(text).transpose()?;
    let texts: Vec<Named> = files
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    let bindings: Option<Named> = bindings.as_ref().map(|(name, text)| (&**name, &**text));
    let names: Vec<&str> = texts
        .iter()
        .chain(&bindings)
        .map(|(name, _)| *name)
        .collect();
    let names = names.join(", ");
    let places = context.places();
    // The lock is held until the rules are saved, so that the rules that the plan is based on do not change.
    let edit = if asked.dry_run {
        None
    } else {
        Some(Edit::open(&places.admin_rules())?)
    };
    let settings = SettingsFile::open(&places)?;
    let plan = plan(&texts, bindings, &rules::load(&places)?, settings);
    let plan =
        plan.map_err(|why| Failure::Refused(format!("{names}: {why}; nothing was imported")))?;
    let said = match edit {
        Some(edit) => carry_out(context, edit, &plan)?,
        None => Vec::new(),
    };
    Ok(Imported { names, plan, said })
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
