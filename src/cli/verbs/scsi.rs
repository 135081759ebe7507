//! `psactl scsi decode`: decodes an answer that is given as hex.

use super::arguments::text;
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::decode::{self, Decoded};
use crate::cli::exit::Failure;
use crate::cli::hex;
use crate::cli::record::Listing;
use crate::scsi::ParseError;
use clap::{Arg, ArgMatches};
use std::fs::File;
use std::io::{self, Read};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["scsi", "decode", "inquiry"],
        about: "Decode standard INQUIRY data (sg_inq -H)",
        arguments: &[hex_file],
        run: |context, given| run(context, given, decode::inquiry),
        legacy: false,
    },
    Verb {
        words: &["scsi", "decode", "vpd"],
        about: "Decode a vital product data page (sg_vpd -HHHH)",
        arguments: &[page, hex_file],
        run: |context, given| {
            let page = given.get_one::<u8>("page").copied();
            run(context, given, |data| decode::vpd(data, page))
        },
        legacy: false,
    },
    Verb {
        words: &["scsi", "decode", "rtpg"],
        about: "Decode the response to REPORT TARGET PORT GROUPS (sg_rtpg -H)",
        arguments: &[hex_file],
        run: |context, given| run(context, given, decode::rtpg),
        legacy: false,
    },
    Verb {
        words: &["scsi", "decode", "sense"],
        about: "Decode sense data, or its three numbers as logs show them (0x5 0x25 0x0, 5/25/00)",
        arguments: &[hex_file],
        run: sense,
        legacy: false,
    },
];

fn page() -> Arg {
    Arg::new("page")
        .long("page")
        .value_name("P")
        .value_parser(page_code)
        .help("Expected page in hex: 83, 0x83 or 83h [default: the PAGE CODE of the data]")
}

fn hex_file() -> Arg {
    Arg::new("hex")
        .long("hex")
        .value_name("FILE")
        .help("The bytes in hex, as sg_inq, sg_vpd, xxd or `hexdump -C` print them [default: -, standard input]")
}

pub(super) fn page_code(text: &str) -> Result<u8, String> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_suffix(['h', 'H']))
        .unwrap_or(text);
    // `from_str_radix` accepts `+3`.
    let code = u8::from_str_radix(digits, 16).ok();
    code.filter(|_| !digits.starts_with('+'))
        .ok_or_else(|| "a PAGE CODE in hex is 00 to ff".to_owned())
}

/// Sense data: bytes, or the three numbers that logs show. `00 00 00` is read as three bytes, which are not valid sense
/// data.
fn sense(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let (name, text) = text_of(given)?;
    let line = text
        .lines()
        .find_map(|line| Some(line.split_once("ense data: ")?.1));
    let numbers = line.map_or(text.as_str(), |numbers| {
        numbers.trim().trim_end_matches('.')
    });
    let numbers = numbers.replace('/', " ");
    let words: Vec<&str> = numbers.split_whitespace().collect();
    let is_plain = words.iter().all(|word| word.len() == 2);
    let in_log = line.is_some() || (words.len() == 3 && (!is_plain || text.contains('/')));
    if in_log {
        return decoded(context, &name, &numbers, decode::sense_numbers);
    }
    decoded(context, &name, &text, decode::sense)
}

fn run(
    context: &mut Context,
    given: &ArgMatches,
    decode: impl Fn(&[u8]) -> Result<Decoded, ParseError>,
) -> Result<Listing, Failure> {
    let (name, text) = text_of(given)?;
    decoded(context, &name, &text, decode)
}

/// The name of the input, and its text.
fn text_of(given: &ArgMatches) -> Result<(String, String), Failure> {
    let file = text(given, "hex").filter(|file| file != "-");
    let name = file.as_deref().unwrap_or("standard input").to_owned();
    let refused = |why: String| Failure::Refused(format!("{name}: {why}"));
    let text = read(file.as_deref()).map_err(|why| refused(format!("cannot be read: {why}")))?;
    let text = String::from_utf8(text).map_err(|why| {
        let valid = why.utf8_error().valid_up_to();
        refused(format!(
            "not text from byte {valid} on: if the data is binary, convert it to hex with `xxd`"
        ))
    })?;
    Ok((name, text))
}

fn decoded(
    context: &mut Context,
    name: &str,
    text: &str,
    decode: impl Fn(&[u8]) -> Result<Decoded, ParseError>,
) -> Result<Listing, Failure> {
    let data = hex::parse(text).map_err(|why| Failure::Refused(format!("{name}: {why}")))?;
    let remedy = "give a complete response of this kind";
    show(context, name, &data, remedy, decode)
}

/// Shows an answer; `name` is its source, `remedy` what to do if it cannot be decoded.
pub(super) fn show(
    context: &mut Context,
    name: &str,
    data: &[u8],
    remedy: &str,
    decode: impl Fn(&[u8]) -> Result<Decoded, ParseError>,
) -> Result<Listing, Failure> {
    let decoded = decode(data).map_err(|why| {
        let count = data.len();
        Failure::Refused(format!("{name}: {why} ({count} bytes in total): {remedy}"))
    })?;
    if let Some(missing) = &decoded.missing {
        context.partly(format!("{name}: only a part was decoded: {missing}"));
    }
    Ok(decoded.listing())
}

/// The text, up to one byte more than [`hex::LIMIT`], which is enough to detect that it is too long.
fn read(file: Option<&str>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let limit = u64::try_from(hex::LIMIT).map_or(u64::MAX, |limit| limit.saturating_add(1));
    match file {
        Some(file) => File::open(file)?.take(limit).read_to_end(&mut text)?,
        None => io::stdin().lock().take(limit).read_to_end(&mut text)?,
    };
    Ok(text)
}
