//! multipath.conf: what is planned is what the files can hold, and is there the next time.
#![no_main]

use dm_psa::cli::import::multipath::{self, Wanted};
use dm_psa::cli::import::text;
use dm_psa::config::rules::{self, RuleFiles, schema};
use dm_psa::config::settings_file::SettingsFile;
use dm_psa::psa::claim::RuleList;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static HERE: LazyLock<RuleFiles> = LazyLock::new(rules::built_in);

fuzz_target!(|data: &[u8]| {
    let Ok(text) = text::of(data.to_vec()) else {
        return;
    };
    for mask in [false, true] {
        let wanted = Wanted { mask, force: true };
        let Ok(plan) = multipath::plan(&text, &HERE, SettingsFile::default(), wanted) else {
            return;
        };
        let file = schema::write_claim_rules(plan.claim_rules.iter());
        let file = schema::parse(&file).expect("the written file can be read");
        assert_eq!(file.claim_rules, plan.claim_rules);
        let mut settings = SettingsFile::default();
        for (key, setting) in &plan.settings {
            settings
                .set(key, setting)
                .expect("a new file accepts any setting");
        }
        let mut then = HERE.clone();
        then.lists.file = RuleList::new(plan.claim_rules);
        then.satp.extend(plan.satp_rules);
        then.default_psps = plan.default_psps;
        let again = multipath::plan(&text, &then, settings, wanted)
            .expect("the input can be imported the second time too");
        assert!(again.claim_rules.is_empty() && again.satp_rules.is_empty());
        assert!(again.settings.is_empty() && again.default_psps.is_empty());
    }
});
