//! Translates the API calls that change something: each becomes a [`Change`] of the world.

use crate::api::error::ApiError;
use crate::api::requests::{ChangeRequest, Changed, SetHpp, SetRoundRobin, Unclaim};
use crate::psa::change::Scope;
use crate::psa::change::{Change, Refusal, SATP_WORDS};
use crate::psa::mpp::Plugin;
use crate::psa::psp::PspKind;
use crate::psa::settings::Scheme;
use crate::psa::settings::{DeviceSettings, LimitType, RoundRobin};
use crate::psa::units::Millis;
use crate::psa::world::World;
use serde_json::Value;

use super::answers::{detached_id, device_named, path_named};

/// Returns the change for a request, and the answer to it.
///
/// # Errors
/// The request is refused; nothing must be changed.
pub(super) fn change(world: &World, request: &ChangeRequest) -> Result<(Change, Value), ApiError> {
    let change = match request {
        ChangeRequest::SetPsp(set) => psp(world, &set.device, set.psp.as_deref()),
        ChangeRequest::SetPreferredPath(set) => preferred(world, &set.device, set.path.as_deref()),
        ChangeRequest::SetRoundRobin(set) => round_robin(world, set),
        ChangeRequest::SetHpp(set) => hpp(world, set),
        ChangeRequest::SetPathRank(set) => path_named(world, &set.path).map(|path| Change::Rank {
            path: path.name(),
            rank: set.rank,
        }),
        ChangeRequest::SetPathState(set) => {
            path_named(world, &set.path).map(|path| Change::PathState {
                path: path.name(),
                off: set.off,
                persist: set.persist.unwrap_or(true),
            })
        }
        ChangeRequest::SetDeviceState(set) => {
            device_named(world, &set.device).map(|device| Change::DeviceState {
                device: device.id().to_owned(),
                off: set.off,
                persist: set.persist.unwrap_or(true),
            })
        }
        ChangeRequest::FlushMap(asked) => {
            device_named(world, &asked.device).map(|device| Change::Flush {
                device: device.id().to_owned(),
            })
        }
        ChangeRequest::RefreshDevice(asked) => {
            device_named(world, &asked.device).map(|device| Change::Refresh {
                device: device.id().to_owned(),
            })
        }
        ChangeRequest::SetDeviceName(set) => {
            device_named(world, &set.device).map(|device| Change::DeviceName {
                device: device.id().to_owned(),
                name: set.name.clone(),
                persist: set.persist.unwrap_or(true),
            })
        }
        ChangeRequest::SetDeviceFlags(set) => {
            device_named(world, &set.device).map(|device| Change::DeviceFlags {
                device: device.id().to_owned(),
                perennially_reserved: set.perennially_reserved,
                shared_clusterwide: set.shared_clusterwide,
            })
        }
        ChangeRequest::RemoveDetached(asked) => Ok(Change::RemoveDetached {
            device: asked.device.as_ref().map(|name| detached_id(world, name)),
        }),
        ChangeRequest::SetSatpWord(set) => satp_word(world, &set.device, &set.word),
        ChangeRequest::Unclaim(Unclaim {
            matches,
            plugin,
            path,
            device,
        }) => scope(world, matches, plugin, path, device).map(Change::Unclaim),
        ChangeRequest::RunRules(asked) => {
            let (matches, path, device) = (&asked.matches, &asked.path, &asked.device);
            if matches.is_none() && path.is_none() && device.is_none() {
                Ok(Change::RunRules(None))
            } else {
                let scope = scope(world, matches, &None, path, device);
                scope.map(|scope| Change::RunRules(Some(scope)))
            }
        }
        ChangeRequest::SetAutoclaim(set) => Ok(Change::Autoclaim { on: set.enabled }),
        // The API thread reads the rule files first and passes the rules to the owner.
        ChangeRequest::LoadRules(_) => Err(ApiError::Failed {
            reason: "the rules files were not read".to_owned(),
        }),
        ChangeRequest::Reclaim(asked) => {
            device_named(world, &asked.device).map(|device| Change::Reclaim {
                device: device.id().to_owned(),
            })
        }
        ChangeRequest::EndQueueing(asked) => {
            device_named(world, &asked.device).map(|device| Change::EndQueueing {
                device: device.id().to_owned(),
            })
        }
    };
    change.and_then(|change| {
        let effect = world.check(&change).map_err(refused)?;
        let answer =
            serde_json::to_value(Changed { effect }).map_err(|error| ApiError::Failed {
                reason: error.to_string(),
            })?;
        Ok((change, answer))
    })
}

fn psp(world: &World, device: &str, psp: Option<&str>) -> Result<Change, ApiError> {
    let device = device_named(world, device)?.id().to_owned();
    let kind = |name: &str| {
        PspKind::by_name(name)
            .ok_or_else(|| invalid("psp", name, "use VMW_PSP_FIXED, VMW_PSP_MRU or VMW_PSP_RR"))
    };
    let psp = psp.map(kind).transpose()?;
    Ok(Change::Psp { device, psp })
}

fn preferred(world: &World, device: &str, path: Option<&str>) -> Result<Change, ApiError> {
    let device = device_named(world, device)?.id().to_owned();
    let path = path.map(|path| path_named(world, path).map(|path| path.name()));
    let path = path.transpose()?;
    Ok(Change::Preferred { device, path })
}

fn round_robin(world: &World, set: &SetRoundRobin) -> Result<Change, ApiError> {
    let device = device_named(world, &set.device)?.id().to_owned();
    let limit_type = |name: &str| {
        LimitType::by_name(name)
            .ok_or_else(|| invalid("limit_type", name, "use default, iops, bytes or latency"))
    };
    let limits = [set.iops, set.bytes, set.latency_eval_ms];
    if limits.contains(&Some(0)) || set.sampling_cycles == Some(0) {
        return Err(invalid("parameters", "0", "a limit must be at least 1"));
    }
    Ok(Change::RoundRobin {
        device,
        set: RoundRobin {
            limit_type: set.limit_type.as_deref().map(limit_type).transpose()?,
            iops: set.iops,
            bytes: set.bytes,
            use_ano: set.use_ano,
            sampling_cycles: set.sampling_cycles,
            latency_eval_ms: set.latency_eval_ms.map(Millis),
        },
    })
}

fn hpp(world: &World, set: &SetHpp) -> Result<Change, ApiError> {
    let device = device_named(world, &set.device)?.id().to_owned();
    let all = Scheme::ALL.map(Scheme::name).join(", ");
    let scheme = |name: &str| {
        Scheme::by_name(name).ok_or_else(|| invalid("scheme", name, &format!("use one of {all}")))
    };
    let preferred = set.path.as_deref().filter(|path| !path.is_empty());
    let preferred = preferred.map(|path| Ok(path_named(world, path)?.name()));
    Ok(Change::Hpp {
        device,
        no_preferred: set.path.as_deref() == Some(""),
        set: Box::new(DeviceSettings {
            scheme: set.scheme.as_deref().map(scheme).transpose()?,
            preferred: preferred.transpose()?,
            round_robin: RoundRobin {
                iops: set.iops,
                bytes: set.bytes,
                use_ano: set.use_ano,
                sampling_cycles: set.sampling_ios,
                latency_eval_ms: set.latency_eval_ms.map(Millis),
                ..RoundRobin::default()
            },
            is_ssd: set.is_ssd,
            ..DeviceSettings::default()
        }),
    })
}

fn satp_word(world: &World, device: &str, word: &str) -> Result<Change, ApiError> {
    let device = device_named(world, device)?.id().to_owned();
    let (on, off) = (word.strip_prefix("enable_"), word.strip_prefix("disable_"));
    let known = |name: &&str| SATP_WORDS.iter().any(|(word, ..)| word == name);
    let Some(name) = on.or(off).filter(known) else {
        let words: Vec<&str> = SATP_WORDS.iter().map(|(word, ..)| *word).collect();
        let reason = format!(
            "use enable_ or disable_ followed by one of {}",
            words.join(", ")
        );
        return Err(invalid("word", word, &reason));
    };
    Ok(Change::Satp {
        device,
        name: name.to_owned(),
        on: on.is_some(),
    })
}

fn scope(
    world: &World,
    matches: &Option<String>,
    plugin: &Option<String>,
    path: &Option<String>,
    device: &Option<String>,
) -> Result<Scope, ApiError> {
    match (matches, plugin, path, device) {
        (Some(matches), None, None, None) => match matches.parse() {
            Ok(matches) => Ok(Scope::Matching(matches)),
            Err(why) => Err(invalid("matches", matches, &why)),
        },
        (None, Some(plugin), None, None) => match Plugin::by_name(plugin) {
            Some(plugin) => Ok(Scope::Plugin(plugin)),
            None => Err(invalid("plugin", plugin, "use NMP, HPP or MASK_PATH")),
        },
        (None, None, Some(path), None) => {
            path_named(world, path).map(|path| Scope::Path(path.name().to_string()))
        }
        (None, None, None, Some(device)) => {
            device_named(world, device).map(|device| Scope::Device(device.id().to_owned()))
        }
        _ => Err(invalid(
            "parameters",
            "",
            "give exactly one of matches, plugin, path and device",
        )),
    }
}

fn invalid(parameter: &str, value: &str, reason: &str) -> ApiError {
    ApiError::InvalidParameter {
        parameter: parameter.to_owned(),
        value: value.to_owned(),
        reason: reason.to_owned(),
    }
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotFound(subject) => super::answers::not_found(&subject),
        Refusal::Refused(reason) => ApiError::Failed { reason },
    }
}
