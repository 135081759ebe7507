//! `adopt`, `release`: from multipathd to the agent, and back.

use super::arguments::flag;
use super::import::{Asked, multipath_files};
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::handover::{DROP_IN, Decisions, adopt, release};
use crate::cli::import::multipath::Wanted;
use crate::cli::import::{Outcome, Plan};
use crate::cli::record::Listing;
use crate::config::{Places, memory_file, read_settings, rules, store};
use clap::{Arg, ArgMatches};
use std::path::Path;
use std::{fmt, fs, io};

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
    let left_out = |why: &dyn fmt::Display| {
        Failure::Refused(format!("{why}; --no-import leaves the configuration out"))
    };
    let places = context.places();
    let mut lines = Vec::new();
    let mut files = Vec::new();
    let mut plan = None;
    if !given.get_flag("no-import")
        && let Some(asked) = configuration(dry_run).map_err(|why| left_out(&why))?
    {
        for file in [places.settings(), places.admin_rules()] {
            let before = content(&file).map_err(|why| left_out(&why))?;
            files.push((file, before));
        }
        let imported =
            multipath_files(context, &asked, Wanted::default()).map_err(|why| left_out(&why))?;
        lines.extend(summary(&imported.plan, dry_run));
        plan = Some(imported.plan);
    }
    if dry_run {
        let decisions = decisions(&places, plan.as_ref())?;
        lines.extend(adopt::dry_run(context, decisions)?);
        return Ok(Listing::lines(lines));
    }
    match adopt::adopt(context) {
        Ok(adopted) => {
            lines.extend(adopted);
            Ok(Listing::lines(lines))
        }
        Err(failure) => {
            let kept = files.iter().filter_map(|(file, before)| {
                let why = put_back(file, before.as_deref()).err()?;
                Some(format!("{} keeps what was imported: {why}", file.display()))
            });
            let kept: Vec<String> = kept.collect();
            Err(match kept.as_slice() {
                [] => failure,
                kept => Failure::Refused(format!("{failure}; {}", kept.join("; "))),
            })
        }
    }
}

/// By what the agent would decide after the import.
fn decisions(places: &Places, plan: Option<&Plan>) -> Result<Decisions, Failure> {
    let files = rules::load(places)?;
    let (files, settings) = match plan {
        Some(plan) => plan.after(files)?,
        None => (files, read_settings(places).0),
    };
    Ok(Decisions {
        rules: files.in_force_at_start(),
        settings,
        memory: memory_file::load(places).0,
    })
}

/// The content of a file; `None` if it does not exist.
fn content(file: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(file) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Gives a file the content that it had, or removes it if there was none.
fn put_back(file: &Path, before: Option<&[u8]>) -> io::Result<()> {
    match before {
        Some(before) => store::replace(file, before),
        None => match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// The files of multipath-tools, if it is configured.
fn configuration(dry_run: bool) -> Result<Option<Asked>, String> {
    let is_there = |file: &str| {
        let is_there = Path::new(file).try_exists();
        is_there.map_err(|why| format!("{file}: {why}"))
    };
    let folder = "/etc/multipath/conf.d";
    let mut files = Vec::new();
    if is_there(folder)? {
        for entry in fs::read_dir(folder).map_err(|why| format!("{folder}: {why}"))? {
            let file = entry.map_err(|why| format!("{folder}: {why}"))?.path();
            let is_read = file.extension().is_some_and(|end| end == "conf");
            // DROP_IN has names and settings that the agent had.
            if is_read && file != Path::new("/").join(DROP_IN) {
                files.push(file.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    let whole = "/etc/multipath.conf";
    if is_there(whole)? {
        files.insert(0, whole.to_owned());
    }
    let bindings = "/etc/multipath/bindings";
    let bindings = is_there(bindings)?.then(|| bindings.to_owned());
    Ok((!files.is_empty()).then_some(Asked {
        files,
        bindings,
        dry_run,
    }))
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
