//! TEMPORARY polling discovery.
use super::Sink;
use super::sysfs::{Survey, Sysfs};
use crate::psa::event::Event;
use crate::psa::units::Hctl;
/// x
pub struct Discovery;
impl Discovery {
    /// x
    pub fn start(sink: Sink) -> std::io::Result<Discovery> {
        std::thread::spawn(move || {
            let mut survey = Survey::new(Sysfs::of_this_host());
            loop {
                survey.begin();
                let all = survey.sysfs().list_paths();
                for p in &all {
                    if let Some(f) = survey.read(*p) { sink(Event::PathSeen(Box::new(f))); }
                }
                sink(Event::PathsListed(all));
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
        });
        Ok(Discovery)
    }
    /// x
    pub fn refresh(&self, _p: Hctl) {}
}
