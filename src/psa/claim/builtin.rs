//! The claim rules that come with the product.

use super::rule::{Match, Rule};
use crate::psa::adapter::Transport;
use crate::psa::plugin::Plugin;

/// The rule that gives NMP whatever no other rule took; ESXi's number for it.
pub const CATCH_ALL: u32 = 65535;

/// ESXi's default rules that mean something on Linux. Numbers 50..=54 are those of ESXi 6.7 and later: local
/// transports go to NMP before any rule of the admin is asked, as there. 101 masks the access LUN of RDAC arrays,
/// a pseudo device that is no disk.
#[must_use]
pub fn builtin_rules() -> Vec<Rule> {
    let transport = |number, transport| Rule {
        number,
        matches: Match::Transport(transport),
        plugin: Plugin::Nmp,
    };
    let vendor = |number, vendor: &str, model: &str, plugin| Rule {
        number,
        matches: Match::Vendor {
            vendor: vendor.to_owned(),
            model: model.to_owned(),
        },
        plugin,
    };
    vec![
        transport(50, Transport::Usb),
        transport(51, Transport::Sata),
        transport(52, Transport::Ide),
        vendor(101, "DELL", "Universal Xport", Plugin::MaskPath),
        vendor(CATCH_ALL, "*", "*", Plugin::Nmp),
    ]
}
