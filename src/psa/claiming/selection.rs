//! Selects the plug-in of a device, and its SATP and PSP.
//!
//! A device belongs to one plug-in: that of its first path that is not masked. It does not matter how rules decide on
//! its other paths.

use crate::psa::claim::Claim;
use crate::psa::mpp::Plugin;
use crate::psa::plugin::hpp;
use crate::psa::rules::Rules;
use crate::psa::satp::Evidence;
use crate::psa::satp::rule::DeviceFacts;
use crate::psa::satp::rules::Selection;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::state::proof::Identity;

/// The facts that SATP rules look at: those of the first path that can be judged, preferably one that is not masked.
pub(in crate::psa) fn satp_question<'a>(
    world: &'a World,
    device: &'a Device,
) -> Option<(DeviceFacts<'a>, Evidence<'a>)> {
    let (path, inquiry) = world
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
        device: device.id(),
        vendor: inquiry.vendor_trimmed(),
        model: inquiry.product_trimmed(),
        inquiry: &inquiry.raw,
        driver: &path.facts().adapter.driver,
        transport: path.facts().transport,
        paths: device.paths().len(),
        had_map: world.memory.devices.contains(device.wwid()),
    };
    Some((facts, World::evidence(path, device.ports.groups())))
}

/// The selection by these rules for a device whose paths are claimed like this; `None` while none of them can be
/// judged.
pub(in crate::psa) fn selection(
    world: &World,
    rules: &Rules,
    device: &Device,
    claim: impl Fn(&Path) -> Option<Claim>,
) -> Option<Selection> {
    let (facts, evidence) = satp_question(world, device)?;
    let first = world
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

/// Describes a selection: the part that a change of rules could change.
pub(in crate::psa) fn in_words(selection: &Selection) -> String {
    match selection.plugin {
        Plugin::Hpp => format!(
            "HPP ({})",
            selection.settings.scheme.unwrap_or_default().name()
        ),
        _ => format!("{} and {}", selection.satp.name(), selection.psp.name()),
    }
}
