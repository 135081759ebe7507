//! A path that answers with any bytes to whatever it is asked: the world must neither panic nor touch the map of
//! another device.
#![no_main]

use dm_psa::psa::action::Action;
use dm_psa::psa::event::{Event, Examination, Reply};
use dm_psa::psa::facts::PathFacts;
use dm_psa::psa::memory::Memory;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::units::Millis;
use dm_psa::psa::world::World;
use dm_psa::scsi::outcome::Outcome;
use libfuzzer_sys::fuzz_target;

const FACTS: &str = r#"{"hctl":"0:0:0:0","block":{"name":"sda","dev":"8:0","size":2048,"read_only":false,
"max_io_bytes":0,"queue_depth":1,"rotational":false,"usage":[]},"sg":"sg0","device_type":0,
"device_state":"running","handler":"Detached","transport":"fc","adapter":{"key":"a","identifier":"fc.a",
"driver":"d","link_state":"link-up","description":""},"target":{"identifier":"fc.t","details":"","portal":null,
"port_state":null}}"#;

fuzz_target!(|data: &[u8]| {
    let Ok(facts) = serde_json::from_str::<PathFacts>(FACTS) else {
        panic!("the facts are out of date")
    };
    let mut world = World::new(Settings::default(), Memory::default());
    let mut queue = world.step(Millis(0), Event::PathSeen(Box::new(facts.clone())));
    queue.extend(world.step(Millis(0), Event::PathsListed([facts.hctl].into())));
    queue.extend(world.step(Millis(0), Event::MapsListed([].into())));
    let mut answers = data.chunks(96);
    for now in 1..64 {
        let mut next = Vec::new();
        for action in queue {
            let Action::Examine(asked) = action else {
                continue;
            };
            let replies = asked
                .commands
                .iter()
                .cloned()
                .map(|command| {
                    let bytes = answers.next().unwrap_or_default();
                    let outcome = match bytes {
                        [0xff, status, host, sense @ ..] => {
                            Outcome::from_sg(*status, *host, 0, sense)
                        }
                        _ => Outcome::Good,
                    };
                    Reply {
                        command,
                        outcome,
                        data: bytes.to_vec(),
                    }
                })
                .collect();
            let examination = Examination {
                path: asked.path,
                ticket: asked.ticket,
                replies,
            };
            next.extend(world.step(Millis(now * 100), Event::Examined(examination)));
        }
        next.extend(world.step(Millis(now * 100), Event::Timer));
        queue = next;
    }
});
