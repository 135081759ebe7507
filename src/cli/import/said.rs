//! The keywords of a section that count, and the report on the others.

use super::conf::{Keyword, Section};
use super::plan::{Plan, Remark};
use super::report::Outcome;
use super::{keywords, normal};

/// The name of a keyword in the report.
pub(super) fn subject(section: &str, keyword: &Keyword) -> String {
    format!("{section} {keyword}")
}

/// Reports the same remark for everything in a section.
pub(super) fn within(plan: &mut Plan, section: &Section, remark: &Remark) {
    for keyword in &section.keywords {
        plan.report(
            keyword.line,
            subject(&section.name, keyword),
            remark.clone(),
        );
    }
}

/// A keyword with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) line: usize,
    /// Its canonical name, if it has two.
    pub(super) name: &'a str,
    /// The value, as [`normal::normal`] returns it.
    pub(super) value: &'a str,
    keyword: &'a Keyword,
}

impl Said<'_> {
    pub(super) fn subject(&self, section: &str) -> String {
        subject(section, self.keyword)
    }
}

/// The value of a keyword. A missing value, and words after the value, are reported.
pub(super) fn value<'a>(plan: &mut Plan, name: &str, keyword: &'a Keyword) -> Option<Said<'a>> {
    if !keyword.extra.is_empty() {
        let extra = keyword.extra.join(" ");
        let why = format!(
            "multipath-tools ignores `{extra}` after the value: quote a value that contains blanks"
        );
        // An extra brace is only layout.
        let outcome = if keyword.extra.iter().all(|word| word == "}") {
            Outcome::LeftOut
        } else {
            Outcome::Refused
        };
        plan.report(keyword.line, subject(name, keyword), (outcome, why));
    }
    match &keyword.value {
        Some(value) => Some(Said {
            line: keyword.line,
            name: normal::canonical(&keyword.name),
            value,
            keyword,
        }),
        None => {
            let why = "it has no value: multipath-tools ignores it".to_owned();
            plan.report(
                keyword.line,
                subject(name, keyword),
                (Outcome::Refused, why),
            );
            None
        }
    }
}

/// The effective keywords: those that are allowed in the section, have a value that multipath-tools accepts and are not
/// set again later. The others are reported.
pub(super) fn counting<'a>(
    plan: &mut Plan,
    section: char,
    name: &str,
    keywords: impl Iterator<Item = &'a Keyword>,
) -> Vec<Said<'a>> {
    let mut said: Vec<Said<'a>> = Vec::new();
    for keyword in keywords {
        let Some(mut new) = value(plan, name, keyword) else {
            continue;
        };
        if let Err(remark) = keywords::check(section, &keyword.name) {
            plan.report(keyword.line, subject(name, keyword), remark);
            continue;
        }
        match normal::normal(new.name, new.value) {
            Ok(value) => new.value = value,
            Err(why) => {
                plan.report(
                    keyword.line,
                    subject(name, keyword),
                    (Outcome::Refused, why),
                );
                continue;
            }
        }
        if let Some(old) = said.iter_mut().find(|old| old.name == new.name) {
            let why = format!("{} sets it again", plan.at(new.line));
            plan.report(old.line, old.subject(name), (Outcome::LeftOut, why));
            *old = new;
        } else {
            said.push(new);
        }
    }
    said
}

/// The remark on a value that another one overrides.
pub(super) fn goes_before(plan: &Plan, line: usize) -> Remark {
    let why = format!("{} takes precedence", plan.at(line));
    (Outcome::LeftOut, why)
}
