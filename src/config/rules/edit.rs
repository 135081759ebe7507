//! Changes a rule file; keeps the comments and the layout of the admin.

use super::schema::{self, RuleFile, claim_rule_text, satp_rule_text};
use crate::config::{ConfigError, store};
use crate::psa::claim::{Rule, RuleClass, RuleSpec};
use crate::psa::psp::PspKind;
use crate::psa::satp::rules::SatpRule;
use std::fs::File;
use std::path::{Path, PathBuf};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

/// The header of a new file.
const HEADER: &str = "\
# Rules of this host, written by psactl and read by dm-psad. Comments are kept.
# After a change by hand: psactl lint

";

/// A rule file that is being changed. The file on disk changes only when it is saved.
#[derive(Debug)]
pub struct Edit {
    file: PathBuf,
    document: DocumentMut,
    /// Held until the edit ends, so that two concurrent edits do not lose a change.
    _lock: File,
}

impl Edit {
    /// Opens a file, which need not exist. Waits until no other process changes it.
    ///
    /// # Errors
    /// The file cannot be read or locked, or has a mistake, which must be fixed before the file is changed.
    pub fn open(file: &Path) -> Result<Edit, ConfigError> {
        let failed = |source| ConfigError::Write {
            file: file.to_owned(),
            source,
        };
        let folder = file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::open(folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let text = crate::config::read(file)?;
        let text = text.unwrap_or_else(|| HEADER.to_owned());
        let invalid = |problem: String| ConfigError::Invalid {
            file: file.to_owned(),
            problem,
        };
        schema::parse(&text).map_err(invalid)?;
        let document = text
            .parse()
            .map_err(|error: toml_edit::TomlError| invalid(error.to_string()))?;
        Ok(Edit {
            file: file.to_owned(),
            document,
            _lock: lock,
        })
    }

    fn invalid(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::Invalid {
            file: self.file.clone(),
            problem: problem.into(),
        }
    }

    /// Returns the current content, including unsaved changes.
    ///
    /// # Errors
    /// A change made the content invalid, which is a bug in this program.
    pub fn content(&self) -> Result<RuleFile, ConfigError> {
        schema::parse(&self.document.to_string()).map_err(|problem| self.invalid(problem))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The file cannot be written; the old content stays.
    pub fn save(self) -> Result<(), ConfigError> {
        self.content()?;
        let text = self.document.to_string();
        store::replace(&self.file, text.as_bytes()).map_err(|source| ConfigError::Write {
            file: self.file.clone(),
            source,
        })
    }

    /// Returns the `[[key]]` tables.
    fn tables(&mut self, key: &str) -> Result<&mut ArrayOfTables, ConfigError> {
        let problem =
            format!("`{key}` is a list in brackets: write each rule as a [[{key}]] table");
        let wrong = self.invalid(problem);
        let item = self
            .document
            .entry(key)
            .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        item.as_array_of_tables_mut().ok_or(wrong)
    }

    /// Adds a `[[key]]` table after the others of its kind.
    fn append(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        let parsed: Result<DocumentMut, _> = text.parse();
        let mut table: Table = parsed
            .map_err(|error| self.invalid(error.to_string()))?
            .as_table()
            .clone();
        table.set_implicit(false);
        table.set_position(None);
        table.decor_mut().set_prefix(self.prefix());
        self.tables(key)?.push(table);
        Ok(())
    }

    /// The text before a new table: a blank line, or all the comments of a file that contains only comments.
    fn prefix(&mut self) -> String {
        if !self.document.as_table().is_empty() {
            return "\n".to_owned();
        }
        let comments = self.document.trailing().as_str().unwrap_or_default();
        let comments = comments.to_owned();
        self.document.set_trailing("");
        comments
    }

    /// Removes a `[[key]]` table and the comment right above it. A comment that a blank line separates from the table
    /// is about the file, and stays.
    fn remove(&mut self, key: &str, at: usize) -> Result<(), ConfigError> {
        let tables = self.tables(key)?;
        let prefix = tables.get(at).and_then(|table| table.decor().prefix());
        let prefix = prefix.and_then(|raw| raw.as_str()).unwrap_or_default();
        let kept = prefix.rfind("\n\n").and_then(|end| prefix.get(..end));
        let kept = kept.map_or_else(String::new, |kept| format!("{kept}\n\n"));
        tables.remove(at);
        let before = |text: &str| format!("{kept}{}", text.trim_start_matches('\n'));
        if kept.trim().is_empty() {
            // Nothing to keep.
        } else if let Some(next) = tables.get_mut(at) {
            let text = next.decor().prefix().and_then(|raw| raw.as_str());
            let text = before(text.unwrap_or_default());
            next.decor_mut().set_prefix(text);
        } else {
            let text = before(self.document.trailing().as_str().unwrap_or_default());
            self.document.set_trailing(text);
        }
        // With an empty list, the file would not count as empty.
        if self.tables(key)?.is_empty() {
            self.document.remove(key);
        }
        Ok(())
    }

    /// Adds a claim rule.
    ///
    /// # Errors
    /// The rules in the file are not written as tables.
    pub fn add_claim_rule(&mut self, rule: &Rule) -> Result<(), ConfigError> {
        self.append("claimrule", &claim_rule_text(rule))
    }

    /// Removes the claim rule of this class and number; does nothing if there is none.
    ///
    /// # Errors
    /// The rules in the file are not written as tables.
    pub(crate) fn remove_claim_rule(
        &mut self,
        class: RuleClass,
        number: u32,
    ) -> Result<(), ConfigError> {
        match position(self.tables("claimrule")?, class, number) {
            Some(at) => self.remove("claimrule", at),
            None => Ok(()),
        }
    }

    /// Changes the number of a claim rule; does nothing if there is none.
    ///
    /// # Errors
    /// The rules in the file are not written as tables.
    /// The rules in the file are not written as tables.
    pub(crate) fn renumber_claim_rule(
        &mut self,
        class: RuleClass,
        from: u32,
        to: u32,
    ) -> Result<(), ConfigError> {
        let tables = self.tables("claimrule")?;
        let found = position(tables, class, from);
        if let Some(table) = found.and_then(|at| tables.get_mut(at)) {
            set(table, "rule", value(i64::from(to)));
        }
        Ok(())
    }

    /// Adds a SATP rule.
    ///
    /// # Errors
    /// The rules in the file are not written as tables.
    pub fn add_satp_rule(&mut self, rule: &SatpRule) -> Result<(), ConfigError> {
        self.append("satprule", &satp_rule_text(rule))
    }

    /// Removes a SATP rule of the file; returns whether it was there.
    ///
    /// # Errors
    /// The rules in the file are not written as tables, or one table stands for several rules.
    pub(crate) fn remove_satp_rule(&mut self, rule: &SatpRule) -> Result<bool, ConfigError> {
        let content = self.content()?;
        let found = content
            .satp_rules
            .iter()
            .find(|(_, other)| schema::same_but_group(other, rule));
        let Some((table, _)) = found else {
            return Ok(false);
        };
        let together = content.satp_rules.iter().filter(|(t, _)| t == table);
        if together.count() > 1 {
            return Err(self.invalid(
                "the rule is in the `arrays` of a [[satprule]] with other rules: remove its line by hand",
            ));
        }
        self.remove("satprule", *table)?;
        Ok(true)
    }

    /// Records that a SATP rule of another file has no effect.
    ///
    /// # Errors
    /// The rules in the file are not written as tables.
    pub(crate) fn note_removed_satp_rule(&mut self, rule: &SatpRule) -> Result<(), ConfigError> {
        self.append("removed-satprule", &satp_rule_text(rule))
    }

    /// Sets the default PSP of a SATP.
    ///
    /// # Errors
    /// `default-psp` is not a table.
    pub(crate) fn set_default_psp(&mut self, satp: &str, psp: PspKind) -> Result<(), ConfigError> {
        let wrong = self.invalid("`default-psp` is not a table: write [default-psp]");
        let mut new = Table::new();
        new.decor_mut().set_prefix(self.prefix());
        let item = self
            .document
            .entry("default-psp")
            .or_insert_with(|| Item::Table(new));
        let table = item.as_table_like_mut().ok_or(wrong)?;
        match table.get_mut(satp).and_then(Item::as_value_mut) {
            Some(old) => {
                // Keep a comment behind the value.
                let decor = old.decor().clone();
                *old = psp.name().into();
                *old.decor_mut() = decor;
            }
            None => {
                table.insert(satp, value(psp.name()));
            }
        }
        Ok(())
    }
}

/// Replaces a value and keeps the comments around it.
fn set(table: &mut Table, key: &str, new: Item) {
    match (table.get_mut(key).and_then(Item::as_value_mut), new) {
        (Some(old), Item::Value(mut new)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        (None, new) => {
            table.insert(key, new);
        }
        _ => {}
    }
}

/// The index of the rule of this class and number.
fn position(tables: &ArrayOfTables, class: RuleClass, number: u32) -> Option<usize> {
    tables.iter().position(|table| {
        let text = |key: &str| table.get(key).and_then(Item::as_str).map(str::to_owned);
        let spec = RuleSpec {
            class: text("class"),
            ..RuleSpec::default()
        };
        let is = table.get("rule").and_then(Item::as_integer);
        spec.class() == Ok(class) && is == Some(i64::from(number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Places;

    const FILE: &str = "\
# Ours.
[[claimrule]]
rule = 109 # the tape library
type = \"location\"
plugin = \"MASK_PATH\"
adapter = \"vmhba2\"

# Asked for by the vendor.
[[claimrule]]
rule = 110
type = \"transport\"
plugin = \"NMP\"
transport = \"fc\"

[default-psp]
VMW_SATP_ALUA = \"VMW_PSP_MRU\" # for now
";

    #[test]
    fn comments_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let file = Places::below(root.path()).admin_rules();
        store::replace(&file, FILE.as_bytes()).unwrap();
        let mut edit = Edit::open(&file).unwrap();
        edit.renumber_claim_rule(RuleClass::MP, 109, 209).unwrap();
        edit.set_default_psp("VMW_SATP_ALUA", PspKind::RoundRobin)
            .unwrap();
        edit.save().unwrap();
        let wanted = FILE
            .replace("rule = 109", "rule = 209")
            .replace("VMW_PSP_MRU", "VMW_PSP_RR");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), wanted);
        let mut edit = Edit::open(&file).unwrap();
        let rule = Rule::new(300, "driver=lpfc".parse().unwrap(), "NMP");
        edit.add_claim_rule(&rule).unwrap();
        edit.remove_claim_rule(RuleClass::MP, 110).unwrap();
        assert_eq!(edit.content().unwrap().claim_rules[1], rule);
        edit.save().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("# the tape library") && text.contains("# for now"));
        assert!(!text.contains("110"), "{text}");
    }

    #[test]
    fn a_new_file_keeps_its_header_on_top() {
        let root = tempfile::tempdir().unwrap();
        let file = Places::below(root.path()).admin_rules();
        let text = || std::fs::read_to_string(&file).unwrap();
        let rule = |n| Rule::new(n, "driver=lpfc".parse().unwrap(), "NMP");
        let change = |change: &dyn Fn(&mut Edit)| {
            let mut edit = Edit::open(&file).unwrap();
            change(&mut edit);
            edit.save().unwrap();
        };
        let starts = || assert!(text().starts_with(HEADER), "{}", text());
        change(&|edit| edit.add_claim_rule(&rule(300)).unwrap());
        starts();
        change(&|edit| edit.add_claim_rule(&rule(301)).unwrap());
        change(&|edit| {
            edit.remove_claim_rule(RuleClass::MP, 300).unwrap();
        });
        starts();
        change(&|edit| {
            edit.remove_claim_rule(RuleClass::MP, 301).unwrap();
        });
        assert_eq!(text(), HEADER);
        change(&|edit| {
            edit.set_default_psp("VMW_SATP_ALUA", PspKind::RoundRobin)
                .unwrap()
        });
        starts();
        change(&|edit| edit.add_claim_rule(&rule(302)).unwrap());
        change(&|edit| edit.set_default_psp("VMW_SATP_ALUA", PspKind::Mru).unwrap());
        starts();
        assert_eq!(text().matches("# Rules of this host").count(), 1);
        assert_eq!(
            Edit::open(&file).unwrap().content().unwrap().claim_rules,
            [rule(302)]
        );
    }

    #[test]
    fn a_damaged_file_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let file = Places::below(root.path()).admin_rules();
        for (text, parts) in [
            ("[[claimrule]\n", ["line 1", "rules.toml"]),
            (
                "\n[[claimrule]]\nrule = 1\ntype = \"location\"\nplugin = \"NMP\"\ndriver = \"x\"\n",
                ["line 2", "`driver` is not valid with type location"],
            ),
            (
                "[default-psp]\nVMW_SATP_ALUA = \"X\"\n",
                ["line 2", "VMW_PSP_RR"],
            ),
            (
                "[[satprule]]\nsatp = \"X\"\nmodle = \"y\"\n",
                ["line 3", "modle"],
            ),
        ] {
            store::replace(&file, text.as_bytes()).unwrap();
            let error = Edit::open(&file).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{error}");
            }
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }
}
