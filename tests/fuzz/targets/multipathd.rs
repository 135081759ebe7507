//! What a client may send to multipathd's socket: messages, the commands in them, and format strings.
#![no_main]

use dm_psa::compat::grammar::Command;
use dm_psa::compat::host::Host;
use dm_psa::compat::wire::{LONGEST_COMMAND, receive};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut from = data;
    while let Ok(Some(text)) = receive(&mut from, LONGEST_COMMAND) {
        let _ = Command::parse(&text);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(command) = Command::parse(text)
    {
        let _ = Host::default().show(&command);
    }
});
