//! One SATP rule.

use crate::psa::adapter::Transport;
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
    /// The word of `satp rule list`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Group::User => "user",
            Group::System => "system",
        }
    }
}

/// What kind of attribute a rule goes by: the order in which rules are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// The device.
    Device,
    /// The driver of the HBA.
    Driver,
    /// INQUIRY strings, or nothing but a claim option.
    Vendor,
    /// The transport.
    Transport,
}

/// A SATP rule. Absent attributes match anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SatpRule {
    /// `VMW_SATP_ALUA`, or one that this build may not have.
    pub satp: String,
    /// Device identifier.
    pub device: Option<String>,
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
    /// Default PSP of the devices that it matches.
    pub psp: Option<String>,
    /// Options for that PSP, as written: `iops=1;policy=latency`.
    pub psp_options: String,
    /// For a person.
    pub description: String,
    /// Who made it.
    pub group: Group,
}

impl SatpRule {
    /// When it is looked up.
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

    /// Whether it goes by more than a claim option.
    #[must_use]
    pub fn names_something(&self) -> bool {
        self.vendor.is_some()
            || self.model.is_some()
            || self.device.is_some()
            || self.driver.is_some()
            || self.transport.is_some()
    }

    /// Its place: by lookup; the admin's before the system's; vendor and model before one of them before none. Rules
    /// that are equal in this stay in the order of their list.
    #[must_use]
    pub fn order(&self) -> (Lookup, Group, u8) {
        let named = u8::from(self.vendor.is_some()).saturating_add(self.model.is_some().into());
        (self.lookup(), self.group, 2u8.saturating_sub(named))
    }

    /// Whether it is about a certain array or device, and not about whatever comes by a transport or a driver, or reports
    /// target port groups.
    #[must_use]
    pub fn names_array(&self) -> bool {
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

    /// Whether the attributes by which it matches are those of `other`: of two such rules only the first counts.
    #[must_use]
    pub fn matches_like(&self, other: &SatpRule) -> bool {
        self.device == other.device
            && self.vendor == other.vendor
            && self.model == other.model
            && self.driver == other.driver
            && self.transport == other.transport
            && self.tpgs() == other.tpgs()
    }

    /// Whether it matches every device that `other` matches; `false` where it cannot be told.
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

    /// Whether the rule matches; if not, why not.
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
        let is = |wanted: &Option<String>, text| wanted.as_ref().is_none_or(|w| w == text);
        if !is(&self.device, device.device) {
            Err(Mismatch::Is("device", device.device))
        } else if !is(&self.driver, device.driver) {
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

/// The first attribute in which a device is not what a rule asks for.
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
    /// The SATP and what the rule matches, for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {} (", self.group.as_str(), self.satp)?;
        let mut gap = "";
        let mut word = |key: &str, value: &dyn fmt::Display| {
            let written = write!(f, "{gap}{key}{value}");
            gap = " ";
            written
        };
        let texts = [("device=", &self.device), ("driver=", &self.driver)];
        for (key, value) in texts {
            value.as_ref().map_or(Ok(()), |value| word(key, value))?;
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

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFacts<'a> {
    /// Device identifier.
    pub device: &'a str,
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
    /// How many paths it has.
    pub paths: usize,
}
