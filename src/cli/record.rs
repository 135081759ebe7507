//! The content of a listing, independent of its format.

/// A value of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A state: text that may be coloured.
    State(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A list of texts.
    List(Vec<String>),
    /// No value. This is the text that is printed instead; formats for programs print `null`.
    Absent(&'static str),
}

impl Value {
    /// The human-readable text, not made [`super::printable`] yet.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Value::Text(text) | Value::State(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(items) => items.join(", "),
            Value::Absent(text) => (*text).to_owned(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::Text(text.clone())
    }
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        text.as_ref().map_or(Value::Absent(""), Value::from)
    }
}

impl From<&Vec<String>> for Value {
    fn from(items: &Vec<String>) -> Self {
        Value::List(items.clone())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

macro_rules! from_number {
    ($($type:ty)*) => {$(
        impl From<$type> for Value {
            fn from(number: $type) -> Self {
                Value::Number(number.into())
            }
        }
    )*};
}
from_number!(u8 u16 u32 u64);

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The line above its fields, if the layout has one.
    pub heading: Option<String>,
    /// Column names as ESXi prints them, and values, in the order of ESXi. Columns of its listing may be missing.
    pub fields: Vec<(&'static str, Value)>,
}

/// The values of a record for these columns; missing values are absent. (If two fields have the same name, the second
/// one belongs to the second column of that name.)
#[must_use]
pub fn cells(columns: &[&'static str], fields: Vec<(&'static str, Value)>) -> Vec<Value> {
    let mut fields: Vec<Option<(&str, Value)>> = fields.into_iter().map(Some).collect();
    let mut take = |column: &str| {
        let found = fields.iter_mut().find(|field| {
            let name = field.as_ref().map(|(name, _)| *name);
            name == Some(column)
        });
        found.and_then(Option::take)
    };
    let values = columns.iter().map(|column| take(column));
    values
        .map(|field| field.map_or(Value::Absent(""), |(_, value)| value))
        .collect()
}

/// The style of a listing if no format is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A heading and `Key: value` lines for each record.
    List,
    /// A line for each record.
    Table,
    /// One record without a heading: the `get` commands of esxcli.
    Sheet,
    /// A title, and a headed paragraph for each record.
    Prose,
    /// A line for each record, without a header: for output that continues.
    Log,
    /// A line of text for each record: the messages of a command that changes something.
    Lines,
}

/// Everything that a command prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Name of the type of its records, for the formats that have types.
    pub kind: &'static str,
    /// Its default style.
    pub style: Style,
    /// The line above everything ([`Style::Prose`] only).
    pub title: Option<String>,
    /// Column name of the headings, for the formats without headings.
    pub heading: Option<&'static str>,
    /// Column names, present even if there are no records.
    pub columns: Vec<&'static str>,
    /// The records.
    pub records: Vec<Record>,
}

impl Listing {
    /// A listing of lines of text; it may be empty.
    #[must_use]
    pub fn lines(lines: impl IntoIterator<Item = String>) -> Listing {
        Listing {
            kind: "Message",
            style: Style::Lines,
            title: None,
            heading: None,
            columns: vec!["Message"],
            records: lines
                .into_iter()
                .map(|line| Record {
                    heading: None,
                    fields: vec![("Message", Value::Text(line))],
                })
                .collect(),
        }
    }

    /// The column name of the heading, if the columns do not include it.
    fn heading_column(&self) -> Option<&'static str> {
        self.heading.filter(|name| !self.columns.contains(name))
    }

    /// Columns for the formats without headings.
    #[must_use]
    pub fn all_columns(&self) -> Vec<&'static str> {
        let fields = self.columns.iter().copied();
        self.heading_column().into_iter().chain(fields).collect()
    }

    /// Fields for the formats without headings, one for each of [`Listing::all_columns`].
    #[must_use]
    pub fn all_fields(&self, record: &Record) -> Vec<(&'static str, Value)> {
        let heading = self
            .heading_column()
            .map(|name| (name, Value::from(&record.heading)));
        heading
            .into_iter()
            .chain(record.fields.iter().cloned())
            .collect()
    }
}
