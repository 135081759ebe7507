//! TEMPORARY
use std::os::fd::OwnedFd;
/// x
pub struct Signals;
/// x
pub fn block_signals() -> std::io::Result<Signals> {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::SIGTERM);
    set.add(nix::sys::signal::SIGINT);
    set.thread_block()?;
    Ok(Signals)
}
impl Signals {
    /// x
    pub fn on_stop(self, f: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut set = nix::sys::signal::SigSet::empty();
            set.add(nix::sys::signal::SIGTERM);
            set.add(nix::sys::signal::SIGINT);
            let _ = set.wait();
            f();
        })?;
        Ok(())
    }
}
/// x
pub fn harden() {}
/// x
pub fn passed_socket() -> Option<OwnedFd> { None }
