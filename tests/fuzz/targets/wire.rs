//! What a client may send to the agent's socket, in pieces of any size.
#![no_main]

use dm_psa::api::requests::Request;
use dm_psa::api::wire::{Call, Decoder, MAX_CALL, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new(MAX_CALL);
    for piece in data.chunks(7) {
        decoder.push(piece);
        while let Ok(Some(message)) = decoder.take() {
            if let Ok(call) = decode::<Call>(&message) {
                let _ = Request::parse(&call.method, &call.parameters);
            }
        }
    }
});
