//! The result of trying a rule, for the traces of claim rules and SATP rules.

use std::fmt;

/// The result of trying a rule. It borrows everything, so a trace that nobody reads formats nothing.
pub(in crate::psa) enum Tried<'a, Rule, Why> {
    /// The rule does not match.
    No(&'a Rule, Why),
    /// Anything else, as text.
    Said(fmt::Arguments<'a>),
}

impl<Rule: fmt::Display, Why: fmt::Display> fmt::Display for Tried<'_, Rule, Why> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tried::No(rule, why) => write!(f, "{rule}: no, {why}"),
            Tried::Said(line) => f.write_fmt(*line),
        }
    }
}
