//! The table of all commands, from which the parser, the help texts and the dispatch are built. Each namespace has a
//! file with its part of the table.

mod arguments;
mod boot;
mod claiming;
mod claimrule;
mod device;
mod esxcfg;
mod esxcli;
mod events;
mod foresee;
mod generate;
mod graph;
mod handover;
mod host;
mod hpp;
mod import;
mod lint;
mod namespaces;
mod pass_through;
mod plugin;
mod queueing;
mod replay;
mod rescan;
mod satp;
mod scsi;
mod settings;
mod statistics;
mod top;
mod verb;

pub use namespaces::NAMESPACES;
pub use verb::Verb;

/// The parts of the table, in the order of help.
const PARTS: &[&[Verb]] = &[
    host::VERBS,
    device::VERBS,
    queueing::VERBS,
    statistics::VERBS,
    rescan::VERBS,
    plugin::VERBS,
    claimrule::VERBS,
    claiming::VERBS,
    satp::VERBS,
    settings::VERBS,
    hpp::VERBS,
    events::VERBS,
    replay::VERBS,
    foresee::VERBS,
    graph::VERBS,
    top::VERBS,
    lint::VERBS,
    boot::VERBS,
    handover::VERBS,
    import::VERBS,
    pass_through::VERBS,
    esxcfg::VERBS,
    esxcli::VERBS,
    scsi::VERBS,
    generate::VERBS,
];

/// All commands.
pub fn verbs() -> impl Iterator<Item = &'static Verb> {
    PARTS.iter().copied().flatten()
}
