//! `psactl graph`: draws a device and what leads to it.

use super::arguments::{flag, option, text};
use super::verb::Verb;
use crate::api::requests::GetTopology;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::graph::{Alike, dot::dot, svg::svg};
use crate::cli::record::Listing;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, value_parser};
use std::path::{Path, PathBuf};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[Verb {
    words: &["graph"],
    about: "Draw adapters, paths in their groups, target ports and the device, with their states",
    arguments: &[device, all, format, output],
    run: graph,
    legacy: false,
}];

fn device() -> Arg {
    Arg::new("device")
        .value_name("DEVICE")
        .required_unless_present("all")
        .conflicts_with("all")
        .help("The device: naa.6001..., or a Linux name of it (sdc, dm-3)")
}

fn all() -> Arg {
    flag(
        "all",
        None,
        "All devices; similar devices are drawn only once",
    )
}

fn format() -> Arg {
    option(
        "format",
        None,
        "FORMAT",
        "svg: a picture; dot: text for graphviz [default: svg; dot if FILE ends in .dot or .gv]",
    )
    .value_parser(PossibleValuesParser::new(["svg", "dot"]))
}

fn output() -> Arg {
    option("output", Some('o'), "FILE", "Write to this file").value_parser(value_parser!(PathBuf))
}

fn graph(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let device = text(given, "device");
    let devices = context.ask(&GetTopology { device })?.devices;
    let alike = match given.get_flag("all") {
        true => Alike::fold(&devices),
        false => Alike::single(&devices),
    };
    if alike.is_empty() {
        return Err(Failure::NotFound("there is no device to draw".to_owned()));
    }
    let output = given.get_one::<PathBuf>("output");
    let by_name = output
        .and_then(|file| file.extension())
        .is_some_and(|end| end == "dot" || end == "gv");
    let is_dot = text(given, "format").map_or(by_name, |format| format == "dot");
    let picture = if is_dot { dot(&alike) } else { svg(&alike) };
    match output {
        Some(file) => write(file, &picture),
        None => Ok(Listing::lines(picture.lines().map(str::to_owned))),
    }
}

fn write(file: &Path, picture: &str) -> Result<Listing, Failure> {
    // Written in place instead of to a new file, because it may be a device such as /dev/stdout.
    std::fs::write(file, picture)
        .map_err(|why| Failure::Refused(format!("{} cannot be written: {why}", file.display())))?;
    Ok(Listing::lines([]))
}
