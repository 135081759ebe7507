//! Generates the manual pages of `psactl` from the same table as its help: one for the program, and one for each group
//! of commands. `make install` writes them with `psactl man`.

use super::args;
use super::generated::Page;
use super::verbs::{NAMESPACES, Verb, verbs};
use crate::psa::codes::CODES;
use clap::Arg;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// A group of commands with a page of its own: the commands below a word of `storage`, or below a word at the top
/// level.
struct Group {
    words: &'static [&'static str],
    about: &'static str,
}

impl Group {
    fn all() -> impl Iterator<Item = Group> {
        NAMESPACES
            .iter()
            .filter(|(words, _)| matches!(words, ["storage", _] | [_]) && *words != ["storage"])
            .map(|(words, about)| Group { words, about })
            .filter(|group| group.verbs().next().is_some())
    }

    /// Its commands, without those that help hides.
    fn verbs(&self) -> impl Iterator<Item = &'static Verb> {
        let words = self.words;
        verbs().filter(move |verb| verb.words.starts_with(words) && !verb.legacy)
    }

    fn page_name(&self) -> String {
        format!("psactl-{}", self.words.join("-"))
    }
}

/// All pages.
#[must_use]
pub fn pages() -> Vec<Page> {
    let page = |name: &str, roff: &Roff| Page {
        file: format!("{name}.1"),
        text: roff.render(),
    };
    let mut pages = vec![page("psactl", &overview())];
    pages.extend(Group::all().map(|group| page(&group.page_name(), &group_page(&group))));
    pages
}

fn title(name: &str, about: &str) -> Roff {
    let mut roff = Roff::new();
    let version = concat!("dm-psa ", env!("CARGO_PKG_VERSION"));
    // There is no date, so that the same source gives the same page.
    roff.control("TH", [name, "1", "", version, "dm-psa"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {about}"))]);
    roff
}

fn overview() -> Roff {
    let command = args::command();
    let about = command.get_about().map(ToString::to_string);
    let mut roff = title("psactl", &about.unwrap_or_default());
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([
        bold("psactl"),
        roman(" ["),
        italic("OPTIONS"),
        roman("] "),
        italic("COMMAND"),
        roman(" ["),
        italic("ARGUMENTS"),
        roman("]"),
    ]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([
        roman("Commands, options and lists are those of "),
        bold("esxcli"),
        roman(". The leading word "),
        bold("storage"),
        roman(" may be left out."),
    ]);
    roff.control("SH", ["OPTIONS"]);
    options(&mut roff, command.get_arguments());
    roff.control("SH", ["COMMANDS"]);
    for group in Group::all() {
        roff.control("TP", []);
        let name = format!("psactl {} ...", group.words.join(" "));
        roff.text([bold(name)]);
        let page = bold(group.page_name());
        roff.text([roman(format!("{}. See ", group.about)), page, roman("(1).")]);
    }
    let in_group = |verb: &Verb| Group::all().any(|group| verb.words.starts_with(group.words));
    let alone = |verb: &&Verb| verb.words.len() == 1 && !verb.legacy && !in_group(verb);
    for verb in verbs().filter(alone) {
        verb_section(&mut roff, verb);
    }
    if let Some(after) = command.get_after_help() {
        roff.control("SH", ["NOTES"]);
        verbatim(&mut roff, &after.to_string());
    }
    let mut others: Vec<String> = Group::all().map(|group| group.page_name()).collect();
    others.sort();
    see_also(&mut roff, &others);
    roff
}

fn group_page(group: &Group) -> Roff {
    let mut roff = title(&group.page_name(), group.about);
    roff.control("SH", ["COMMANDS"]);
    for verb in group.verbs() {
        verb_section(&mut roff, verb);
    }
    if group.words == ["events"] {
        codes(&mut roff);
    }
    see_also(&mut roff, &["psactl".to_owned()]);
    roff
}

/// Writes the section with the codes of events.
fn codes(roff: &mut Roff) {
    roff.control("SH", ["CODES"]);
    for code in CODES {
        roff.control("TP", []);
        let severity = roman(format!(" ({})", code.severity.as_str()));
        roff.text([bold(code.name), severity]);
        roff.text([roman(format!("{}.", code.meaning))]);
        roff.control("RS", []);
        roff.text([roman(format!("What to do: {}.", code.remedy))]);
        roff.control("RE", []);
    }
}

fn verb_section(roff: &mut Roff, verb: &Verb) {
    let name = format!("psactl {}", verb.words.join(" "));
    roff.control("SS", [name.as_str()]);
    roff.text([roman(format!("{}.", verb.about))]);
    let arguments: Vec<Arg> = verb.arguments.iter().map(|argument| argument()).collect();
    options(roff, arguments.iter());
}

fn options<'a>(roff: &mut Roff, arguments: impl Iterator<Item = &'a Arg>) {
    for argument in arguments {
        roff.control("TP", []);
        let mut names: Vec<Inline> = Vec::new();
        let short = argument.get_short().map(|short| format!("-{short}"));
        let long = argument.get_long().map(|long| format!("--{long}"));
        for name in short.into_iter().chain(long) {
            if !names.is_empty() {
                names.push(roman(", "));
            }
            names.push(bold(name));
        }
        for value in argument.get_value_names().unwrap_or_default() {
            if !names.is_empty() {
                names.push(roman(" "));
            }
            names.push(italic(value.as_str()));
        }
        roff.text(names);
        let help = argument.get_help().map(ToString::to_string);
        let mut help = help.unwrap_or_default();
        let values = argument.get_possible_values();
        let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        if !values.is_empty() {
            help += &format!(" [possible values: {}]", values.join(", "));
        }
        roff.text([roman(help)]);
    }
}

fn verbatim(roff: &mut Roff, text: &str) {
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

fn see_also(roff: &mut Roff, pages: &[String]) {
    roff.control("SH", ["SEE ALSO"]);
    let mut words = Vec::new();
    for (page, section) in pages
        .iter()
        .map(|page| (page.as_str(), "1"))
        .chain([("dm-psa.toml", "5"), ("dm-psad", "8")])
    {
        if !words.is_empty() {
            words.push(roman(", "));
        }
        words.push(bold(page));
        words.push(roman(format!("({section})")));
    }
    roff.text(words);
}
