//! A claim rule in written form: the options of `claimrule add`, and the keys of a `[[claimrule]]` in a rules file.

use crate::psa::adapter::Transport;
use crate::psa::claim::matching::{self, Match, PciIds, TargetPort, fc_name};
use crate::psa::claim::rule::{Rule, RuleClass, Xcopy};
use crate::psa::mpp::Plugin;
use crate::psa::names::DeviceId;
use crate::psa::pattern::{Pattern, length_remarks};
use crate::psa::plugin::hpp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that can also be written as a number: `lun = 20`, `lun = "*"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string or a number")]
        enum Either {
            Text(String),
            Number(u64),
        }
        Ok(Word(match Either::deserialize(from)? {
            Either::Text(text) => text,
            Either::Number(number) => number.to_string(),
        }))
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<u32>() {
            Ok(number) if number.to_string() == self.0 => to.serialize_u32(number),
            _ => to.serialize_str(&self.0),
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A claim rule in written form. Which keys are allowed depends on the type, see [`RuleSpec::build`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RuleSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    pub plugin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_vendor_id: Option<Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_sub_vendor_id: Option<Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nvme_controller_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lun: Option<Word>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iqn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwnn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwpn: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub xcopy_use_array_values: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub xcopy_use_multi_segs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xcopy_max_transfer_size_kib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_unset: Option<String>,
}

/// The types of rules, and the keys that each allows.
const TYPES: &[(&str, &[&str])] = &[
    (
        "vendor",
        &[
            "vendor",
            "model",
            "pci-vendor-id",
            "pci-sub-vendor-id",
            "nvme-controller-model",
        ],
    ),
    ("location", &["adapter", "channel", "target", "lun"]),
    ("driver", &["driver"]),
    ("transport", &["transport"]),
    ("device", &["device"]),
    ("target", &["transport", "iqn", "wwnn", "wwpn", "lun"]),
];

impl RuleSpec {
    /// The keys that define what is matched, with their values.
    fn matched(&self) -> [(&'static str, Option<&str>); 15] {
        fn text(text: &Option<String>) -> Option<&str> {
            text.as_deref()
        }
        fn number(word: &Option<Word>) -> Option<&str> {
            word.as_ref().map(|word| word.0.as_str())
        }
        [
            ("vendor", text(&self.vendor)),
            ("model", text(&self.model)),
            ("pci-vendor-id", number(&self.pci_vendor_id)),
            ("pci-sub-vendor-id", number(&self.pci_sub_vendor_id)),
            ("nvme-controller-model", text(&self.nvme_controller_model)),
            ("adapter", text(&self.adapter)),
            ("channel", number(&self.channel)),
            ("target", number(&self.target)),
            ("lun", number(&self.lun)),
            ("transport", text(&self.transport)),
            ("driver", text(&self.driver)),
            ("device", text(&self.device)),
            ("iqn", text(&self.iqn)),
            ("wwnn", text(&self.wwnn)),
            ("wwpn", text(&self.wwpn)),
        ]
    }

    /// The class that is given, or else MP.
    ///
    /// # Errors
    /// A message that lists the valid classes.
    pub fn class(&self) -> Result<RuleClass, String> {
        self.class
            .as_deref()
            .map_or(Ok(RuleClass::MP), RuleClass::by_name)
    }

    /// What the rule matches.
    ///
    /// # Errors
    /// The key that is missing, not allowed for the type, or has an invalid value, as text for the user.
    pub fn matches(&self) -> Result<Match, String> {
        let kind = self.kind.to_ascii_lowercase();
        let Some((kind, keys)) = TYPES.iter().find(|(name, _)| *name == kind) else {
            let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "there is no rule type `{}`: use one of {}",
                self.kind,
                names.join(", ")
            ));
        };
        let given = self.matched();
        let stray = given
            .iter()
            .find(|(key, value)| value.is_some() && !keys.contains(key));
        if let Some((key, _)) = stray {
            return Err(format!(
                "`{key}` is not valid with type {kind}, which takes {}",
                keys.join(", ")
            ));
        }
        let need = |key: &str| {
            let value = given.iter().find(|(k, _)| *k == key).and_then(|(_, v)| *v);
            value
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("type {kind} needs `{key}`"))
        };
        match *kind {
            "vendor" => self.vendor_match(),
            "location" => Ok(Match::Location {
                adapter: self
                    .adapter
                    .as_deref()
                    .map_or(Ok(None), matching::adapter)?,
                channel: matching::part("channel", self.channel.as_ref().map(|w| w.0.as_str()))?,
                target: matching::part("target", self.target.as_ref().map(|w| w.0.as_str()))?,
                lun: matching::part("LUN", self.lun.as_ref().map(|w| w.0.as_str()))?,
            })
            .and_then(|location| {
                let given = given.iter().any(|(_, value)| value.is_some());
                if given {
                    Ok(location)
                } else {
                    Err("type location needs one of adapter, channel, target, lun".to_owned())
                }
            }),
            "driver" => Ok(Match::Driver(need("driver")?.to_owned())),
            "transport" => Transport::by_name(need("transport")?).map(Match::Transport),
            "device" => Ok(Match::Device(DeviceId::from(need("device")?))),
            _ => {
                let port = match Transport::by_name(need("transport")?)? {
                    Transport::Fc | Transport::Fcoe => TargetPort::Fc {
                        wwnn: fc_name(need("wwnn")?)?,
                        wwpn: fc_name(need("wwpn")?)?,
                    },
                    Transport::Iscsi | Transport::IscsiVendor => TargetPort::Iscsi {
                        iqn: need("iqn")?.to_owned(),
                    },
                    other => {
                        return Err(format!(
                            "type target is valid with transport fc (wwnn, wwpn) and iscsi (iqn), not with {}",
                            other.as_str()
                        ));
                    }
                };
                let lun = matching::part("LUN", self.lun.as_ref().map(|w| w.0.as_str()))?;
                Ok(Match::Target { port, lun })
            }
        }
    }

    fn vendor_match(&self) -> Result<Match, String> {
        let pattern = |text: Option<&str>| {
            let text = text.filter(|text| !text.is_empty());
            text.map_or_else(|| Ok(Pattern::any()), Pattern::parse)
        };
        if let Some(model) = &self.nvme_controller_model {
            if self.vendor.is_some() || self.model.is_some() {
                return Err(
                    "`nvme-controller-model` cannot be combined with `vendor` or `model`"
                        .to_owned(),
                );
            }
            return Pattern::parse(model).map(Match::NvmeController);
        }
        if self.vendor.is_none() && self.model.is_none() && self.pci_vendor_id.is_none() {
            return Err("type vendor needs `vendor` or `model` (* is any)".to_owned());
        }
        let ids = PciIds {
            vendor: pattern(self.pci_vendor_id.as_ref().map(|w| w.0.as_str()))?,
            sub_vendor: pattern(self.pci_sub_vendor_id.as_ref().map(|w| w.0.as_str()))?,
        };
        Ok(Match::Vendor {
            vendor: pattern(self.vendor.as_deref())?,
            model: pattern(self.model.as_deref())?,
            pci: (!ids.vendor.is_any() || !ids.sub_vendor.is_any()).then_some(ids),
        })
    }

    /// The rule, with this number.
    ///
    /// # Errors
    /// As [`RuleSpec::matches`], or what is wrong with the rest.
    pub fn build(&self, number: u32) -> Result<Rule, String> {
        let class = self.class()?;
        let matches = self.matches()?;
        if self.plugin.is_empty() {
            return Err(
                "`plugin` is missing: use NMP, HPP, MASK_PATH, or another plug-in".to_owned(),
            );
        }
        let xcopy = Xcopy {
            use_array_values: self.xcopy_use_array_values,
            use_multi_segs: self.xcopy_use_multi_segs,
            max_transfer_kib: self.xcopy_max_transfer_size_kib.unwrap_or(0),
        };
        if class != RuleClass::VAAI && xcopy != Xcopy::default() {
            return Err(format!(
                "the xcopy options are valid with class VAAI, not with {}",
                class.as_str()
            ));
        }
        if let Some(config) = &self.config_string
            && self.plugin == Plugin::Hpp.as_str()
        {
            hpp::config_string(config)?;
        }
        if xcopy.use_multi_segs && !xcopy.use_array_values {
            return Err("`xcopy-use-multi-segs` requires `xcopy-use-array-values`".to_owned());
        }
        Ok(Rule {
            class,
            number,
            matches,
            plugin: self.plugin.clone(),
            xcopy,
            config: self.config_string.clone().unwrap_or_default(),
            if_unset: self.if_unset.clone(),
        })
    }

    /// The written form of a rule: the inverse of [`RuleSpec::build`].
    #[must_use]
    pub fn of(rule: &Rule) -> RuleSpec {
        fn number<T: ToString>(number: &Option<T>) -> Option<Word> {
            number.as_ref().map(|n| Word(n.to_string()))
        }
        let mut spec = RuleSpec {
            rule: Some(rule.number),
            class: (rule.class != RuleClass::MP).then(|| rule.class.as_str().to_owned()),
            kind: rule.matches.kind().to_owned(),
            plugin: rule.plugin.clone(),
            xcopy_use_array_values: rule.xcopy.use_array_values,
            xcopy_use_multi_segs: rule.xcopy.use_multi_segs,
            xcopy_max_transfer_size_kib: (rule.xcopy.max_transfer_kib != 0)
                .then_some(rule.xcopy.max_transfer_kib),
            config_string: (!rule.config.is_empty()).then(|| rule.config.clone()),
            if_unset: rule.if_unset.clone(),
            ..RuleSpec::default()
        };
        match &rule.matches {
            Match::Vendor { vendor, model, pci } => {
                spec.vendor = Some(vendor.to_string());
                spec.model = Some(model.to_string());
                if let Some(ids) = pci {
                    spec.pci_vendor_id = Some(Word(ids.vendor.to_string()));
                    spec.pci_sub_vendor_id = Some(Word(ids.sub_vendor.to_string()));
                }
            }
            Match::NvmeController(model) => spec.nvme_controller_model = Some(model.to_string()),
            Match::Location {
                adapter,
                channel,
                target,
                lun,
            } => {
                spec.adapter = Some(adapter.map_or("*".to_owned(), |n| format!("vmhba{n}")));
                spec.channel = number(channel);
                spec.target = number(target);
                spec.lun = number(lun);
            }
            Match::Transport(transport) => spec.transport = Some(transport.as_str().to_owned()),
            Match::Driver(driver) => spec.driver = Some(driver.clone()),
            Match::Device(device) => spec.device = Some(device.to_string()),
            Match::Target { port, lun } => {
                match port {
                    TargetPort::Fc { wwnn, wwpn } => {
                        spec.transport = Some("fc".to_owned());
                        spec.wwnn = Some(wwnn.clone());
                        spec.wwpn = Some(wwpn.clone());
                    }
                    TargetPort::Iscsi { iqn } => {
                        spec.transport = Some("iscsi".to_owned());
                        spec.iqn = Some(iqn.clone());
                    }
                }
                spec.lun = number(lun);
            }
        }
        spec
    }
}

impl Rule {
    /// Remarks on the rule, although it is accepted.
    #[must_use]
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = match &self.matches {
            Match::Vendor { vendor, model, .. } => length_remarks(Some(vendor), Some(model)),
            _ => Vec::new(),
        };
        match self.class {
            RuleClass::MP => {
                if Plugin::by_name(&self.plugin).is_none() {
                    remarks.push(format!(
                        "this build has no plug-in {}: the rule is stored, and paths that it matches go on to the next rule",
                        self.plugin
                    ));
                }
            }
            class => remarks.push(format!(
                "rules of class {} are stored and listed; on Linux they have no effect",
                class.as_str()
            )),
        }
        if self.if_unset.is_some() {
            remarks.push(
                "--if-unset is stored; Linux has no such variables, so the rule always runs"
                    .to_owned(),
            );
        }
        remarks
    }
}
