//! Finds the emulated ports of tcm_loop.

use super::device::Device;
use super::survey::{Survey, TcmLoop};
use super::tree::{Sysfs, attribute, names_in, numbered};

const TCM_LOOP: &str = "tcm_loopback";

/// A port of tcm_loop by host and target number, from the configuration of the target: sysfs has only the ordinal of
/// the adapter since the module was loaded.
pub(super) fn tcm_loop_port(
    survey: &mut Survey,
    device: &Device,
    driver: &str,
) -> Option<(String, u32)> {
    if driver != TCM_LOOP {
        return None;
    }
    let sysfs = &survey.sysfs;
    let ports = survey
        .batch
        .tcm_loop
        .get_or_insert_with(|| read_tcm_loop(sysfs));
    let key = (device.hctl.host, device.hctl.target);
    let any_of_host = || ports.range((key.0, 0)..=(key.0, u32::MAX)).next();
    match ports.get(&key) {
        Some(port) => Some(port.clone()),
        None => any_of_host().map(|(_, port)| port.clone()),
    }
}

/// `address` (`tcm_loop_wwn_address_show`) is `host:channel:target`.
fn read_tcm_loop(sysfs: &Sysfs) -> TcmLoop {
    let mut ports = TcmLoop::new();
    let fabric = sysfs.sys("kernel/config/target/loopback");
    for wwn in names_in(&fabric) {
        let groups = names_in(&fabric.join(&wwn));
        for (name, group) in groups
            .iter()
            .filter_map(|name| Some((name, numbered(name, "tpgt_")?)))
        {
            let address = attribute(&fabric.join(&wwn).join(name).join("address"));
            let numbers: Vec<u32> = address
                .iter()
                .flat_map(|text| text.split(':'))
                .filter_map(|text| text.parse().ok())
                .collect();
            if let [host, _channel, target] = numbers[..] {
                ports.insert((host, target), (wwn.clone(), group));
            }
        }
    }
    ports
}
