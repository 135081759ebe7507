//! The text formats of metrics.
//!
//! | dialect | read by | counters | differences |
//! |---|---|---|---|
//! | OpenMetrics 1.0 | `psactl metrics`, scrapers | the family `x` has the sample `x_total` | `# UNIT`, `# EOF` |
//! | Prometheus text 0.0.4 | node_exporter's textfile collector; its only format | the family is `x_total` | no type `info` |
//!
//! Written by hand, because the crate for it writes only OpenMetrics, in which the textfile collector finds no
//! counters.

use std::fmt::{Display, Write};

/// The text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
}

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only increases, or starts again from 0.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Buckets.
    Histogram,
    /// Labels on a constant 1.
    Info,
}

/// A label and its value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// The exposition text, built family by family.
pub(super) struct Exposition {
    dialect: Dialect,
    text: String,
}

/// A family, to which samples are added.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
    suffix: &'static str,
}

impl Exposition {
    /// Creates an exposition without families.
    #[must_use]
    pub(super) fn new(dialect: Dialect) -> Exposition {
        let text = String::new();
        Exposition { dialect, text }
    }

    /// Begins a family. If it has a unit, `name` ends in it.
    pub(super) fn family(
        &mut self,
        kind: Kind,
        name: &'static str,
        unit: Option<&str>,
        help: &str,
    ) -> Family<'_> {
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let (word, shown) = match (self.dialect, kind) {
            (Dialect::OpenMetrics, Kind::Counter) => ("counter", ""),
            (Dialect::OpenMetrics, Kind::Info) => ("info", ""),
            (Dialect::Prometheus, Kind::Counter) => ("counter", suffix),
            (Dialect::Prometheus, Kind::Info) => ("gauge", suffix),
            (_, Kind::Gauge) => ("gauge", ""),
            (_, Kind::Histogram) => ("histogram", ""),
        };
        let text = &mut self.text;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# TYPE {name}{shown} {word}");
        if let (Dialect::OpenMetrics, Some(unit)) = (self.dialect, unit) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name}{shown} {help}");
        Family { text, name, suffix }
    }

    /// Returns the complete text.
    #[must_use]
    pub(super) fn end(mut self) -> String {
        if self.dialect == Dialect::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        let suffix = self.suffix;
        self.write(suffix, labels, value);
    }

    /// Adds a sample of a histogram; `part` is `_bucket`, `_count` or `_sum`.
    pub(super) fn part(&mut self, part: &'static str, labels: &[Label<'_>], value: impl Display) {
        self.write(part, labels, value);
    }

    fn write(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut open = '{';
        for (label, value) in labels {
            self.text.push(open);
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            open = ',';
        }
        if open == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Writes a label value. A device chooses its own name, so only letters, digits and visible ASCII pass unchanged; the
/// text is then safe to show in a terminal.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() => text.push(c),
            _ => text.push('?'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dialect: Dialect) -> String {
        let mut out = Exposition::new(dialect);
        out.family(Kind::Counter, "x_seconds", Some("seconds"), "X.")
            .sample(&[("a", "q\"b\\\n\u{1b}\u{202e}é"), ("b", "")], 7);
        out.family(Kind::Gauge, "y", None, "Y.").sample(&[], "1.5");
        out.family(Kind::Info, "z", None, "Z.")
            .sample(&[("v", "1")], 1);
        out.end()
    }

    #[test]
    fn both_dialects() {
        let sample = "x_seconds_total{a=\"q\\\"b\\\\\\n??é\",b=\"\"} 7\n";
        assert_eq!(
            text(Dialect::OpenMetrics),
            format!(
                "# TYPE x_seconds counter\n# UNIT x_seconds seconds\n# HELP x_seconds X.\n{sample}\
                 # TYPE y gauge\n# HELP y Y.\ny 1.5\n# TYPE z info\n# HELP z Z.\nz_info{{v=\"1\"}} 1\n# EOF\n"
            )
        );
        assert_eq!(
            text(Dialect::Prometheus),
            format!(
                "# TYPE x_seconds_total counter\n# HELP x_seconds_total X.\n{sample}\
                 # TYPE y gauge\n# HELP y Y.\ny 1.5\n# TYPE z_info gauge\n# HELP z_info Z.\nz_info{{v=\"1\"}} 1\n"
            )
        );
    }
}
