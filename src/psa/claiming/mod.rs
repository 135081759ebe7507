//! Applies the rules: which plug-in owns a path, and which SATP and PSP a device gets.

pub(in crate::psa) mod mask_path;
pub(in crate::psa) mod run;
pub(in crate::psa) mod selection;
