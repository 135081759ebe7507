//! Which commands are sent to a path, and what the answers mean.

pub(in crate::psa) mod answers;
pub(in crate::psa) mod ask;
pub(in crate::psa) mod attention;
pub(in crate::psa) mod compare;
pub(in crate::psa) mod discovery;
pub(in crate::psa) mod disks;
pub(in crate::psa) mod hints;
pub(in crate::psa) mod judge;
pub(in crate::psa) mod marginal;
pub(in crate::psa) mod port_groups;
pub(in crate::psa) mod prove;
pub(in crate::psa) mod reread;
pub(in crate::psa) mod unchanged;
