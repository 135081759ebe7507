//! Reads `--formatter=xml`: a list of structures, with fields that contain a typed value.
//!
//! ```xml
//! <output xmlns="http://www.vmware.com/Products/ESX/5.0/esxcli">
//! <root><list type="structure">
//!   <structure typeName="...">
//!     <field name="RuleGroup"><string>user</string></field>
//! ```

use super::rows::{Row, Rows};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Reads the structures of a text.
///
/// # Errors
/// The text is not well-formed: the line, and what is wrong.
pub(super) fn read(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut lines = Lines::default();
    // The open elements, outermost first.
    let mut open: Vec<String> = Vec::new();
    let mut field: Option<(String, Vec<String>)> = None;
    loop {
        let event = reader.read_event().map_err(|why| {
            let line = lines.at(text, reader.error_position());
            format!("line {line}: this is not XML: {why}")
        })?;
        let line = lines.at(text, reader.buffer_position());
        let wrong = |why: String| format!("line {line}: this is not XML: {why}");
        match event {
            Event::Start(element) => {
                let name = element.local_name().as_ref().to_owned();
                match name.as_str() {
                    "structure" if field.is_none() => rows.rows.push(Row {
                        line,
                        cells: Vec::new(),
                    }),
                    "field" if field.is_none() => {
                        field = Some((field_name(&element).map_err(wrong)?, Vec::new()));
                    }
                    // An element that contains a value; text between values is layout.
                    _ => {
                        if let Some((_, values)) = &mut field {
                            values.push(String::new());
                        }
                    }
                }
                open.push(name);
            }
            Event::Empty(element) => {
                if element.local_name().as_ref() == "field"
                    && let Some(row) = rows.rows.last_mut()
                {
                    row.cells
                        .push((field_name(&element).map_err(wrong)?, String::new()));
                }
            }
            Event::End(_) => {
                let name = open.pop();
                if name.as_deref() == Some("field")
                    && !open.iter().any(|name| name == "field")
                    && let (Some((name, values)), Some(row)) = (field.take(), rows.rows.last_mut())
                {
                    let values: Vec<String> =
                        values.into_iter().filter(|v| !v.is_empty()).collect();
                    row.cells.push((name, values.join(", ")));
                }
            }
            Event::Text(text) => value(&open, &mut field, &text.xml10_content()),
            Event::CData(text) => value(&open, &mut field, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let number = reference.resolve_char_ref();
                let text = match (&*reference, number.map_err(|why| wrong(why.to_string()))?) {
                    (_, Some(c)) => c,
                    ("amp", None) => '&',
                    ("lt", None) => '<',
                    ("gt", None) => '>',
                    ("quot", None) => '"',
                    ("apos", None) => '\'',
                    (other, None) => return Err(wrong(format!("there is no entity `{other}`"))),
                };
                value(&open, &mut field, &text.to_string());
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match open.last() {
        None => Ok(rows),
        Some(name) => Err(format!(
            "it ends within the element `{name}`: the listing is incomplete"
        )),
    }
}

/// Appends text to the value that is open.
fn value(open: &[String], field: &mut Option<(String, Vec<String>)>, text: &str) {
    let is_layout = matches!(open.last().map(String::as_str), Some("field" | "list"));
    if let Some((_, values)) = field
        && !is_layout
        && let Some(value) = values.last_mut()
    {
        value.push_str(text);
    }
}

fn field_name(element: &BytesStart<'_>) -> Result<String, String> {
    let name = element
        .try_get_attribute("name")
        .map_err(|why| why.to_string())?;
    Ok(name.map_or_else(String::new, |name| name.value.into_owned()))
}

/// Line numbers of positions that only increase.
#[derive(Default)]
struct Lines {
    position: usize,
    breaks: usize,
}

impl Lines {
    fn at(&mut self, text: &str, position: u64) -> usize {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        let passed = text.as_bytes().get(self.position..position);
        if let Some(passed) = passed {
            self.breaks += passed.iter().filter(|byte| **byte == b'\n').count();
            self.position = position;
        }
        self.breaks + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_structures() {
        let text = r#"<?xml version="1.0" encoding="utf-8"?>
<output xmlns="http://www.vmware.com/Products/ESX/5.0/esxcli">
<root>
   <list type="structure">
      <structure typeName="X">
         <field name="Matches">
            <string> a &lt;&#98;&gt; <![CDATA[&c]]></string>
         </field>
         <field name="Rule"><integer>5</integer></field>
         <field name="Description"/>
         <field name="Options"><list type="string"><string>a</string><string>b</string></list></field>
      </structure>
      <structure typeName="X"/>
   </list>
</root>
</output>
"#;
        let rows = read(text).unwrap().rows;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].line, 5);
        assert_eq!(rows[0].get("Matches"), " a <b> &c");
        assert_eq!(rows[0].get("Rule"), "5");
        assert_eq!(rows[0].get("Options"), "a, b");
        assert!(rows[0].has("Description"));
    }

    #[test]
    fn invalid_xml_is_reported_with_its_line() {
        for (text, part) in [
            ("<a>\n<b></a>", "line 2"),
            ("<a>\n\n&nbsp;</a>", "line 3"),
            ("<a>\n<field name=x>\n", "line 2"),
            ("<a><b>", "within the element `b`"),
            ("<a>\n<", "line 2"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
