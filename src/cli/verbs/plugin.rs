//! `storage core plugin`: lists the plug-ins of this build.

use super::arguments::{option, text};
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_rules::{PluginLine, RegistrationLine};
use crate::cli::record::Listing;
use crate::psa::mpp::Plugin;
use crate::psa::psp::PspKind;
use crate::psa::satp;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["storage", "core", "plugin", "list"],
        about: "List the plug-ins that own paths",
        arguments: &[|| class(&["Filter", "MP", "VAAI", "all"])],
        run: |_, given| {
            // The other classes have no plug-ins.
            let plugins = Plugin::ALL.map(PluginLine);
            let plugins = plugins.iter().filter(|_| wants(given, "MP"));
            Ok(listing(&plugins.cloned().collect::<Vec<_>>()))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "plugin", "registration", "list"],
        about: "List the plug-in modules of this build: all are part of the agent's program",
        arguments: &[module, || class(CLASSES)],
        run: |_, given| {
            let module = text(given, "module-name");
            let wanted = |line: &RegistrationLine| {
                let named = module.as_ref().is_none_or(|module| *module == line.module);
                named && wants(given, line.class)
            };
            let lines: Vec<RegistrationLine> = registrations().filter(wanted).collect();
            Ok(listing(&lines))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "plugin", "registration", "add"],
        about: "Refused: this build does not support third-party plug-ins",
        arguments: &[
            || module().required(true),
            || class(CLASSES).required(true),
            || option("plugin-name", Some('P'), "NAME", "Name of the plug-in").required(true),
            || {
                option(
                    "dependencies",
                    Some('d'),
                    "MODULES",
                    "Modules that it depends on",
                )
            },
            || option("full-path", Some('p'), "FILE", "File of the module"),
        ],
        run: refuse,
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "plugin", "registration", "remove"],
        about: "Refused: all registered modules are part of the agent",
        arguments: &[|| module().required(true)],
        run: refuse,
        legacy: false,
    },
];

/// The classes of plug-ins on ESXi.
const CLASSES: &[&str] = &["Filter", "MP", "PSP", "SATP", "VAAI", "all"];

/// The plug-ins of this build, under ESXi's names for the modules.
fn registrations() -> impl Iterator<Item = RegistrationLine> {
    let program = agent_program();
    let line = move |module: String, name: String, class| RegistrationLine {
        module,
        name,
        class,
        program: program.clone(),
    };
    let module = |plugin| match plugin {
        Plugin::Nmp => "nmp",
        Plugin::Hpp => "hpp",
        Plugin::MaskPath => "mask_path_plugin",
    };
    let mp = Plugin::ALL.map(|plugin| (module(plugin).to_owned(), plugin.to_string(), "MP"));
    let of_nmp = |name: &str, class| (name.to_lowercase(), name.to_owned(), class);
    let satps = satp::all()
        .iter()
        .map(move |satp| of_nmp(satp.name(), "SATP"));
    let psps = PspKind::ALL
        .into_iter()
        .map(move |psp| of_nmp(psp.name(), "PSP"));
    mp.into_iter()
        .chain(satps)
        .chain(psps)
        .map(move |(module, name, class)| line(module, name, class))
}

/// The program of the agent, which is installed next to this one.
fn agent_program() -> String {
    let here = std::env::current_exe().unwrap_or_default();
    here.with_file_name("dm-psad").display().to_string()
}

fn wants(given: &ArgMatches, class: &str) -> bool {
    match text(given, "plugin-class").as_deref() {
        None | Some("all") => true,
        Some(wanted) => wanted.eq_ignore_ascii_case(class),
    }
}

fn refuse(_: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let module = text(given, "module-name").unwrap_or_default();
    Err(Failure::Refused(format!(
        "{module}: this build does not support third-party plug-ins, and its own cannot be removed; `psactl storage core plugin registration list` shows them"
    )))
}

fn module() -> Arg {
    option(
        "module-name",
        Some('m'),
        "MODULE",
        "nmp, vmw_satp_alua, ...",
    )
}

fn class(classes: &'static [&'static str]) -> Arg {
    option("plugin-class", Some('N'), "CLASS", "Class of plug-ins")
        .ignore_case(true)
        .value_parser(PossibleValuesParser::new(classes))
}
