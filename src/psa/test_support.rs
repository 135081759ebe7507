//! Made-up facts for the unit tests of `psa`.

use super::adapter::{AdapterFacts, TargetFacts, Transport};
use super::units::{DevT, Sectors, Sg};
use crate::psa::facts::{BlockFacts, Handler, PathFacts};

/// A path over Fibre Channel with a disk `name` of 1 GiB.
pub(super) fn facts(hctl: &str, name: &str) -> PathFacts {
    let hctl: super::units::Hctl = hctl.parse().unwrap();
    let minor = name.bytes().fold(0, |n, b| n * 16 + u32::from(b));
    PathFacts {
        hctl,
        block: Some(BlockFacts {
            name: name.to_owned(),
            dev: DevT { major: 8, minor },
            size: Sectors(1 << 21),
            read_only: false,
            max_io_bytes: 0,
            queue_depth: 0,
            rotational: false,
            usage: Vec::new(),
        }),
        sg: Some(Sg(minor)),
        device_type: 0,
        vendor: "SIM".to_owned(),
        model: "ARRAY".to_owned(),
        device_state: "running".to_owned(),
        handler: Handler::Attached("alua".to_owned()),
        transport: Transport::Fc,
        adapter: AdapterFacts {
            key: format!("fc.host{}", hctl.host),
            identifier: format!("fc.host{}", hctl.host),
            driver: "qla2xxx".to_owned(),
            link_state: "link-up".to_owned(),
            description: String::new(),
        },
        target: TargetFacts {
            identifier: format!("fc.target{}", hctl.target),
            details: String::new(),
            port_state: None,
            portal: None,
        },
    }
}
