//! The commands of multipathd's socket: a verb, then keywords in any order, some with a parameter.
//!
//! A keyword may be shortened as long as it is unambiguous. A parameter with blanks is put in double quotes.

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is to be done.
    pub verb: Verb,
    /// The other keywords, in order.
    pub words: Vec<Word>,
}

/// The first word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Show,
    Add,
    Remove,
    Reconfigure,
    Resize,
    Fail,
    Reinstate,
    DisableQueueing,
    RestoreQueueing,
    ForceQueueing,
    Reload,
    Suspend,
    Resume,
    Switch,
    Reset,
    SetMarginal,
    UnsetMarginal,
    Pr,
    Quit,
    Shutdown,
}

/// A keyword behind the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Word {
    Path(String),
    Paths,
    Map(String),
    Maps,
    Group(String),
    Format(String),
    Key(String),
    Raw,
    Json,
    Status,
    Stats,
    Topology,
    Config,
    Local,
    Daemon,
    Blacklist,
    Devices,
    Wildcards,
    All,
}

const VERBS: &[(&str, Verb)] = &[
    ("list", Verb::Show),
    ("show", Verb::Show),
    ("add", Verb::Add),
    ("remove", Verb::Remove),
    ("del", Verb::Remove),
    ("reconfigure", Verb::Reconfigure),
    ("resize", Verb::Resize),
    ("fail", Verb::Fail),
    ("reinstate", Verb::Reinstate),
    ("disablequeueing", Verb::DisableQueueing),
    ("restorequeueing", Verb::RestoreQueueing),
    ("forcequeueing", Verb::ForceQueueing),
    ("reload", Verb::Reload),
    ("suspend", Verb::Suspend),
    ("resume", Verb::Resume),
    ("switch", Verb::Switch),
    ("switchgroup", Verb::Switch),
    ("reset", Verb::Reset),
    ("setmarginal", Verb::SetMarginal),
    ("unsetmarginal", Verb::UnsetMarginal),
    ("getprstatus", Verb::Pr),
    ("setprstatus", Verb::Pr),
    ("unsetprstatus", Verb::Pr),
    ("getprkey", Verb::Pr),
    ("setprkey", Verb::Pr),
    ("unsetprkey", Verb::Pr),
    ("getprhold", Verb::Pr),
    ("setprhold", Verb::Pr),
    ("unsetprhold", Verb::Pr),
    ("quit", Verb::Quit),
    ("exit", Verb::Quit),
    ("shutdown", Verb::Shutdown),
];

/// A keyword that stands alone, or takes a parameter.
#[derive(Clone, Copy)]
enum Kind {
    Alone(fn() -> Word),
    Takes(fn(String) -> Word),
}

const WORDS: &[(&str, Kind)] = &[
    ("path", Kind::Takes(Word::Path)),
    ("paths", Kind::Alone(|| Word::Paths)),
    ("map", Kind::Takes(Word::Map)),
    ("multipath", Kind::Takes(Word::Map)),
    ("maps", Kind::Alone(|| Word::Maps)),
    ("multipaths", Kind::Alone(|| Word::Maps)),
    ("group", Kind::Takes(Word::Group)),
    ("format", Kind::Takes(Word::Format)),
    ("key", Kind::Takes(Word::Key)),
    ("raw", Kind::Alone(|| Word::Raw)),
    ("json", Kind::Alone(|| Word::Json)),
    ("status", Kind::Alone(|| Word::Status)),
    ("stats", Kind::Alone(|| Word::Stats)),
    ("topology", Kind::Alone(|| Word::Topology)),
    ("config", Kind::Alone(|| Word::Config)),
    ("local", Kind::Alone(|| Word::Local)),
    ("daemon", Kind::Alone(|| Word::Daemon)),
    ("blacklist", Kind::Alone(|| Word::Blacklist)),
    ("devices", Kind::Alone(|| Word::Devices)),
    ("wildcards", Kind::Alone(|| Word::Wildcards)),
    ("all", Kind::Alone(|| Word::All)),
];

impl Command {
    /// Parses a command.
    ///
    /// # Errors
    /// The complaint for the caller.
    pub fn parse(text: &str) -> Result<Command, String> {
        let mut all = tokens(text)?;
        // Clients put an argument with blanks in quotes, also if it is the whole command.
        if let [one] = all.as_slice()
            && one.contains(char::is_whitespace)
        {
            all = tokens(one)?;
        }
        let mut tokens = all.into_iter();
        let first = tokens.next().ok_or("no command")?;
        let verb = find(VERBS, &first)?;
        let mut words = Vec::new();
        while let Some(token) = tokens.next() {
            words.push(match find(WORDS, &token)? {
                Kind::Alone(word) => word(),
                Kind::Takes(word) => {
                    let parameter = tokens.next();
                    word(parameter.ok_or_else(|| format!("`{token}` needs a parameter"))?)
                }
            });
        }
        Ok(Command { verb, words })
    }

    /// Whether the command has this keyword.
    #[must_use]
    pub(crate) fn has(&self, word: &Word) -> bool {
        self.words.contains(word)
    }

    /// The parameter that `of` finds in a keyword.
    pub(crate) fn parameter(&self, of: fn(&Word) -> Option<&String>) -> Option<&str> {
        self.words.iter().find_map(of).map(String::as_str)
    }

    /// The name behind `map`.
    pub(crate) fn map(&self) -> Option<&str> {
        self.parameter(|word| match word {
            Word::Map(name) => Some(name),
            _ => None,
        })
    }

    /// The name behind `path`.
    pub(crate) fn path(&self) -> Option<&str> {
        self.parameter(|word| match word {
            Word::Path(name) => Some(name),
            _ => None,
        })
    }

    /// The text behind `format`.
    pub(crate) fn format(&self) -> Option<&str> {
        self.parameter(|word| match word {
            Word::Format(text) => Some(text),
            _ => None,
        })
    }
}

/// The keyword that is written so or, if there is none, the only one that begins so.
fn find<T: Copy>(keywords: &[(&str, T)], token: &str) -> Result<T, String> {
    if let Some((_, found)) = keywords.iter().find(|(name, _)| *name == token) {
        return Ok(*found);
    }
    let mut begins = keywords.iter().filter(|(name, _)| name.starts_with(token));
    match (begins.next(), begins.next()) {
        (Some((_, found)), None) => Ok(*found),
        (Some(_), Some(_)) => Err(format!("`{token}` is ambiguous")),
        (None, _) => Err(format!("unknown keyword `{token}`")),
    }
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (token, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or("a double quote is not closed")?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// All commands, for the answer to a command that is not one.
pub(crate) const HELP: &str = "\
CLI commands reference:
 list|show paths [raw] [format $format]
 list|show path $path [raw] [format $format]
 list|show maps|multipaths [raw] [format $format]
 list|show maps|multipaths status|stats|topology|json
 list|show map|multipath $map [raw] [format $format]
 list|show map|multipath $map topology|json
 list|show topology
 list|show config [local]
 list|show status
 list|show daemon
 list|show wildcards
 list|show blacklist
 list|show devices
 add path $path
 remove|del path $path
 add map|multipath $map
 remove|del map|multipath $map
 remove|del maps|multipaths
 resize map|multipath $map
 reconfigure [all]
 reload map|multipath $map
 switch|switchgroup map|multipath $map group $group
 fail path $path
 reinstate path $path
 disablequeueing map|multipath $map
 disablequeueing maps|multipaths
 restorequeueing map|multipath $map
 restorequeueing maps|multipaths
 forcequeueing daemon
 restorequeueing daemon
 quit|exit
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_may_be_shortened_and_have_synonyms() {
        for text in [
            "show maps json",
            "list multipaths json",
            "sho maps j",
            "li multipaths jso",
        ] {
            let command = Command::parse(text).unwrap();
            assert_eq!(command.verb, Verb::Show, "{text}");
            assert_eq!(command.words, [Word::Maps, Word::Json], "{text}");
        }
        assert!(
            Command::parse("re map x")
                .unwrap_err()
                .contains("ambiguous")
        );
        assert!(
            Command::parse("show unicorns")
                .unwrap_err()
                .contains("unicorns")
        );
        assert!(
            Command::parse("resize map")
                .unwrap_err()
                .contains("parameter")
        );
        assert!(Command::parse("").is_err());
    }

    #[test]
    fn parameters_may_contain_blanks() {
        let command = Command::parse("show paths raw format \"%i %d\"").unwrap();
        assert_eq!(command.format(), Some("%i %d"));
        assert!(command.has(&Word::Raw));
        assert!(Command::parse("show paths format \"%i").is_err());
        let whole = Command::parse("\"show maps json\"").unwrap();
        assert_eq!(whole.words, [Word::Maps, Word::Json]);
    }
}
