//! Checks SATP rules: which are invalid, which are doubtful, and remarks on those that are accepted.

use super::by_name;
use super::options;
use super::rule::SatpRule;
use crate::psa::pattern::length_remarks;
use crate::psa::psp::PspKind;

impl SatpRule {
    /// Checks whether the rule is valid.
    ///
    /// # Errors
    /// What is invalid, and the remedy, as text for the user.
    pub fn check(&self) -> Result<(), String> {
        let strings = self.vendor.is_some() || self.model.is_some();
        if self.satp.is_empty() {
            return Err("`satp` is missing".to_owned());
        }
        if self.driver.is_some() && strings {
            return Err(
                "`driver` cannot be combined with `vendor` and `model`: write two rules".to_owned(),
            );
        }
        if self.device.is_some() && (strings || self.driver.is_some()) {
            return Err(
                "`device` cannot be combined with `vendor`, `model` and `driver`: it already names one device"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Checks for content that is doubtful, which is accepted only with `--force`.
    ///
    /// # Errors
    /// What is doubtful, and the remedy, as text for the user.
    pub(crate) fn doubts(&self) -> Result<(), String> {
        let strings = self.vendor.is_some() || self.model.is_some();
        let words: Vec<&str> = options::words(&self.claim_options).collect();
        if words.contains(&"tpgs_on") && words.contains(&"tpgs_off") {
            return Err("claim options tpgs_on and tpgs_off exclude each other".to_owned());
        }
        options::device_options(&self.options)?;
        if self.is_known_psp() {
            options::psp_options(&self.psp_options)?;
        }
        if !strings
            && self.device.is_none()
            && self.driver.is_none()
            && self.transport.is_none()
            && self.claim_options.is_empty()
        {
            return Err(
                "the rule matches every device: name a vendor, a model, a driver, a transport, a device or a claim option"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Whether its PSP options are for a known PSP.
    fn is_known_psp(&self) -> bool {
        let psp = self.psp.as_deref();
        psp.is_none_or(|psp| PspKind::by_name(psp).is_some())
    }

    /// Remarks on the rule, although it is accepted.
    #[must_use]
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = length_remarks(self.vendor.as_ref(), self.model.as_ref());
        if by_name(&self.satp).is_none() {
            remarks.push(format!(
                "unknown SATP {}: the rule is stored, and devices that it matches go on to the next rule",
                self.satp
            ));
        }
        if !self.is_known_psp() {
            let psp = self.psp.as_deref().unwrap_or_default();
            remarks.push(format!(
                "this build has no {psp}: devices get the default PSP of their SATP"
            ));
        }
        if matches!(self.satp.as_str(), "VMW_SATP_ALUA" | "VMW_SATP_DEFAULT_AP")
            && self.psp.as_deref() == Some("VMW_PSP_FIXED")
        {
            remarks.push(
                "VMW_PSP_FIXED where controllers differ: two hosts that prefer paths of different controllers may move the LUN back and forth"
                    .to_owned(),
            );
        }
        remarks.extend(options::claim_option_remarks(&self.claim_options));
        remarks.extend(options::option_remarks(&self.options));
        if self.is_known_psp()
            && let Ok(options) = options::psp_options(&self.psp_options)
        {
            remarks.extend(options::psp_option_remarks(&options));
        }
        remarks
    }
}
