//! The format of rule files.
//!
//! ```toml
//! [[claimrule]]
//! rule = 109
//! type = "location"
//! plugin = "MASK_PATH"
//! adapter = "vmhba2"
//! lun = 20
//!
//! [[satprule]]
//! satp = "VMW_SATP_ALUA"
//! vendor = "PURE"
//! model = "FlashArray"
//! psp = "VMW_PSP_RR"
//! psp-options = "iops=1"
//!
//! [default-psp]
//! VMW_SATP_ALUA = "VMW_PSP_RR"
//! ```
//!
//! Keys are the long option names of `claimrule add` and `satp rule add`. In system files a `[[satprule]]` may have
//! `arrays`: a list of vendors and models. Each entry becomes a rule, which inherits the other keys.

use crate::config::document::{Document, Mistake};
use crate::psa::adapter::Transport;
use crate::psa::claim::{Rule, RuleSpec};
use crate::psa::names::DeviceId;
use crate::psa::pattern::Pattern;
use crate::psa::psp::PspKind;
use crate::psa::satp::rules::{Group, SatpRule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleFile {
    /// Its claim rules in the order of the file.
    pub claim_rules: Vec<Rule>,
    /// Its SATP rules in the order of the file, each with the index of its `[[satprule]]`.
    pub satp_rules: Vec<(usize, SatpRule)>,
    /// SATP rules of other files that have no effect.
    pub removed_satp_rules: Vec<SatpRule>,
    /// Default PSPs by SATP.
    pub default_psps: BTreeMap<String, PspKind>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Raw {
    claimrule: Vec<Spanned<RuleSpec>>,
    satprule: Vec<Spanned<SatpSpec>>,
    removed_satprule: Vec<Spanned<SatpSpec>>,
    default_psp: BTreeMap<String, Spanned<String>>,
}

/// A SATP rule as written in a file.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct SatpSpec {
    satp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_options: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psp_options: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing)]
    arrays: Vec<Array>,
}

/// One line of `arrays`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Array {
    vendor: OneOrMore,
    model: OneOrMore,
    psp: Option<String>,
    psp_options: Option<String>,
    options: Option<String>,
    description: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        OneOrMore::More(Vec::new())
    }
}

impl OneOrMore {
    /// Each text; a single `None` if there are none.
    fn each(&self) -> Vec<Option<String>> {
        match self {
            OneOrMore::One(text) => vec![Some(text.clone())],
            OneOrMore::More(texts) if texts.is_empty() => vec![None],
            OneOrMore::More(texts) => texts.iter().cloned().map(Some).collect(),
        }
    }
}

impl SatpSpec {
    /// Returns the rules that it stands for.
    fn build(&self) -> Result<Vec<SatpRule>, String> {
        if self.arrays.is_empty() {
            return Ok(vec![self.build_one()?]);
        }
        if self.vendor.is_some() || self.model.is_some() {
            return Err("`arrays` cannot be combined with `vendor` or `model`".to_owned());
        }
        let mut rules = Vec::new();
        for array in &self.arrays {
            for vendor in array.vendor.each() {
                for model in array.model.each() {
                    let spec = SatpSpec {
                        vendor: vendor.clone(),
                        model,
                        psp: array.psp.clone().or(self.psp.clone()),
                        psp_options: array.psp_options.clone().or(self.psp_options.clone()),
                        options: array.options.clone().or(self.options.clone()),
                        description: array.description.clone().or(self.description.clone()),
                        arrays: Vec::new(),
                        ..self.clone()
                    };
                    rules.push(spec.build_one()?);
                }
            }
        }
        Ok(rules)
    }

    fn build_one(&self) -> Result<SatpRule, String> {
        let pattern = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(Pattern::parse).transpose()
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let transport = self.transport.as_deref().map(Transport::by_name);
        let rule = SatpRule {
            satp: self.satp.clone(),
            device: self.device.as_deref().map(DeviceId::from),
            vendor: pattern(&self.vendor)?,
            model: pattern(&self.model)?,
            driver: self.driver.clone(),
            transport: transport.transpose()?,
            claim_options: text(&self.claim_options),
            options: text(&self.options),
            psp: self.psp.clone(),
            psp_options: text(&self.psp_options),
            description: text(&self.description),
            group: Group::System,
        };
        rule.check()?;
        Ok(rule)
    }

    fn of(rule: &SatpRule) -> SatpSpec {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        SatpSpec {
            satp: rule.satp.clone(),
            device: rule.device.as_ref().map(ToString::to_string),
            vendor: rule.vendor.as_ref().map(ToString::to_string),
            model: rule.model.as_ref().map(ToString::to_string),
            driver: rule.driver.clone(),
            transport: rule.transport.map(|t| t.as_str().to_owned()),
            claim_options: text(&rule.claim_options),
            options: text(&rule.options),
            psp: rule.psp.clone(),
            psp_options: text(&rule.psp_options),
            description: text(&rule.description),
            arrays: Vec::new(),
        }
    }
}

/// Whether two rules are the same apart from their groups.
#[must_use]
pub(crate) fn same_but_group(one: &SatpRule, other: &SatpRule) -> bool {
    let group = Group::System;
    let plain = |rule: &SatpRule| SatpRule {
        group,
        ..rule.clone()
    };
    plain(one) == plain(other)
}

/// Reads a file of rules.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(text: &str) -> Result<RuleFile, String> {
    let (file, mistakes) = parse_leniently(text);
    match mistakes.first() {
        Some(mistake) => Err(mistake.to_string()),
        None => Ok(file),
    }
}

/// Reads a rule file leniently. A rule with a mistake is left out as a whole, because its meaning without the invalid
/// part is unknown.
pub(super) fn parse_leniently(text: &str) -> (RuleFile, Vec<Mistake>) {
    let mut document = Document::new(text);
    loop {
        let raw: Raw = document.take();
        match build(&raw) {
            Ok(file) => return (file, document.mistakes),
            Err((span, what)) => {
                if !document.refuse(&span, what) {
                    return (RuleFile::default(), document.mistakes);
                }
            }
        }
    }
}

/// Returns the rules of a file. The error is the place of a mistake and the reason.
fn build(raw: &Raw) -> Result<RuleFile, (Range<usize>, String)> {
    let mut file = RuleFile::default();
    for spec in &raw.claimrule {
        let wrong = |problem| (spec.span(), problem);
        let spec = spec.get_ref();
        let number = spec
            .rule
            .ok_or_else(|| wrong("`rule`, the number of the rule, is missing".to_owned()))?;
        let rule = spec.build(number).map_err(wrong)?;
        if number > crate::psa::claim::CATCH_ALL {
            return Err(wrong(format!(
                "rule {number} is out of range: use 0 to 65535"
            )));
        }
        if file
            .claim_rules
            .iter()
            .any(|other| other.key() == rule.key())
        {
            return Err(wrong(format!(
                "there are two rules {number} of class {}: change the number of one",
                rule.class.as_str()
            )));
        }
        file.claim_rules.push(rule);
    }
    for (index, spec) in raw.satprule.iter().enumerate() {
        let rules = spec.get_ref().build().map_err(|p| (spec.span(), p))?;
        let rules = rules.into_iter().map(|rule| (index, rule));
        file.satp_rules.extend(rules);
    }
    for spec in &raw.removed_satprule {
        let rules = spec.get_ref().build().map_err(|p| (spec.span(), p))?;
        file.removed_satp_rules.extend(rules);
    }
    for (satp, psp) in &raw.default_psp {
        let known: Result<PspKind, _> = psp.get_ref().parse();
        let known = known.map_err(|unknown| (psp.span(), unknown.to_string()))?;
        file.default_psps.insert(satp.clone(), known);
    }
    Ok(file)
}

/// Formats a claim rule as TOML keys and values.
pub(super) fn claim_rule_text(rule: &Rule) -> String {
    text(&RuleSpec::of(rule))
}

/// Formats a SATP rule as TOML keys and values.
pub(super) fn satp_rule_text(rule: &SatpRule) -> String {
    text(&SatpSpec::of(rule))
}

fn text<T: Serialize>(spec: &T) -> String {
    // Only texts, numbers and flags, all of which TOML can represent.
    toml::to_string(spec).unwrap_or_default()
}

/// Formats a file of claim rules.
#[must_use]
pub fn write_claim_rules<'a>(rules: impl Iterator<Item = &'a Rule>) -> String {
    let mut out =
        "# The loaded claim rules. Written by dm-psa; use psactl to change them.\n".to_owned();
    for rule in rules {
        out += &format!("\n[[claimrule]]\n{}", claim_rule_text(rule));
    }
    out
}
