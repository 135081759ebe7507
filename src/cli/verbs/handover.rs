//! `adopt`, `release`: from multipathd to the agent, and back.

use super::arguments::flag;
use super::import::{Asked, multipath_files};
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::handover::{DROP_IN, adopt, release};
use crate::cli::import::multipath::Wanted;
use crate::cli::import::{Outcome, Plan};
use crate::cli::record::Listing;
use crate::config::store;
use clap::{Arg, ArgMatches};
use std::fs;
use std::path::{Path, PathBuf};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["adopt"],
        about: "Take the maps of a running multipathd over to the agent, with its configuration, while I/O goes on",
        arguments: &[dry_run, || {
            flag(
                "no-import",
                None,
                "Do not import /etc/multipath.conf, the files of /etc/multipath/conf.d and /etc/multipath/bindings",
            )
        }],
        run: adopt,
        legacy: false,
    },
    Verb {
        words: &["release"],
        about: "Hand the maps of the agent over to multipathd, while I/O goes on",
        arguments: &[dry_run],
        run: |context, given| release::release(context, given.get_flag("dry-run")),
        legacy: false,
    },
];

fn dry_run() -> Arg {
    flag("dry-run", None, "Print what would be done, and do nothing")
}

/// Imports the configuration first, because the agent reads it when it starts. If the maps cannot be taken over, the
/// files are as they were.
fn adopt(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let dry_run = given.get_flag("dry-run");
    let mut lines = Vec::new();
    let mut before = Vec::new();
    if !given.get_flag("no-import")
        && let Some(asked) = configuration(dry_run)
    {
        let places = context.places();
        let files = [places.settings(), places.admin_rules()];
        before.extend(files.map(|file| (fs::read(&file).ok(), file)));
        let imported = multipath_files(context, &asked, Wanted::default())
            .map_err(|why| Failure::Refused(format!("{why} (--no-import leaves it out)")))?;
        lines.extend(summary(&imported.plan, dry_run));
    }
    let adopted = adopt::adopt(context, dry_run);
    if adopted.is_err() && !dry_run {
        before.into_iter().try_for_each(put_back)?;
    }
    lines.extend(adopted?);
    Ok(Listing::lines(lines))
}

/// The files of multipath-tools, if it is configured.
fn configuration(dry_run: bool) -> Option<Asked> {
    let whole = Path::new("/etc/multipath.conf");
    let mut parts: Vec<PathBuf> = fs::read_dir("/etc/multipath/conf.d")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|end| end == "conf"))
        // It has names and settings that the agent had.
        .filter(|file| *file != Path::new("/").join(DROP_IN))
        .collect();
    parts.sort();
    if whole.exists() {
        parts.insert(0, whole.to_owned());
    }
    let bindings = "/etc/multipath/bindings";
    (!parts.is_empty()).then(|| Asked {
        files: parts
            .into_iter()
            .map(|file| file.to_string_lossy().into_owned())
            .collect(),
        bindings: Path::new(bindings).exists().then(|| bindings.to_owned()),
        dry_run,
    })
}

/// What was imported, and each entry that was not, although it means something.
fn summary(plan: &Plan, dry_run: bool) -> Vec<String> {
    let count = |outcome| {
        let entries = plan.entries.iter();
        entries.filter(|entry| entry.outcome == outcome).count()
    };
    let are = if dry_run { "would be" } else { "are" };
    let mut lines = vec![format!(
        "of the configuration of multipath-tools {} entries {are} imported, {} are refused",
        count(Outcome::Imported) + count(Outcome::There),
        count(Outcome::Refused)
    )];
    let refused = plan.entries.iter();
    let refused = refused.filter(|entry| entry.outcome == Outcome::Refused);
    lines.extend(refused.map(|entry| {
        let (line, subject, why) = (entry.line, &entry.subject, &entry.detail);
        format!("  line {line}: {subject}: {why}")
    }));
    lines
}

/// Gives a file the content that it had, or removes it if there was none.
fn put_back((content, file): (Option<Vec<u8>>, PathBuf)) -> Result<(), Failure> {
    let done = match content {
        Some(content) => store::replace(&file, &content),
        None => match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    done.map_err(|why| {
        let file = file.display();
        Failure::Refused(format!(
            "the maps were not taken over, and {file} keeps what was imported: {why}"
        ))
    })
}
