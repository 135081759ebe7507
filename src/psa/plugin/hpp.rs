//! HPP, the high performance plug-in: for active/active arrays, and for arrays that decide themselves which ports are
//! optimized.
//!
//! It has neither SATPs nor PSPs. A *path selection scheme* chooses among the paths, and the states of target port
//! groups are used as reported. It declines arrays that only the host can switch.
//!
//! Its maps are request-based, as NMP's are. Bio-based maps would save a request queue, but with all paths down each
//! table load fails the I/O that they queue, with or without NOFLUSH (`multipath_presuspend`; seen on 6.12).

use crate::psa::facts::Subject;
use crate::psa::mpp::Plugin;
use crate::psa::psp::{PspKind, in_words};
use crate::psa::satp::alua::Alua;
use crate::psa::satp::rule::DeviceFacts;
use crate::psa::satp::rules::{Selection, by_transport};
use crate::psa::satp::{Evidence, Satp, options};
use crate::psa::settings::{DeviceSettings, RoundRobin, Scheme};
use crate::psa::units::Millis;
use crate::scsi::inquiry::{StandardInquiry, Tpgs};

impl Scheme {
    /// The PSP that arranges paths the way the scheme does.
    #[must_use]
    pub fn psp(self) -> PspKind {
        match self {
            Scheme::Fixed => PspKind::Fixed,
            _ => PspKind::RoundRobin,
        }
    }

    /// The kernel's selector that is most similar. For latency that would be historical-service-time, but distributions
    /// do not build it. service-time uses the path with the least data in flight.
    #[must_use]
    pub fn selector(self) -> &'static str {
        match self {
            Scheme::RoundRobin => "round-robin",
            Scheme::Iops => "queue-length",
            Scheme::Fixed | Scheme::Bytes | Scheme::Latency => "service-time",
        }
    }

    /// What takes effect, as text for the user.
    #[must_use]
    pub fn in_effect(self) -> &'static str {
        match self {
            Scheme::Fixed => "one path: the preferred one while it works",
            _ => in_words(self.selector()),
        }
    }

    /// `Path Selection Scheme Config` with the current settings.
    #[must_use]
    pub fn config(self, settings: &DeviceSettings) -> String {
        let set = &settings.round_robin;
        let useano = u8::from(set.use_ano());
        match self {
            Scheme::Fixed => {
                let preferred = settings.preferred.map(|path| path.to_string());
                let preferred = preferred.as_deref().unwrap_or("none");
                format!("{{preferred={preferred};}}")
            }
            Scheme::RoundRobin => format!(
                "{{iops={},bytes={};useANO={useano}}}",
                set.iops(),
                set.bytes()
            ),
            Scheme::Iops | Scheme::Bytes => format!("{{useANO={useano}}}"),
            Scheme::Latency => format!(
                "{{latency-eval-time={},sampling-ios-per-path={};useANO={useano}}}",
                latency_eval_ms(set).0,
                set.sampling_cycles()
            ),
        }
    }
}

/// The evaluation interval; HPP's default differs from that of VMW_PSP_RR.
fn latency_eval_ms(set: &RoundRobin) -> Millis {
    set.latency_eval_ms.unwrap_or(Millis::from_secs(30))
}

/// Whether HPP can own the path. It cannot if only SET TARGET PORT GROUPS moves a logical unit.
pub(super) fn accepts(subject: &Subject<'_>) -> Result<(), &'static str> {
    match StandardInquiry::parse(subject.inquiry) {
        Ok(inquiry) if inquiry.tpgs == Tpgs::Explicit => {
            Err("only the host can switch the array (TPGS explicit), which HPP does not do")
        }
        _ => Ok(()),
    }
}

/// Selects how the paths of a device are judged: by the target port groups if they are reported, otherwise as its
/// transport suggests. A lone local disk stays as it is, as with NMP. `config` is the config string of the claim rule.
pub(crate) fn selection(
    facts: &DeviceFacts<'_>,
    evidence: &Evidence<'_>,
    config: &str,
) -> Selection {
    let satp = match Alua.accepts(evidence) {
        Ok(()) => &Alua,
        Err(_) => by_transport(facts).0,
    };
    Selection {
        plugin: Plugin::Hpp,
        satp,
        psp: satp.default_psp(),
        rule: None,
        // An invalid string was already refused when the rule was made.
        settings: config_string(config).unwrap_or_default(),
    }
}

/// Parses the config string of a claim rule: `pss=LB-Latency,latency-eval-time=180000`, in any order.
///
/// # Errors
/// Which word is wrong, and what is valid.
pub(crate) fn config_string(text: &str) -> Result<DeviceSettings, String> {
    let mut settings = DeviceSettings::default();
    for word in options::words(text) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = |least: u64, most: u64| options::in_range(key, value, least, most);
        let set = &mut settings.round_robin;
        match key {
            "pss" => match Scheme::by_name(value) {
                Some(scheme) => settings.scheme = Some(scheme),
                None => {
                    return Err(format!(
                        "pss=`{value}` is not a path selection scheme: use one of {}",
                        Scheme::ALL.map(Scheme::name).join(", ")
                    ));
                }
            },
            "iops" => set.iops = Some(number(1, 10_000)?),
            "bytes" => set.bytes = Some(number(1, 100 << 20)?),
            "latency-eval-time" => {
                set.latency_eval_ms = Some(Millis(number(10_000, 300_000)?));
            }
            "sampling-ios-per-path" => {
                set.sampling_cycles = u32::try_from(number(16, 160)?).ok();
            }
            // Another text names no path.
            "path" | "preferred" => settings.preferred = value.parse().ok(),
            "useano" | "useANO" => set.use_ano = Some(number(0, 1)? == 1),
            _ => {
                return Err(format!(
                    "config string: unknown option `{word}`; HPP takes pss, iops, bytes, latency-eval-time, \
                     sampling-ios-per-path, path and useano"
                ));
            }
        }
    }
    Ok(settings)
}
