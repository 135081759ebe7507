//! An admin ends the queueing of a map ([`crate::psa::change::Change::EndQueueing`]).

use crate::psa::change::Refusal;
use crate::psa::codes;
use crate::psa::names::DeviceId;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::maps::may_end_queueing;

/// Whether queueing can be ended. Returns the effect, as one line for the admin.
pub(in crate::psa) fn check_end_queueing(
    world: &World,
    device: &Device,
) -> Result<String, Refusal> {
    let id = device.id();
    let Some(map) = world.map_of(device.wwid()) else {
        return Err(Refusal::Refused(format!(
            "{id} has no map, so no I/O is queued"
        )));
    };
    if let Disposition::Foreign(what) = &device.disposition {
        return Err(Refusal::Refused(format!(
            "the map of {id} contains {what}: the agent does not change such a map"
        )));
    }
    may_end_queueing(map).map_err(|why| Refusal::Refused(format!("{id}: {why}")))?;
    Ok(format!("{id}: I/O fails now, until a path serves it again"))
}

/// Makes I/O of a device fail from now on, until a path serves it again.
pub(in crate::psa) fn end_queueing(world: &mut World, id: &DeviceId) {
    let Some(wwid) = world
        .device_with_id(id)
        .map(|device| device.wwid().to_owned())
    else {
        return;
    };
    if let Some(device) = world.devices.get_mut(&wwid) {
        device.queueing.end();
    }
    let effect = [("effect", "I/O fails until a path serves it again")];
    world.notify(codes::QUEUEING_ENDED, id.as_str(), &effect);
    world.dirty.insert(wwid);
}
