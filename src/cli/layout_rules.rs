//! The columns of rules and plug-ins: `claimrule list`, `satp list`, `satp rule list`, `lint`. Names and order are
//! those of ESXi 8.

use super::layout::{Column, Layout};
use super::record::Style;
use crate::psa::claim::Rule;
use crate::psa::mpp::Plugin;
use crate::psa::psp::PspKind;
use crate::psa::report::lint::Finding;
use crate::psa::satp::rules::SatpRule;

/// A line of `claimrule list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRuleLine {
    /// The rule.
    pub rule: Rule,
    /// Whether the rule is in the runtime list; otherwise it is in the file list.
    pub runtime: bool,
}

impl Layout for ClaimRuleLine {
    const KIND: &'static str = "ClaimRule";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Rule Class", |l| l.rule.class.as_str().into()),
        ("Rule", |l| l.rule.number.into()),
        ("Class", |l| {
            (if l.runtime { "runtime" } else { "file" }).into()
        }),
        ("Type", |l| l.rule.matches.kind().into()),
        ("Plugin", |l| (&l.rule.plugin).into()),
        ("Matches", |l| (&l.rule.matches.to_string()).into()),
        ("XCOPY Use Array Reported Values", |l| {
            l.rule.xcopy.use_array_values.into()
        }),
        ("XCOPY Use Multiple Segments", |l| {
            l.rule.xcopy.use_multi_segs.into()
        }),
        ("XCOPY Max Transfer Size KiB", |l| {
            l.rule.xcopy.max_transfer_kib.into()
        }),
        ("Config String", |l| (&l.rule.config).into()),
    ];
}

/// A line of `satp list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SatpLine {
    /// Its name.
    pub name: String,
    /// Its default PSP.
    pub default_psp: String,
    /// The arrays that it is for.
    pub description: String,
}

impl Layout for SatpLine {
    const KIND: &'static str = "SATP";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Name", |s| (&s.name).into()),
        ("Default PSP", |s| (&s.default_psp).into()),
        ("Description", |s| (&s.description).into()),
    ];
}

impl Layout for SatpRule {
    const KIND: &'static str = "SATPRule";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Name", |r| (&r.satp).into()),
        ("Device", |r| {
            r.device.as_ref().map_or("", |d| d.as_str()).into()
        }),
        ("Vendor", |r| {
            r.vendor.as_ref().map_or("", |v| v.as_str()).into()
        }),
        ("Model", |r| {
            r.model.as_ref().map_or("", |m| m.as_str()).into()
        }),
        ("Driver", |r| r.driver.as_deref().unwrap_or("").into()),
        ("Transport", |r| {
            r.transport.map_or("", |t| t.as_str()).into()
        }),
        ("Options", |r| (&r.options).into()),
        ("Rule Group", |r| r.group.as_str().into()),
        ("Claim Options", |r| (&r.claim_options).into()),
        ("Default PSP", |r| r.psp.as_deref().unwrap_or("").into()),
        ("PSP Options", |r| (&r.psp_options).into()),
        ("Description", |r| (&r.description).into()),
    ];
}

impl Layout for Finding {
    const KIND: &'static str = "Finding";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Kind", |f| f.kind.into()),
        ("Rule", |f| (&f.rule).into()),
        ("Finding", |f| (&f.text).into()),
    ];
}

/// A line of `psp list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PspLine(pub PspKind);

impl Layout for PspLine {
    const KIND: &'static str = "PSP";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Name", |p| p.0.name().into()),
        ("Description", |p| p.0.plugin().description().into()),
    ];
}

/// A line of `plugin list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLine(pub Plugin);

impl Layout for PluginLine {
    const KIND: &'static str = "Plugin";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Plugin name", |p| (&p.0.to_string()).into()),
        ("Plugin class", |_| "MP".into()),
    ];
}

/// A line of `hpp device usermarkedssd list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedDevice(pub String);

impl Layout for MarkedDevice {
    const KIND: &'static str = "MarkedDevice";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[("Device", |d| (&d.0).into())];
}

/// A line of `plugin registration list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationLine {
    /// The name of the module on ESXi, `vmw_satp_alua`.
    pub module: String,
    /// The name of the plug-in, `VMW_SATP_ALUA`.
    pub name: String,
    /// `MP`, `SATP` or `PSP`.
    pub class: &'static str,
    /// The program that contains it.
    pub program: String,
}

impl Layout for RegistrationLine {
    const KIND: &'static str = "PluginRegistration";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Module Name", |r| (&r.module).into()),
        ("Plugin Name", |r| (&r.name).into()),
        ("Plugin Class", |r| r.class.into()),
        // The plug-ins are compiled in, so none depends on another one being loaded.
        ("Dependencies", |_| "".into()),
        ("Full Path", |r| (&r.program).into()),
    ];
}
