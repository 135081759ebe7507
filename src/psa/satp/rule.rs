//! One SATP rule.

use crate::psa::adapter::Transport;
use crate::psa::names::DeviceId;
use crate::psa::pattern::Pattern;
use crate::psa::satp::Evidence;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who made a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Group {
    /// The admin.
    User,
    /// The product, an array vendor, or `--boot`.
    #[default]
    System,
}

impl Group {
    /// The word that `satp rule list` prints.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Group::User => "user",
            Group::System => "system",
        }
    }
}

/// The kind of attribute by which a rule matches. Rules are looked up in the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// The device.
    Device,
    /// The driver of the HBA.
    Driver,
    /// INQUIRY strings, or only a claim option.
    Vendor,
    /// The transport.
    Transport,
}

/// A SATP rule. An absent attribute matches anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SatpRule {
    /// `VMW_SATP_ALUA`; also names of SATPs that this build does not have.
    pub satp: String,
    /// Device id.
    pub device: Option<DeviceId>,
    /// INQUIRY vendor.
    pub vendor: Option<Pattern>,
    /// INQUIRY product.
    pub model: Option<Pattern>,
    /// Driver of the HBA.
    pub driver: Option<String>,
    /// Transport.
    pub transport: Option<Transport>,
    /// Claim options, as written: `tpgs_on`.
    pub claim_options: String,
    /// Options for the SATP and the PSA, as written: `reset_on_attempted_reserve`.
    pub options: String,
    /// PSP for the devices that it matches, unless the admin sets another; also names of PSPs that this build does not
    /// have.
    pub psp: Option<String>,
    /// Options for that PSP, as written: `iops=1;policy=latency`.
    pub psp_options: String,
    /// Description for the user.
    pub description: String,
    /// Who made it.
    pub group: Group,
}

impl SatpRule {
    /// At which step of the lookup it is tried.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        if self.device.is_some() {
            Lookup::Device
        } else if self.driver.is_some() {
            Lookup::Driver
        } else if self.vendor.is_some() || self.model.is_some() || self.transport.is_none() {
            Lookup::Vendor
        } else {
            Lookup::Transport
        }
    }

    /// Whether it matches by more than a claim option.
    #[must_use]
    pub(crate) fn names_something(&self) -> bool {
        self.vendor.is_some()
            || self.model.is_some()
            || self.device.is_some()
            || self.driver.is_some()
            || self.transport.is_some()
    }

    /// Its place in the order: by lookup; then the admin's rules before the system's; then rules with vendor and model
    /// before rules with one of them before rules with neither. Rules that are equal in this keep the order of their
    /// list.
    #[must_use]
    pub fn order(&self) -> (Lookup, Group, u8) {
        let named = u8::from(self.vendor.is_some()).saturating_add(self.model.is_some().into());
        (self.lookup(), self.group, 2u8.saturating_sub(named))
    }

    /// Whether it is about a certain array or device, not about everything with a certain transport or driver, or
    /// everything that reports target port groups.
    #[must_use]
    pub(crate) fn names_array(&self) -> bool {
        let says = |pattern: &Option<Pattern>| pattern.as_ref().is_some_and(|p| !p.is_any());
        self.device.is_some() || says(&self.vendor) || says(&self.model)
    }

    /// Claim option `tpgs_on` (`true`) or `tpgs_off` (`false`).
    #[must_use]
    pub fn tpgs(&self) -> Option<bool> {
        super::options::words(&self.claim_options).find_map(|word| match word {
            "tpgs_on" => Some(true),
            "tpgs_off" => Some(false),
            _ => None,
        })
    }

    /// Whether its matching attributes are the same as those of `other`. Of two such rules only the first has an
    /// effect.
    #[must_use]
    pub(crate) fn matches_like(&self, other: &SatpRule) -> bool {
        self.device == other.device
            && self.vendor == other.vendor
            && self.model == other.model
            && self.driver == other.driver
            && self.transport == other.transport
            && self.tpgs() == other.tpgs()
    }

    /// Whether it matches every device that `other` matches; `false` where that cannot be decided.
    #[must_use]
    pub fn covers(&self, other: &SatpRule) -> bool {
        fn pattern(mine: Option<&Pattern>, theirs: Option<&Pattern>) -> bool {
            match (mine, theirs) {
                (None, _) => true,
                (Some(mine), None) => mine.is_any(),
                (Some(mine), Some(theirs)) => mine.covers(theirs),
            }
        }
        fn equal<T: PartialEq>(mine: Option<&T>, theirs: Option<&T>) -> bool {
            mine.is_none() || mine == theirs
        }
        pattern(self.vendor.as_ref(), other.vendor.as_ref())
            && pattern(self.model.as_ref(), other.model.as_ref())
            && equal(self.device.as_ref(), other.device.as_ref())
            && equal(self.driver.as_ref(), other.driver.as_ref())
            && equal(self.transport.as_ref(), other.transport.as_ref())
            && equal(self.tpgs().as_ref(), other.tpgs().as_ref())
    }

    /// Whether the rule matches; if not, the reason.
    pub(super) fn test<'a>(
        &self,
        device: &DeviceFacts<'a>,
        evidence: &Evidence<'_>,
    ) -> Result<(), Mismatch<'a>> {
        let on = evidence.tpgs != crate::scsi::inquiry::Tpgs::None;
        let fits = |pattern: &Option<Pattern>, text| {
            let pattern = pattern.as_ref();
            pattern.is_none_or(|pattern| pattern.fits(text, device.inquiry))
        };
        if self.device.as_ref().is_some_and(|id| id != device.device) {
            Err(Mismatch::Is("device", device.device.as_str()))
        } else if self.driver.as_ref().is_some_and(|d| d != device.driver) {
            Err(Mismatch::Is("driver", device.driver))
        } else if !fits(&self.vendor, device.vendor) {
            Err(Mismatch::Is("vendor", device.vendor))
        } else if !fits(&self.model, device.model) {
            Err(Mismatch::Is("model", device.model))
        } else if self.transport.is_some_and(|t| t != device.transport) {
            Err(Mismatch::Is("transport", device.transport.as_str()))
        } else if self.tpgs().is_some_and(|wanted| wanted != on) {
            Err(Mismatch::Tpgs(on))
        } else {
            Ok(())
        }
    }
}

/// The first attribute of a device that does not match a rule.
pub(super) enum Mismatch<'a> {
    Is(&'static str, &'a str),
    /// Whether INQUIRY TPGS is other than 0.
    Tpgs(bool),
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Is(what, value) => write!(f, "{what} is `{value}`"),
            Mismatch::Tpgs(true) => f.write_str("INQUIRY TPGS is not 0"),
            Mismatch::Tpgs(false) => f.write_str("INQUIRY TPGS is 0"),
        }
    }
}

impl fmt::Display for SatpRule {
    /// The SATP and what the rule matches, as text for the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {} (", self.group.as_str(), self.satp)?;
        let mut gap = "";
        let mut word = |key: &str, value: &dyn fmt::Display| {
            let written = write!(f, "{gap}{key}{value}");
            gap = " ";
            written
        };
        let device = self.device.as_ref().map(DeviceId::as_str);
        for (key, value) in [("device=", device), ("driver=", self.driver.as_deref())] {
            value.map_or(Ok(()), |value| word(key, &value))?;
        }
        for (key, value) in [("vendor=", &self.vendor), ("model=", &self.model)] {
            value.as_ref().map_or(Ok(()), |value| word(key, value))?;
        }
        if let Some(transport) = self.transport {
            word("transport=", &transport.as_str())?;
        }
        if !self.claim_options.is_empty() {
            word("", &self.claim_options)?;
        }
        f.write_str(")")
    }
}

/// The facts about a device that rules look at.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFacts<'a> {
    /// Device id.
    pub device: &'a DeviceId,
    /// INQUIRY vendor, trimmed.
    pub vendor: &'a str,
    /// INQUIRY product, trimmed.
    pub model: &'a str,
    /// The standard INQUIRY data.
    pub inquiry: &'a [u8],
    /// Driver of the HBA.
    pub driver: &'a str,
    /// Transport of its paths.
    pub transport: Transport,
    /// The number of its paths.
    pub paths: usize,
    /// It had a map before.
    pub had_map: bool,
}
