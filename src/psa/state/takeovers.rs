//! Takeover budgets of the previous agent.

use crate::psa::names::Wwid;
use crate::psa::takeover::StoredTakeover;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Budgets of the previous agent by WWID, the time at which this agent started, and whether something has to be stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Recalled {
    pub(in crate::psa) budgets: BTreeMap<Wwid, StoredTakeover>,
    pub(in crate::psa) at: Millis,
    pub(in crate::psa) changed: bool,
}
