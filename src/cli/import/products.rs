//! `vendor` and `product`: the arrays that they name.

use super::expression::{self, Matches};
use super::region::Region;
use crate::psa::pattern::Pattern;

/// Patterns for an INQUIRY string; `None` matches any.
pub(super) type Patterns = Vec<Option<Pattern>>;

/// The patterns of a `vendor`.
///
/// # Errors
/// The part of it that no rule can express.
pub(super) fn vendors(value: &str) -> Result<Patterns, String> {
    patterns(value, expression::Name::vendor).map_err(|why| format!("vendor: {why}"))
}

/// The patterns of a `product`.
///
/// # Errors
/// The part of it that no rule can express.
pub(super) fn models(value: &str) -> Result<Patterns, String> {
    patterns(value, expression::Name::model).map_err(|why| format!("product: {why}"))
}

fn patterns(
    value: &str,
    pattern: fn(&expression::Name) -> Result<Pattern, String>,
) -> Result<Patterns, String> {
    match expression::parse(value)? {
        Matches::Any => Ok(vec![None]),
        Matches::Names(names) => names.iter().map(|name| pattern(name).map(Some)).collect(),
    }
}

fn shown(patterns: &Patterns) -> String {
    let text = |pattern: &Option<Pattern>| {
        let pattern = pattern.as_ref();
        pattern.map_or_else(|| "any".to_owned(), ToString::to_string)
    };
    let texts: Vec<String> = patterns.iter().map(text).collect();
    texts.join(", ")
}

/// All combinations of a vendor and a product.
pub(super) fn pairs(vendors: &Patterns, models: &Patterns) -> Vec<Region> {
    let with = |vendor: &Option<Pattern>| {
        let region = |model: &Option<Pattern>| Region::new(vendor.clone(), model.clone());
        models.iter().map(region).collect::<Vec<_>>()
    };
    vendors.iter().flat_map(with).collect()
}

/// The patterns as the report shows them, or why there are none.
pub(super) fn texts(patterns: Result<Patterns, String>) -> String {
    patterns.map_or_else(|why| why, |patterns| shown(&patterns))
}
