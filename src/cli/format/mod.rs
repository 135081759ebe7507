//! The output formats, one file for each.

mod csv;
mod json;
mod keyvalue;
mod list;
mod prose;
mod table;
mod value;
mod xml;

use super::exit::Failure;
use super::record::{Listing, Style};
use value::Paint;

/// An output format that the user can request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line for each record.
    Table,
    /// `Key: value` lines.
    List,
    /// An array of objects; an object for a single record.
    Json,
    /// RFC 4180, with a header line.
    Csv,
    /// `<structure>` and `<field>` elements.
    Xml,
    /// `Type[n].Name.type=value` lines.
    Keyvalue,
}

/// Prints a listing, in the requested format or in its own style. The text is empty or ends with a line break.
#[must_use]
pub fn render(listing: &Listing, format: Option<Format>, colour: bool) -> String {
    let paint = Paint { colour };
    match (format, listing.style) {
        (Some(Format::Table), _) | (None, Style::Table) => table::render(listing, paint),
        (Some(Format::List), _) | (None, Style::List | Style::Sheet) => {
            list::render(listing, paint)
        }
        (None, Style::Prose) => prose::render(listing),
        (None, Style::Lines) => prose::render_lines(listing),
        (None, Style::Log) => prose::render_log(listing),
        (Some(Format::Json), _) => json::render(listing),
        (Some(Format::Csv), _) => csv::render(listing),
        (Some(Format::Xml), _) => xml::render(listing),
        (Some(Format::Keyvalue), _) => keyvalue::render(listing),
    }
}

/// Prints one part of output that arrives in parts: lines, or JSON with one object per line.
///
/// # Errors
/// The format needs to know the end of the output.
pub(crate) fn render_part(
    listing: &Listing,
    format: Option<Format>,
    colour: bool,
) -> Result<String, Failure> {
    match format {
        None => Ok(render(listing, None, colour)),
        Some(Format::Json) => Ok(json::render_each(listing)),
        Some(_) => Err(Failure::Usage(
            "output that is printed as it arrives supports only --formatter=json".to_owned(),
        )),
    }
}
