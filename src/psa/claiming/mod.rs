//! Which plug-in owns a path, and which SATP and PSP take a device: the rules, applied.

pub(in crate::psa) mod mask_path;
pub(in crate::psa) mod run;
pub(in crate::psa) mod selection;
