//! What a claim rule matches, in ESXi's notation.

use crate::psa::adapter::Transport;
use crate::psa::facts::Subject;
use crate::psa::names::DeviceId;
use crate::psa::pattern::Pattern;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a claim rule matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// INQUIRY strings.
    Vendor {
        /// Vendor.
        vendor: Pattern,
        /// Product.
        model: Pattern,
        /// PCI ids of the controller of a local NVMe disk.
        pci: Option<PciIds>,
    },
    /// Type `vendor` with `--nvme-controller-model`: the model of an NVMe controller.
    NvmeController(Pattern),
    /// The runtime name; `None` matches anything.
    Location {
        /// `N` of `vmhbaN`.
        adapter: Option<u32>,
        /// Channel.
        channel: Option<u32>,
        /// Target.
        target: Option<u32>,
        /// LUN.
        lun: Option<u64>,
    },
    /// Transport.
    Transport(Transport),
    /// Driver of the HBA.
    Driver(String),
    /// The device id, `naa.6001...`.
    Device(DeviceId),
    /// A target port, and a LUN behind it.
    Target {
        /// The port.
        port: TargetPort,
        /// The LUN; `None` matches any.
        lun: Option<u64>,
    },
}

/// PCI ids, as written: `*` or `0x8086`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciIds {
    /// Vendor.
    pub vendor: Pattern,
    /// Subsystem vendor.
    pub sub_vendor: Pattern,
}

/// A target port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetPort {
    /// By its Fibre Channel names, 16 lower-case hex digits each.
    Fc {
        /// Node name.
        wwnn: String,
        /// Port name.
        wwpn: String,
    },
    /// By its iSCSI name.
    Iscsi {
        /// `iqn.2001-05.com.example:x`
        iqn: String,
    },
}

/// The first attribute of a path that does not match a rule. It allocates nothing, because most rules do not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// An attribute has another value.
    Is(&'static str, &'a str),
    /// A number has another value.
    Number(&'static str, u64),
    /// The attribute is not known, or does not exist.
    Unknown(&'static str),
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Is(what, value) => write!(f, "{what} is `{value}`"),
            Mismatch::Number(what, value) => write!(f, "{what} is {value}"),
            Mismatch::Unknown(what) => f.write_str(what),
        }
    }
}

/// Normalizes a Fibre Channel name, written with or without colons or `0x`, to 16 lower-case hex digits.
///
/// # Errors
/// The form of a name, as text for the user.
pub(crate) fn fc_name(text: &str) -> Result<String, String> {
    let bare: String = text
        .trim_start_matches("0x")
        .chars()
        .filter(|c| *c != ':')
        .collect();
    if bare.len() == 16 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(bare.to_ascii_lowercase())
    } else {
        Err(format!(
            "`{text}` is not a Fibre Channel name: write 16 hex digits, 21:00:00:24:ff:8a:f5:c1"
        ))
    }
}

impl Match {
    /// ESXi's word for the type of the rule.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Match::Vendor { .. } | Match::NvmeController(_) => "vendor",
            Match::Location { .. } => "location",
            Match::Transport(_) => "transport",
            Match::Driver(_) => "driver",
            Match::Device(_) => "device",
            Match::Target { .. } => "target",
        }
    }

    /// Whether the rule matches every path.
    #[must_use]
    pub fn is_any(&self) -> bool {
        match self {
            Match::Vendor { vendor, model, pci } => {
                vendor.is_any() && model.is_any() && pci.is_none()
            }
            Match::Location {
                adapter: None,
                channel: None,
                target: None,
                lun: None,
            } => true,
            _ => false,
        }
    }

    /// Checks whether the rule matches.
    ///
    /// # Errors
    /// The first attribute that differs.
    pub fn test<'a>(&self, subject: &Subject<'a>) -> Result<(), Mismatch<'a>> {
        match self {
            Match::Vendor { vendor, model, pci } => {
                if !vendor.fits(subject.vendor, subject.inquiry) {
                    return Err(Mismatch::Is("vendor", subject.vendor));
                }
                if !model.fits(subject.model, subject.inquiry) {
                    return Err(Mismatch::Is("model", subject.model));
                }
                match pci {
                    Some(ids) if !(ids.vendor.is_any() && ids.sub_vendor.is_any()) => {
                        Err(Mismatch::Unknown("it is not a local NVMe disk"))
                    }
                    _ => Ok(()),
                }
            }
            Match::NvmeController(_) => {
                Err(Mismatch::Unknown("it is not behind an NVMe controller"))
            }
            Match::Location {
                adapter,
                channel,
                target,
                lun,
            } => {
                let name = subject.name;
                same("adapter", adapter.map(u64::from), name.adapter.into())
                    .and_then(|()| same("channel", channel.map(u64::from), name.channel.into()))
                    .and_then(|()| same("target", target.map(u64::from), name.target.into()))
                    .and_then(|()| same("LUN", *lun, name.lun))
            }
            Match::Transport(wanted) if *wanted == subject.facts.transport => Ok(()),
            Match::Transport(_) => {
                let is = subject.facts.transport.as_str();
                Err(Mismatch::Is("transport", is))
            }
            Match::Driver(driver) if *driver == subject.facts.adapter.driver => Ok(()),
            Match::Driver(_) => Err(Mismatch::Is("driver", &subject.facts.adapter.driver)),
            Match::Device(device) => match subject.device {
                Some(is) if is == device => Ok(()),
                Some(is) => Err(Mismatch::Is("device", is.as_str())),
                None => Err(Mismatch::Unknown("the device is not known yet")),
            },
            Match::Target { port, lun } => {
                let is = subject.facts.target.identifier.as_str();
                if port.is(is) {
                    same("LUN", *lun, subject.name.lun)
                } else {
                    Err(Mismatch::Is("target", is))
                }
            }
        }
    }

    /// Whether this rule matches every path that `other` matches; `false` where that cannot be decided.
    #[must_use]
    pub fn covers(&self, other: &Match) -> bool {
        fn number<T: PartialEq>(mine: Option<T>, theirs: Option<T>) -> bool {
            mine.is_none() || mine == theirs
        }
        match (self, other) {
            _ if self.is_any() => true,
            (
                Match::Vendor { vendor, model, pci },
                Match::Vendor {
                    vendor: v,
                    model: m,
                    pci: p,
                },
            ) => vendor.covers(v) && model.covers(m) && (pci.is_none() || pci == p),
            (
                Match::Location {
                    adapter,
                    channel,
                    target,
                    lun,
                },
                Match::Location {
                    adapter: a,
                    channel: c,
                    target: t,
                    lun: l,
                },
            ) => {
                number(*adapter, *a)
                    && number(*channel, *c)
                    && number(*target, *t)
                    && number(*lun, *l)
            }
            (Match::Target { port, lun }, Match::Target { port: p, lun: l }) => {
                port == p && number(*lun, *l)
            }
            _ => self == other,
        }
    }
}

impl Match {
    /// Whether there may be a path that both match. `true` only for rules of the same type, and only where it can be
    /// decided.
    #[must_use]
    pub(crate) fn overlaps(&self, other: &Match) -> bool {
        fn number<T: PartialEq>(mine: Option<T>, theirs: Option<T>) -> bool {
            mine.is_none() || theirs.is_none() || mine == theirs
        }
        let pattern = |a: &Pattern, b: &Pattern| a.covers(b) || b.covers(a);
        match (self, other) {
            (
                Match::Vendor { vendor, model, .. },
                Match::Vendor {
                    vendor: v,
                    model: m,
                    ..
                },
            ) => pattern(vendor, v) && pattern(model, m),
            (
                Match::Location {
                    adapter,
                    channel,
                    target,
                    lun,
                },
                Match::Location {
                    adapter: a,
                    channel: c,
                    target: t,
                    lun: l,
                },
            ) => {
                number(*adapter, *a)
                    && number(*channel, *c)
                    && number(*target, *t)
                    && number(*lun, *l)
            }
            _ => self == other,
        }
    }
}

fn same<'a>(what: &'static str, wanted: Option<u64>, is: u64) -> Result<(), Mismatch<'a>> {
    match wanted {
        Some(n) if n != is => Err(Mismatch::Number(what, is)),
        _ => Ok(()),
    }
}

impl TargetPort {
    /// Whether ESXi's target identifier, `fc.WWNN:WWPN` or `IQN,t,TPGT`, is that of this port.
    fn is(&self, identifier: &str) -> bool {
        match self {
            TargetPort::Fc { wwnn, wwpn } => identifier
                .strip_prefix("fc.")
                .and_then(|names| names.split_once(':'))
                .is_some_and(|(node, port)| {
                    node.eq_ignore_ascii_case(wwnn) && port.eq_ignore_ascii_case(wwpn)
                }),
            TargetPort::Iscsi { iqn } => identifier.split(',').next() == Some(iqn.as_str()),
        }
    }
}

impl fmt::Display for Match {
    /// ESXi's `Matches` column. It contains the PCI ids of a vendor rule only if the rule has some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn any<T: fmt::Display>(n: Option<T>) -> String {
            n.map_or_else(|| "*".to_owned(), |n| n.to_string())
        }
        match self {
            Match::Vendor { vendor, model, pci } => {
                write!(f, "vendor={vendor} model={model}")?;
                pci.as_ref().map_or(Ok(()), |ids| {
                    let (vendor, sub) = (&ids.vendor, &ids.sub_vendor);
                    write!(f, " pci_vendor_id={vendor} pci_sub_vendor_id={sub}")
                })
            }
            Match::NvmeController(model) => write!(f, "nvme_controller_model={model}"),
            Match::Location {
                adapter,
                channel,
                target,
                lun,
            } => {
                let adapter = adapter.map_or_else(|| "*".to_owned(), |n| format!("vmhba{n}"));
                let (channel, target, lun) = (any(*channel), any(*target), any(*lun));
                write!(
                    f,
                    "adapter={adapter} channel={channel} target={target} lun={lun}"
                )
            }
            Match::Transport(transport) => write!(f, "transport={}", transport.as_str()),
            Match::Driver(driver) => write!(f, "driver={driver}"),
            Match::Device(device) => write!(f, "device={device}"),
            Match::Target { port, lun } => {
                match port {
                    TargetPort::Fc { wwnn, wwpn } => {
                        write!(f, "transport=fc wwnn={wwnn} wwpn={wwpn}")
                    }
                    TargetPort::Iscsi { iqn } => write!(f, "transport=iscsi iqn={iqn}"),
                }?;
                write!(f, " lun={}", any(*lun))
            }
        }
    }
}

/// The keys of the `Matches` column. Values may contain blanks, so a value ends where the next key begins.
const KEYS: &[&str] = &[
    "vendor",
    "model",
    "pci_vendor_id",
    "pci_sub_vendor_id",
    "nvme_controller_model",
    "adapter",
    "channel",
    "target",
    "lun",
    "driver",
    "transport",
    "device",
    "wwnn",
    "wwpn",
    "iqn",
];

/// Splits `vendor=DELL model=Universal Xport` at its keys.
fn keys(text: &str) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for word in text.split(' ') {
        let key = word
            .split_once('=')
            .and_then(|(key, value)| Some((*KEYS.iter().find(|k| **k == key)?, value)))
            .filter(|(key, _)| !found.iter().any(|(before, _)| before == key));
        if let Some((key, value)) = key {
            found.push((key, value.to_owned()));
        } else if let Some((_, value)) = found.last_mut() {
            value.push(' ');
            value.push_str(word);
        }
    }
    found
}

impl std::str::FromStr for Match {
    type Err = String;

    /// Parses the `Matches` column of a listing by ESXi or dm-psa.
    fn from_str(text: &str) -> Result<Match, String> {
        let fields = keys(text.trim());
        let get = |key: &str| {
            let field = fields.iter().find(|(k, _)| *k == key);
            field.map(|(_, value)| value.trim_end())
        };
        let pattern = |key: &str| get(key).map_or_else(|| Ok(Pattern::any()), Pattern::parse);
        if get("vendor").is_some() || get("model").is_some() {
            let pci = get("pci_vendor_id").or(get("pci_sub_vendor_id")).is_some();
            let ids = PciIds {
                vendor: pattern("pci_vendor_id")?,
                sub_vendor: pattern("pci_sub_vendor_id")?,
            };
            return Ok(Match::Vendor {
                vendor: pattern("vendor")?,
                model: pattern("model")?,
                pci: (pci && !(ids.vendor.is_any() && ids.sub_vendor.is_any())).then_some(ids),
            });
        }
        if get("nvme_controller_model").is_some() {
            return Ok(Match::NvmeController(pattern("nvme_controller_model")?));
        }
        let port = match (get("wwnn"), get("wwpn"), get("iqn")) {
            (Some(wwnn), Some(wwpn), _) => Some(TargetPort::Fc {
                wwnn: fc_name(wwnn)?,
                wwpn: fc_name(wwpn)?,
            }),
            (_, _, Some(iqn)) => Some(TargetPort::Iscsi {
                iqn: iqn.to_owned(),
            }),
            _ => None,
        };
        if let Some(port) = port {
            let lun = part("lun", get("lun"))?;
            return Ok(Match::Target { port, lun });
        }
        match (get("device"), get("driver"), get("transport")) {
            (Some(device), _, _) => return Ok(Match::Device(DeviceId::from(device))),
            (_, Some(driver), _) => return Ok(Match::Driver(driver.to_owned())),
            (_, _, Some(word)) => return Transport::by_name(word).map(Match::Transport),
            _ => {}
        }
        if ["adapter", "channel", "target", "lun"]
            .iter()
            .all(|key| get(key).is_none())
        {
            return Err(format!(
                "`{text}` contains no attribute that a rule can match"
            ));
        }
        Ok(Match::Location {
            adapter: get("adapter").map_or(Ok(None), adapter)?,
            channel: part("channel", get("channel"))?,
            target: part("target", get("target"))?,
            lun: part("lun", get("lun"))?,
        })
    }
}

/// The number of an adapter from its name, such as `vmhba2`; `None` for `*`.
///
/// # Errors
/// The form of an adapter name, as text for the user.
pub fn adapter(text: &str) -> Result<Option<u32>, String> {
    if text == "*" {
        return Ok(None);
    }
    let number = text.strip_prefix("vmhba").and_then(|n| n.parse().ok());
    number.map(Some).ok_or_else(|| {
        format!("`{text}` is not an adapter: write vmhba2; `psactl core adapter list` shows all adapters")
    })
}

/// Parses a part of a runtime name; `None` for `*`, or if it is absent.
///
/// # Errors
/// The valid form, as text for the user.
pub fn part<T: std::str::FromStr>(what: &str, text: Option<&str>) -> Result<Option<T>, String> {
    match text {
        None | Some("*") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| format!("{what} `{text}` is not a number: write a number, or * for any")),
    }
}
