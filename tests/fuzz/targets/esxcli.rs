//! Listings of rules in any format of esxcli: what is planned is what a file of rules can hold, and is there the next
//! time.
#![no_main]

use dm_psa::cli::import::{esxcli, text};
use dm_psa::config::rules::{self, RuleFiles, schema};
use dm_psa::psa::claim::RuleList;
use dm_psa::psa::claim::lists::Permission;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static HERE: LazyLock<RuleFiles> = LazyLock::new(rules::built_in);

fuzz_target!(|data: &[u8]| {
    let Ok(text) = text::of(data.to_vec()) else {
        return;
    };
    let wanted = esxcli::Wanted {
        system: true,
        may: Permission {
            reserved: true,
            force: true,
        },
    };
    let _ = esxcli::plan(&text, &HERE, esxcli::Wanted::default());
    let Ok(plan) = esxcli::plan(&text, &HERE, wanted) else {
        return;
    };
    let file = schema::write_claim_rules(plan.claim_rules.iter());
    let file = schema::parse(&file).expect("the written file can be read");
    assert_eq!(file.claim_rules, plan.claim_rules);
    let mut then = HERE.clone();
    then.lists.file = RuleList::new(plan.claim_rules);
    then.satp.extend(plan.satp_rules);
    let again =
        esxcli::plan(&text, &then, wanted).expect("the input is a listing the second time too");
    assert!(again.claim_rules.is_empty() && again.satp_rules.is_empty());
});
