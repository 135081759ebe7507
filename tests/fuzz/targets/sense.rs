//! Sense data, and the classification of a whole pass-through reply: three status bytes, then the sense buffer.
#![no_main]

use dm_psa::scsi::outcome::Outcome;
use dm_psa::scsi::sense::Sense;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(sense) = Sense::parse(data) {
        assert_eq!(Sense::parse(&sense.to_fixed()), Ok(sense));
        assert_eq!(Sense::parse(&sense.to_descriptor()), Ok(sense));
        let _ = (sense.meaning(), sense.to_string());
    }
    if let [status, host, driver, sense @ ..] = data {
        let outcome = Outcome::from_sg(*status, *host, *driver, sense);
        // Nothing but the device's own word makes a command succeed.
        assert!(*host == 0 || !outcome.carried_out());
        let _ = outcome.to_string();
    }
});
