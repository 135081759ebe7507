//! `explain`, `plan` and `inventory`: why devices are as they are, and the effect of other rules, on this host or on
//! data captured from another one.

use super::arguments::{flag, text};
use super::verb::Verb;
use crate::api::requests::{Explain, GetInventory, Plan};
use crate::api::types::{Explanation, Section};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::explanation;
use crate::cli::record::Listing;
use crate::config::{load_settings, rules};
use crate::psa::report::inventory::{Inventory, VERSION};
use crate::psa::satp::rules::Group;
use clap::{Arg, ArgMatches, value_parser};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time limit for a plan. A plan for ten thousand paths takes a second, and other plans may come before it.
const PLAN_WITHIN: Duration = Duration::from_secs(30);

/// The maximum size of a file. Ten thousand paths need less than half of it.
const LIMIT: u64 = 64 << 20;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["explain"],
        about: "Explain why a device or path is in its state",
        arguments: &[subject, inventory, verbose],
        run: explain,
        legacy: false,
    },
    Verb {
        words: &["plan"],
        about: "Show what the rules in the files would change, before they are loaded",
        arguments: &[inventory],
        run: plan,
        legacy: false,
    },
    Verb {
        words: &["inventory", "capture"],
        about: "Print what is known of all paths, for `explain` and `plan` on another machine",
        arguments: &[],
        run: |context, _| capture(context),
        legacy: false,
    },
];

fn subject() -> Arg {
    Arg::new("subject")
        .required(true)
        .value_name("DEVICE|PATH")
        .help("naa.6001..., vmhba2:C0:T0:L1, a path UID, or a Linux name (sdc, dm-3, 2:0:0:1)")
}

fn verbose() -> Arg {
    flag("verbose", None, "One line for each rule that was tried")
}

fn inventory() -> Arg {
    Arg::new("inventory")
        .long("inventory")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Use the output of `psactl inventory capture` and the rules in the files here; needs no agent")
}

fn explain(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let subject = text(given, "subject").unwrap_or_default();
    let verbose = given.get_flag("verbose");
    let Some(file) = given.get_one::<PathBuf>("inventory") else {
        let request = Explain { subject, verbose };
        return Ok(explanation(&context.ask(&request)?.explanation));
    };
    let mut files = rules::load(&context.places())?;
    files.lists.load(None);
    let world = read(file)?.revive(files.in_force());
    let explained = match verbose {
        true => world.explain_in_full(&subject),
        false => world.explain(&subject),
    };
    let (subject, sections) = explained
        .ok_or_else(|| Failure::NotFound(format!("{subject} is not in {}", file.display())))?;
    let sections = sections.into_iter().map(|(title, lines)| Section {
        title: title.to_owned(),
        lines,
    });
    Ok(explanation(&Explanation {
        subject,
        sections: sections.collect(),
    }))
}

fn plan(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let Some(file) = given.get_one::<PathBuf>("inventory") else {
        context.wait_no_longer_than(PLAN_WITHIN);
        return Ok(explanation(&context.ask(&Plan {})?.explanation));
    };
    let places = context.places();
    let mut files = rules::load(&places)?;
    let inventory = read(file)?;
    let before = match &inventory.rules {
        Some(rules) => rules.clone(),
        None => {
            if files.satp.iter().any(|rule| rule.group == Group::User) {
                context.warn([format!(
                    "{} does not contain the SATP rules of its host: all your rules count as new",
                    file.display()
                )]);
            }
            let mut shipped = files.clone();
            shipped.satp.retain(|rule| rule.group == Group::System);
            shipped.default_psps.clear();
            shipped.in_force()
        }
    };
    let world = inventory.revive(before);
    files.lists.load(None);
    let settings = if places.settings().exists() {
        load_settings(&places)?
    } else {
        inventory.settings.clone()
    };
    let sections = world.plan_with(&files.in_force(), &settings);
    Ok(explanation(&Explanation::of_plan(sections)))
}

fn capture(context: &mut Context) -> Result<Listing, Failure> {
    let mut whole: Option<Inventory> = None;
    loop {
        let from = whole.as_ref().map_or(0, |whole| whole.paths.len());
        let reply = context.ask(&GetInventory {
            from: u64::try_from(from).unwrap_or(u64::MAX),
        })?;
        let more = !reply.inventory.paths.is_empty();
        match &mut whole {
            Some(whole) => whole.paths.extend(reply.inventory.paths),
            None => whole = Some(reply.inventory),
        }
        if !more {
            break;
        }
    }
    let text = serde_json::to_string_pretty(&whole)
        .map_err(|why| Failure::Refused(format!("the inventory cannot be printed: {why}")))?;
    Ok(Listing::lines(text.lines().map(str::to_owned)))
}

fn read(file: &Path) -> Result<Inventory, Failure> {
    let refused = |why: String| Failure::Refused(format!("{}: {why}", file.display()));
    let mut text = String::new();
    let open = std::fs::File::open(file).map_err(|why| refused(why.to_string()))?;
    open.take(LIMIT.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|why| refused(why.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LIMIT) {
        return Err(refused(format!("the file is longer than {LIMIT} bytes")));
    }
    let inventory: Inventory = serde_json::from_str(&text).map_err(|why| {
        refused(format!(
            "{why}; the file must be the output of `psactl inventory capture`"
        ))
    })?;
    if inventory.version != VERSION {
        return Err(refused(format!(
            "the inventory has version {}, but this psactl reads version {VERSION}",
            inventory.version
        )));
    }
    Ok(inventory)
}
