//! Imports from an ESXi host: the output of `claimrule list` and `satp rule list` becomes rules, that of `satp list`
//! default PSPs, and that of `nmp device list` settings of devices (`choices`).
//!
//! A claim rule of the admin is in the file list of ESXi, and also in the runtime list if it is loaded. Rules in the
//! runtime list only are ESXi's own. A SATP rule of the admin is in the group `user`. Rules of ESXi itself are skipped
//! unless they are requested, because this host has its own.

use super::choices;
use super::listing;
use super::plan::{Plan, Remark, in_words, together};
use super::report::Outcome;
use super::rows::{Row, TRANSFER_SIZE_MB};
use crate::cli::typography;
use crate::config::rules::RuleFiles;
use crate::config::settings_file::SettingsFile;
use crate::psa::adapter::Transport;
use crate::psa::claim::lists::Permission;
use crate::psa::claim::{Match, Rule, RuleClass, RuleSpec, Xcopy};
use crate::psa::names::DeviceId;
use crate::psa::pattern::Pattern;
use crate::psa::satp::rules::{Group, SatpRule};
use std::collections::BTreeMap;

/// From this number on, rules of the classes Filter and VAAI are ESXi's own, although they are in its file list.
const FIRST_OF_VAAI: u32 = 65_429;

/// What is imported in addition to the rules of the admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Rules of ESXi itself.
    pub system: bool,
    /// Whether to accept reserved numbers, and rules that look like a mistake.
    pub may: Permission,
}

/// Plans the import of a listing.
///
/// # Errors
/// The text is not a listing, or is malformed as a whole: what is wrong where, and the remedy.
pub fn plan(text: &str, rules: &RuleFiles, wanted: Wanted) -> Result<Plan, String> {
    plan_with(text, rules, SettingsFile::default(), wanted)
}

/// Like [`plan`], with the settings that the host has.
///
/// # Errors
/// Same as [`plan`].
pub(crate) fn plan_with(
    text: &str,
    rules: &RuleFiles,
    settings: SettingsFile,
    wanted: Wanted,
) -> Result<Plan, String> {
    let listing = listing::read(text)?;
    let mut plan = Plan::new(rules, settings);
    plan.entries = listing.asides;
    let mut claim_rules = Vec::new();
    let mut devices = Vec::new();
    for row in &listing.rows {
        if let Some(why) = cut(row) {
            plan.report(row.line, subject(row), (Outcome::Refused, why));
        } else if let Some(why) = typography(row).filter(|_| !wanted.may.force) {
            plan.report(row.line, subject(row), (Outcome::Refused, why));
        } else if row.has("Plugin") && row.has("Matches") {
            match claim_rule(row) {
                Ok(rule) => claim_rules.push((row, rule)),
                Err(why) => plan.report(row.line, subject(row), (Outcome::Refused, why)),
            }
        } else if row.has("Storage Array Type") && row.has("Path Selection Policy") {
            devices.push(row);
        } else if row.has("Name") && row.has("Default PSP") && !row.has("Claim Options") {
            let (subject, remark) = choices::satp(&mut plan, row);
            plan.report(row.line, subject, remark);
        } else if row.has("Name") && row.has("Claim Options") {
            let (subject, remark) = satp_rule(&mut plan, row, wanted);
            plan.report(row.line, subject, remark);
        } else {
            let why = "neither a claim rule (Plugin, Matches), nor a SATP rule (Name, Claim Options), nor a SATP (Name, Default PSP), nor a device of NMP (Storage Array Type, Path Selection Policy)";
            plan.report(row.line, subject(row), (Outcome::Refused, why.to_owned()));
        }
    }
    add_claim_rules(&mut plan, &claim_rules, wanted);
    // After the default PSPs, on which some of them depend.
    for row in devices {
        let (subject, remark) = choices::device(&mut plan, row);
        plan.report(row.line, subject, remark);
    }
    plan.entries.sort_by_key(|entry| entry.line);
    Ok(plan)
}

/// A value that `Format-Table` of PowerShell truncated: a truncated name would be another name.
fn cut(row: &Row) -> Option<String> {
    let is_cut = |(name, value): &&(String, String)| {
        name != "Description" && (value.ends_with("...") || value.ends_with('\u{2026}'))
    };
    let (name, _) = row.cells.iter().find(is_cut)?;
    Some(format!(
        "column {name}: the value is cut off: use Format-List or Export-Csv"
    ))
}

/// Finds a typographic dash or quote, which no INQUIRY string contains. Published commands contain them, and so do the
/// rules of hosts where such a command was copied.
fn typography(row: &Row) -> Option<String> {
    let of = |(name, value): &(String, String)| {
        let found = typography::found(value)?;
        Some(format!("column {name}: {found}; --force imports it anyway"))
    };
    let mut cells = row.cells.iter().filter(|(name, _)| name != "Description");
    cells.find_map(of)
}

/// A row as text for the report, whatever it is.
fn subject(row: &Row) -> String {
    let values = row.cells.iter().map(|(_, value)| value.trim());
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    values.join(" ")
}

// ---- claim rules --------------------------------------------------------------------------------------------

/// A line of `claimrule list`.
struct Listed {
    rule: Rule,
    runtime: bool,
}

fn add_claim_rules(plan: &mut Plan, rules: &[(&Row, Listed)], wanted: Wanted) {
    let of = |wanted: bool| {
        let listed = rules.iter().filter(move |(_, l)| l.runtime == wanted);
        listed.map(|(row, listed)| (listed.rule.key(), (row.line, &listed.rule)))
    };
    let (file, loaded) = (of(false), of(true));
    let file: BTreeMap<_, _> = file.collect();
    let loaded: BTreeMap<_, _> = loaded.collect();
    for (row, Listed { rule, runtime }) in rules {
        if *runtime && file.contains_key(&rule.key()) {
            // The same rule, as it is loaded there; it is reported with the line of the file list.
            continue;
        }
        let own = rule.class != RuleClass::MP && rule.number >= FIRST_OF_VAAI;
        let remark = if *runtime && !wanted.system {
            let why = "only in the runtime list: a built-in rule of ESXi, or one that was removed";
            (Outcome::LeftOut, format!("{why}; --system imports it"))
        } else if own && !wanted.system {
            let why = format!(
                "its number is in the range of ESXi's built-in {} rules",
                rule.class.as_str()
            );
            (Outcome::LeftOut, format!("{why}; --system imports it"))
        } else {
            let (outcome, detail) = plan.add_claim_rule(rule.clone(), wanted.may);
            let mut remarks = vec![(outcome, detail)];
            if outcome == Outcome::Imported {
                remarks.extend(foreign(&rule.matches).map(|remark| (outcome, remark.to_owned())));
            }
            if let Some((line, there)) = loaded.get(&rule.key())
                && *there != rule
            {
                let other = format!("{}, {}", there.matches, there.plugin);
                let remark =
                    format!("on the ESXi host another rule was loaded, line {line}: {other}");
                remarks.push((outcome, remark));
            }
            together(remarks)
        };
        let class = rule.class.as_str();
        plan.report(row.line, format!("{class} {rule}, {}", rule.plugin), remark);
    }
}

/// The remark on a rule that names an object of the ESXi host.
fn foreign(matches: &Match) -> Option<&'static str> {
    match matches {
        Match::Location {
            adapter: Some(_), ..
        } => Some(
            "vmhba numbers may differ on this host: compare `psactl storage core adapter list` before you load it",
        ),
        Match::Driver(_) => Some(FOREIGN_DRIVER),
        _ => None,
    }
}

const FOREIGN_DRIVER: &str =
    "drivers have other names on Linux: compare `psactl storage core adapter list`";

/// The claim rule in a row.
fn claim_rule(row: &Row) -> Result<Listed, String> {
    let word = |column| row.get(column).trim();
    let class = match word("Rule Class") {
        // ESXi 4.0 does not have this column.
        "" => RuleClass::MP,
        name => RuleClass::by_name(name)?,
    };
    let number = word("Rule");
    let number = number
        .parse()
        .map_err(|_| format!("column Rule: `{number}` is not a number"))?;
    let runtime = match word("Class") {
        "runtime" => true,
        "file" => false,
        other => {
            return Err(format!(
                "column Class: `{other}` is neither runtime nor file"
            ));
        }
    };
    let matches = matches(row)?;
    let rule = Rule {
        class,
        number,
        matches,
        plugin: row.get("Plugin").trim().to_owned(),
        xcopy: xcopy(row)?,
        config: row.get("Config String").to_owned(),
        if_unset: None,
    };
    // Rules that `claimrule add` rejects are rejected here as well.
    let rule = RuleSpec::of(&rule).build(number)?;
    Ok(Listed { rule, runtime })
}

/// Parses the column Matches. It must be understood completely, because a part of it would match more.
fn matches(row: &Row) -> Result<Match, String> {
    let text = row.get("Matches");
    let matches: Match = text
        .parse()
        .map_err(|why| format!("column Matches: {why}"))?;
    let kind = row.get("Type").trim();
    if !kind.is_empty() && !kind.eq_ignore_ascii_case(matches.kind()) {
        return Err(format!(
            "column Matches: `{text}` is of type {}, but column Type says {kind}",
            matches.kind()
        ));
    }
    let printed = matches.to_string();
    let is_whole = match matches {
        // Names of ports can be written in more than one way.
        Match::Target { .. } => true,
        _ => words(&printed).eq(words(text)),
    };
    if is_whole {
        Ok(matches)
    } else {
        Err(format!(
            "column Matches: of `{text}`, only `{printed}` is supported"
        ))
    }
}

/// The words of a Matches column without padding and without those that mean "any", because releases print different
/// ones.
fn words(matches: &str) -> impl Iterator<Item = &str> {
    let words = matches.split(' ').filter(|word| !word.is_empty());
    words.filter(|word| !word.ends_with("=*"))
}

fn xcopy(row: &Row) -> Result<Xcopy, String> {
    let flag = |column: &str| match row.get(column).trim() {
        "" | "false" | "False" => Ok(false),
        "true" | "True" => Ok(true),
        other => Err(format!(
            "column {column}: `{other}` is neither true nor false"
        )),
    };
    let size = |column: &str, unit: u32| match row.get(column).trim() {
        "" => Ok(0),
        text => {
            let number = text.parse::<u32>().ok();
            number
                .and_then(|number| number.checked_mul(unit))
                .ok_or_else(|| format!("column {column}: `{text}` is not a size"))
        }
    };
    let kib = size("XCOPY Max Transfer Size KiB", 1)?;
    Ok(Xcopy {
        use_array_values: flag("XCOPY Use Array Reported Values")?,
        use_multi_segs: flag("XCOPY Use Multiple Segments")?,
        max_transfer_kib: kib.max(size(TRANSFER_SIZE_MB, 1024)?),
    })
}

// ---- SATP rules ---------------------------------------------------------------------------------------------

/// Imports a SATP rule; returns its name in the report, and the result.
fn satp_rule(plan: &mut Plan, row: &Row, wanted: Wanted) -> (String, Remark) {
    let rule = match build_satp_rule(row) {
        Ok(rule) => rule,
        Err(why) => return (subject(row), (Outcome::Refused, why)),
    };
    let name = in_words(&rule);
    let driver = rule.driver.is_some();
    let left_out = |why: &str| (Outcome::LeftOut, format!("{why}; --system imports it"));
    let remark = match row.get("Rule Group").trim() {
        "user" => plan.add_satp_rule(rule, wanted.may.force),
        "system" if !wanted.system => left_out("a built-in rule of ESXi (group system)"),
        "" if !wanted.system && !row.has("Rule Group") => {
            left_out("ESXi 4 does not distinguish built-in rules from those of the admin")
        }
        "system" | "" if plan.is_system_rule(&rule) => {
            (Outcome::There, "also a system rule here".to_owned())
        }
        "system" | "" => plan.add_satp_rule(rule, wanted.may.force),
        other => (
            Outcome::Refused,
            format!("column Rule Group: `{other}` is neither user nor system"),
        ),
    };
    let remark = match remark {
        (Outcome::Imported, remarks) if driver => together(vec![
            (Outcome::Imported, remarks),
            (Outcome::Imported, FOREIGN_DRIVER.to_owned()),
        ]),
        other => other,
    };
    (name, remark)
}

fn build_satp_rule(row: &Row) -> Result<SatpRule, String> {
    fn some<'a>(row: &'a Row, column: &str) -> Option<&'a str> {
        Some(row.get(column)).filter(|text| !text.is_empty())
    }
    let owned = |column| some(row, column).map(str::to_owned);
    let pattern = |column: &str| {
        let pattern = some(row, column).map(Pattern::parse).transpose();
        pattern.map_err(|why| format!("column {column}: {why}"))
    };
    let transport = some(row, "Transport").map(|name| Transport::by_name(name.trim()));
    let rule = SatpRule {
        satp: row.get("Name").trim().to_owned(),
        device: owned("Device").map(DeviceId::from),
        vendor: pattern("Vendor")?,
        model: pattern("Model")?,
        driver: owned("Driver"),
        transport: transport
            .transpose()
            .map_err(|why| format!("column Transport: {why}"))?,
        claim_options: row.get("Claim Options").to_owned(),
        options: row.get("Options").to_owned(),
        psp: owned("Default PSP"),
        psp_options: row.get("PSP Options").to_owned(),
        description: row.get("Description").to_owned(),
        // Whatever its group there, here it is a rule of the admin.
        group: Group::User,
    };
    if rule.satp.is_empty() {
        return Err("column Name: the SATP is missing".to_owned());
    }
    Ok(rule)
}
