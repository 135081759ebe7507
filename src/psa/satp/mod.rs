//! Storage array type plug-ins: what the evidence about a path means for one class of arrays.
//!
//! Input: the evidence about a path and its device. Output: a [`crate::psa::evidence::Judgement`], a hardware handler for the table, and the
//! configuration strings that esxcli shows. To add a SATP takes one file and one line in [`all`].

mod active_active;
mod active_passive;
pub(crate) mod alua;
mod alua_cx;
mod interface;
mod local;
pub mod options;
pub mod rule;
mod rule_check;
pub mod rules;

pub use interface::{Evidence, Satp};

/// The SATPs of this build, in the order of ESXi's `satp list`.
#[must_use]
pub fn all() -> &'static [&'static dyn Satp] {
    static ALL: [&dyn Satp; 13] = [
        &alua::Alua,
        &active_passive::MSA,
        &active_passive::DEFAULT_AP,
        &active_active::SVC,
        &active_active::EQL,
        &active_active::INV,
        &active_passive::EVA,
        &alua_cx::AluaCx,
        &active_active::SYMM,
        &active_passive::CX,
        &active_passive::LSI,
        &active_active::DEFAULT_AA,
        &local::Local,
    ];
    &ALL
}

/// The SATP of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Satp> {
    all().iter().copied().find(|satp| satp.name() == name)
}

/// Serializes a SATP as its name.
pub(super) mod in_text {
    use super::{Satp, by_name};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// # Errors
    /// The errors of the serializer.
    pub(crate) fn serialize<S: Serializer>(
        satp: &&'static dyn Satp,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(satp.name())
    }

    /// # Errors
    /// If this build has no SATP of this name.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<&'static dyn Satp, D::Error> {
        let name = String::deserialize(from)?;
        by_name(&name).ok_or_else(|| D::Error::custom(format!("there is no SATP {name}")))
    }
}
