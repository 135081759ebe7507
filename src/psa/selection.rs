//! Which plug-in a device belongs to, and with it SATP and PSP.
//!
//! A device belongs to one plug-in, that of its first path which is not masked, however rules decide on its other paths.

use super::action::Severity;
use super::claim::Claim;
use super::device::Device;
use super::path::Path;
use super::plugin::{Plugin, hpp};
use super::proof::Identity;
use super::satp::Evidence;
use super::satp::rules::{DeviceFacts, Selection};
use super::units::Hctl;
use super::world::{Rules, World};

impl World {
    /// What SATP rules look at: the first path that can be judged, one that is not masked if there is one.
    pub(super) fn satp_question<'a>(
        &'a self,
        device: &'a Device,
    ) -> Option<(DeviceFacts<'a>, Evidence<'a>)> {
        let (path, inquiry) = self
            .paths_of(device)
            .filter(|path| {
                matches!(
                    path.proof.identity(),
                    Identity::Proven(_) | Identity::Nameless(_)
                )
            })
            .filter_map(|path| Some((path, path.inquiry.as_ref()?)))
            .min_by_key(|(path, _)| path.is_masked())?;
        let facts = DeviceFacts {
            device: &device.id,
            vendor: inquiry.vendor_trimmed(),
            model: inquiry.product_trimmed(),
            inquiry: &inquiry.raw,
            driver: &path.facts.adapter.driver,
            transport: path.facts.transport,
            paths: device.paths.len(),
        };
        Some((facts, Self::evidence(path, &device.groups)))
    }

    /// What rules say of a device whose paths are claimed like this; `None` while none of them can be judged.
    pub(super) fn selection(
        &self,
        rules: &Rules,
        device: &Device,
        claim: impl Fn(&Path) -> Option<Claim>,
    ) -> Option<Selection> {
        let (facts, evidence) = self.satp_question(device)?;
        let first = self
            .paths_of(device)
            .filter_map(claim)
            .find(|claim| claim.plugin != Plugin::MaskPath);
        Some(match first {
            Some(claim) if claim.plugin == Plugin::Hpp => {
                let config = rules.claim.config_of(claim).unwrap_or_default();
                hpp::selection(&facts, &evidence, config)
            }
            _ => rules.satp.select(&facts, &evidence),
        })
    }

    /// Decides on a device by the rules in force.
    pub(super) fn select(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let Some(selection) = self.selection(&self.rules, device, |path| path.claim) else {
            return;
        };
        let before = device.selection.as_ref().map(|s| s.satp.name());
        let changed = before != Some(selection.satp.name());
        let members: Vec<Hctl> = device.paths.iter().copied().collect();
        if let Some(device) = self.devices.get_mut(wwid) {
            device.selection = Some(selection);
        }
        if changed {
            for member in members {
                self.judge(member);
                // An ALUA path is of use once the state of its group is known.
                self.examine_now(member);
            }
        }
    }

    /// Gives the device's plug-in those of its paths that rules gave to another.
    pub(super) fn unite(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let Some(plugin) = device.selection.as_ref().map(|s| s.plugin) else {
            return;
        };
        for id in device.paths.clone() {
            let Some(path) = self.paths.get_mut(&id) else {
                continue;
            };
            let other = |claim: &&mut Claim| ![plugin, Plugin::MaskPath].contains(&claim.plugin);
            let Some(claim) = path.claim.as_mut().filter(other) else {
                continue;
            };
            claim.plugin = plugin;
            let (rule, name) = (claim.rule.to_string(), path.name.to_string());
            self.notify(
                Severity::Warning,
                "CLAIM_KEPT",
                name,
                &[
                    ("plugin", plugin.as_str()),
                    ("against_rule", &rule),
                    ("reason", "its device belongs to that plug-in already"),
                ],
            );
        }
    }
}
