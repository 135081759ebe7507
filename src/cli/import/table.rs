//! Reads the tables of esxcli, as copied from a terminal.
//!
//! ```text
//! Rule Class   Rule  Class    Type       Plugin     Matches
//! ----------  -----  -------  ---------  ---------  ---------------------------------
//! MP             50  runtime  transport  NMP        transport=usb
//! MP            101  file     vendor     MASK_PATH  vendor=DELL model=Universal Xport
//! ```
//!
//! Values contain blanks and may be empty, so the dashes determine the columns; the last column extends to the end of
//! the line. ESXi 4, and many documents, have no dashes: then a column begins where its name begins. A line is rejected
//! if its values are not aligned with the names, because a truncated value would give a rule for something else. There
//! can be several tables, one after the other.

use super::report::Outcome;
use super::rows::{Row, Rows, are_columns, columns, is_command};

/// A column: its name, where it begins and, if there are dashes, where it ends.
#[derive(Debug, PartialEq, Eq)]
struct Column {
    name: String,
    start: usize,
    end: Option<usize>,
}

/// Whether the text contains a table of rules.
pub(super) fn has_header(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).any(|at| header(&lines, at).is_some())
}

/// Reads the tables of a text.
///
/// # Errors
/// None: text outside of tables is reported line by line.
pub(super) fn read(text: &str) -> Result<Rows, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut rows = Rows::default();
    let mut table: Option<Vec<Column>> = None;
    for (at, line) in lines.iter().enumerate() {
        let number = at + 1;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(columns) = header(&lines, at) {
            table = Some(columns);
            continue;
        }
        let Some(columns) = &table else {
            let (outcome, why) = if is_command(line) {
                (Outcome::LeftOut, "a command, not its output")
            } else {
                (
                    Outcome::Refused,
                    "no line with column names comes before it",
                )
            };
            rows.aside(number, line, outcome, why);
            continue;
        };
        if is_dashes(line) {
            continue;
        }
        let values = cut(line, columns);
        let is_row = values
            .as_ref()
            .is_some_and(|values| values.iter().skip(1).any(|value| !value.trim().is_empty()));
        match values {
            Some(values) if is_row => {
                let names = columns.iter().map(|column| column.name.clone());
                rows.rows.push(Row {
                    line: number,
                    cells: names.zip(values).collect(),
                });
            }
            _ if is_command(line) => {
                table = None;
                let why = "a command, not its output";
                rows.aside(number, line, Outcome::LeftOut, why);
            }
            _ => rows.aside(
                number,
                line,
                Outcome::Refused,
                "its values are not aligned with the column names: copy the table with all its blanks, or use esxcli --formatter=csv",
            ),
        }
    }
    Ok(rows)
}

fn is_dashes(line: &str) -> bool {
    line.contains('-') && line.chars().all(|c| c == '-' || c == ' ')
}

/// The columns, if the line is a header: the next line has dashes, or the line consists of known names only.
fn header(lines: &[&str], at: usize) -> Option<Vec<Column>> {
    let line = lines.get(at)?;
    let below = lines.get(at + 1).filter(|below| is_dashes(below));
    let named = match below {
        Some(_) => between_gaps(line),
        None => known_names(line)?,
    };
    if !are_columns(named.iter().map(|(_, name)| name.as_str())) {
        return None;
    }
    let Some(dashes) = below else {
        let column = |(start, name)| Column {
            name,
            start,
            end: None,
        };
        return Some(named.into_iter().map(column).collect());
    };
    let dashes = runs(dashes);
    if dashes.len() != named.len() {
        return None;
    }
    let column = |((_, name), (start, end)): (_, (usize, usize))| Column {
        name,
        start,
        end: Some(end),
    };
    Some(named.into_iter().zip(dashes).map(column).collect())
}

/// The words of a line, separated by two or more blanks, with their positions.
fn between_gaps(line: &str) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut blanks = 2;
    for (at, c) in line.chars().enumerate() {
        if c == ' ' {
            blanks += 1;
            continue;
        }
        match words.last_mut() {
            Some((_, word)) if blanks < 2 => {
                word.extend(std::iter::repeat_n(' ', blanks));
                word.push(c);
            }
            _ => words.push((at, c.to_string())),
        }
        blanks = 0;
    }
    words
}

/// The column names, with their positions, of a line that contains nothing else. The longest name that fits is used:
/// `Rule Class`, not `Rule`. A single blank may separate two names.
fn known_names(line: &str) -> Option<Vec<(usize, String)>> {
    let mut names = Vec::new();
    let mut rest = line;
    let mut at = 0;
    loop {
        let trimmed = rest.trim_start_matches(' ');
        at += rest.len() - trimmed.len();
        if trimmed.is_empty() {
            return Some(names);
        }
        let fits = |name: &&'static str| {
            trimmed
                .strip_prefix(name)
                .is_some_and(|after| after.is_empty() || after.starts_with(' '))
        };
        let name = columns().filter(fits).max_by_key(|name| name.len())?;
        names.push((at, name.to_owned()));
        at += name.len();
        rest = trimmed.strip_prefix(name)?;
    }
}

/// Where the runs of dashes begin and end.
fn runs(line: &str) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in line.chars().enumerate().filter(|(_, c)| *c == '-') {
        match runs.last_mut() {
            Some((_, end)) if *end == at => *end = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs
}

/// The values of a line; `None` if they are not aligned with the names.
fn cut(line: &str, columns: &[Column]) -> Option<Vec<String>> {
    let line: Vec<char> = line.trim_end().chars().collect();
    let slice = |from: usize, to: usize| line.get(from.min(line.len())..to.min(line.len()));
    let is_blank = |from, to| slice(from, to).is_some_and(|gap| gap.iter().all(|c| *c == ' '));
    let mut values = Vec::new();
    let mut start = columns.first()?.start;
    if !is_blank(0, start) {
        return None;
    }
    for (at, column) in columns.iter().enumerate() {
        let next = columns.get(at + 1).map(|next| next.start);
        let (end, next) = match (column.end, next) {
            (_, None) => (line.len(), line.len()),
            (Some(end), Some(next)) if is_blank(end, next) => (end, next),
            (Some(_), Some(_)) => return None,
            (None, Some(next)) => {
                let next = word_start(&line, next)?;
                (next, next)
            }
        };
        let value: String = slice(start, end.max(start))?.iter().collect();
        values.push(value.trim_end().to_owned());
        start = next;
    }
    Some(values)
}

/// Where a column without dashes begins in this line. This is the position of its name, unless a right-aligned number
/// extends across it. `None` if another word extends across it.
fn word_start(line: &[char], name: usize) -> Option<usize> {
    let is_word = |at: usize| line.get(at).is_some_and(|c| *c != ' ');
    let Some(before) = name.checked_sub(1) else {
        return Some(name);
    };
    if !is_word(before) || !is_word(name) {
        return Some(name);
    }
    let start = (0..name)
        .rev()
        .find(|at| !is_word(*at))
        .map_or(0, |at| at + 1);
    let end = (name..line.len()).find(|at| !is_word(*at));
    let word = line.get(start..end.unwrap_or(line.len()))?;
    word.iter().all(char::is_ascii_digit).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<Vec<String>> {
        let rows = read(text).unwrap();
        assert_eq!(rows.asides, [], "{text}");
        rows.rows
            .into_iter()
            .map(|row| row.cells.into_iter().map(|(_, value)| value).collect())
            .collect()
    }

    #[test]
    fn dashes_mark_the_columns() {
        let text = "\
   Name           Device  Vendor  Model    Options
   -------------  ------  ------  -------  -------
   VMW_SATP_ALUA          A B     ^C  D*   e f  g, which is longer
   VMW_SATP_X     naa.6
";
        assert_eq!(
            values(text),
            [
                vec![
                    "VMW_SATP_ALUA",
                    "",
                    "A B",
                    "^C  D*",
                    "e f  g, which is longer"
                ],
                vec!["VMW_SATP_X", "naa.6", "", "", ""],
            ]
        );
    }

    #[test]
    fn without_dashes_names_mark_the_columns() {
        let text = "\
Rule Class   Rule  Class    Type       Plugin     Matches
MP              0  runtime  transport  NMP        transport=usb
MP          65535  runtime  vendor     NMP        vendor=* model=*
MP          101    file     vendor     MASK_PATH  vendor=DELL model=Universal Xport
";
        let rules: Vec<String> = values(text)
            .into_iter()
            .map(|row| row[1].trim().to_owned() + " " + &row[5])
            .collect();
        assert_eq!(
            rules,
            [
                "0 transport=usb",
                "65535 vendor=* model=*",
                "101 vendor=DELL model=Universal Xport"
            ]
        );
    }

    #[test]
    fn a_shifted_line_is_refused() {
        for text in [
            "Name  Vendor  Model  Driver\n----  ------  -----  ------\nX   Vendor  Y      z\n",
            "Name  Vendor  Model  Driver\nX   Vendor  Y      z\n",
        ] {
            let rows = read(text).unwrap();
            assert_eq!(rows.rows, [], "{text}");
            assert_eq!(rows.asides[0].outcome, Outcome::Refused);
            assert!(
                rows.asides[0]
                    .detail
                    .contains("not aligned with the column names")
            );
        }
    }

    #[test]
    fn tables_and_commands_may_follow_each_other() {
        let text = "\
[root@esx:~] esxcli storage nmp satp rule list
Name  Vendor  Model  Driver
----  ------  -----  ------
X     V       M      d

[root@esx:~] esxcli storage core claimrule list
Rule Class  Rule  Class  Type    Plugin  Matches
----------  ----  -----  ------  ------  -------
MP             1  file   driver  NMP     driver=x
[root@esx:~]
";
        let rows = read(text).unwrap();
        assert_eq!(rows.rows.len(), 2);
        assert_eq!(rows.rows[1].line, 9);
        assert_eq!(rows.rows[1].get("Matches"), "driver=x");
        let lines: Vec<usize> = rows.asides.iter().map(|aside| aside.line).collect();
        assert_eq!(lines, [1, 6, 10]);
        assert!(rows.asides.iter().all(|a| a.outcome == Outcome::LeftOut));
    }
}
