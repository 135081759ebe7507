//! Manages the cookies between device-mapper and udev, without waiting for udev.
//!
//! A resume or remove raises a uevent that carries a cookie. Its upper half holds flags for the udev rules (decoded by
//! `10-dm.rules`), its lower half the key of a System V semaphore. At the end of the rules, `95-dm-notify.rules` runs
//! `dmsetup udevcomplete`, which counts the semaphore down. libdevmapper and the `devicemapper` crate wait for that
//! without a limit, and hang when udev does.
//!
//! The agent never needs udev to be finished, so nothing waits here: a failover must not queue behind a udev that is
//! busy with a thousand disks. A thread removes the semaphores that were counted down, warns when one has not been
//! counted down after [`SLOW`], and removes it anyway after [`LOST`], when udev itself has given up. The semaphore must
//! be in the host's IPC namespace (no `PrivateIPC=`).

use crate::kernel::{NoticeLimit, NoticeSink};
use crate::psa::action::Notice;
use crate::psa::codes;
use nix::errno::Errno;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this time udev is reported as slow.
pub(super) const SLOW: Duration = Duration::from_secs(10);
/// After this time udev will no longer answer: it kills its own workers after 180 s.
pub(super) const LOST: Duration = Duration::from_secs(190);
/// How often the semaphores are checked. Nothing waits for the result.
const LOOK: Duration = Duration::from_millis(200);
/// The most semaphores at a time; the kernel's own limit is 32000 for the whole system.
const MOST: usize = 4096;

/// `DM_UDEV_DISABLE_LIBRARY_FALLBACK`: only udev makes the links.
const NO_FALLBACK: u32 = 0x0020;
/// `DM_UDEV_PRIMARY_SOURCE_FLAG`: a genuine dm event, whose flags the rules may trust.
const PRIMARY_SOURCE: u32 = 0x0040;
/// `DM_SUBSYSTEM_UDEV_FLAG0` of multipath maps: an existing map got another table.
pub(super) const RELOAD: u32 = 0x0100;
/// `DM_SUBSYSTEM_UDEV_FLAG2` of multipath maps: no path serves I/O, so do not probe the map.
pub(super) const NO_PATHS: u32 = 0x0400;

/// Where the flags begin in a cookie.
const FLAGS_SHIFT: u32 = 16;
/// The upper half of the key of every such semaphore (`DM_COOKIE_MAGIC`).
const KEY_MAGIC: u32 = 0x0d4d;

/// A semaphore that waits for udev.
struct Outstanding {
    semaphore: libc::c_int,
    map: String,
    since: Instant,
}

#[derive(Default)]
struct State {
    outstanding: Vec<Outstanding>,
    running: bool,
    closing: bool,
    slow: bool,
    /// Limits notices that there is no semaphore.
    no_cookie: NoticeLimit,
}

/// Creates cookies, and watches them until udev is done with them.
pub(super) struct Cookies {
    shared: Arc<(Mutex<State>, Condvar)>,
    notice_sink: NoticeSink,
}

/// A cookie for one ioctl.
pub(super) struct Cookie {
    /// For `event_nr` of the header.
    pub(super) value: u32,
    semaphore: Option<libc::c_int>,
}

impl Cookies {
    /// Creates the set without any cookies.
    #[must_use]
    pub(super) fn new(notice_sink: NoticeSink) -> Self {
        Cookies {
            shared: Arc::default(),
            notice_sink,
        }
    }

    /// How many of our events udev has not yet processed.
    #[must_use]
    fn outstanding(&self) -> usize {
        lock(&self.shared.0).outstanding.len()
    }

    /// Removes the semaphores that udev has not counted down: they would outlive the process.
    pub(super) fn forget(&self) {
        for cookie in lock(&self.shared.0).outstanding.drain(..) {
            remove_semaphore(cookie.semaphore);
        }
    }

    /// Creates a cookie with flags for the udev rules. If udev does not run or there is no semaphore, the cookie has
    /// only flags, and udev counts nothing down.
    pub(super) fn make(&self, flags: u32) -> Cookie {
        let flags = (flags | NO_FALLBACK | PRIMARY_SOURCE) << FLAGS_SHIFT;
        let udev = Path::new("/run/udev/control").exists();
        let made = (udev && self.outstanding() < MOST).then(create_semaphore);
        match made {
            Some(Ok((base, semaphore))) => Cookie {
                value: flags | u32::from(base),
                semaphore: Some(semaphore),
            },
            Some(Err(errno)) => {
                if lock(&self.shared.0).no_cookie.admits(Instant::now()) {
                    let reason = format!("cannot create a semaphore: {errno}");
                    let effect = "links in /dev may be late";
                    let details = [("reason", &*reason), ("effect", effect)];
                    self.notice_sink
                        .notify(Notice::new(codes::UDEV_NO_COOKIE, "agent", &details));
                }
                Cookie {
                    value: flags,
                    semaphore: None,
                }
            }
            None => Cookie {
                value: flags,
                semaphore: None,
            },
        }
    }

    /// Called after the ioctl: watches the cookie if the kernel raised a uevent, otherwise removes it.
    pub(super) fn sent(&self, cookie: Cookie, map: &str, uevent_generated: bool) {
        let Some(semaphore) = cookie.semaphore else {
            return;
        };
        if !uevent_generated {
            remove_semaphore(semaphore);
            return;
        }
        let mut state = lock(&self.shared.0);
        state.outstanding.push(Outstanding {
            semaphore,
            map: map.to_owned(),
            since: Instant::now(),
        });
        if !state.running {
            let (shared, notice_sink) = (Arc::clone(&self.shared), self.notice_sink.clone());
            let started =
                crate::kernel::thread("dm-udev").spawn(move || look_after(&shared, &notice_sink));
            // The start is tried again with the next cookie. Until then the semaphores only accumulate, up to their
            // limit.
            state.running = started.is_ok();
        }
        self.shared.1.notify_one();
    }
}

impl Drop for Cookies {
    fn drop(&mut self) {
        self.forget();
        lock(&self.shared.0).closing = true;
        self.shared.1.notify_one();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look_after(shared: &(Mutex<State>, Condvar), notice_sink: &NoticeSink) {
    let mut state = lock(&shared.0);
    while !state.closing {
        if state.outstanding.is_empty() {
            state = shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        if let Some(notice) = look(&mut state, Instant::now()) {
            notice_sink.notify(notice);
        }
        let waited = shared.1.wait_timeout(state, LOOK);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Removes the semaphores that are done with. Returns a notice if udev has become slow, or is no longer.
fn look(state: &mut State, now: Instant) -> Option<Notice> {
    let mut slowest: Option<(Duration, String)> = None;
    state.outstanding.retain(|cookie| {
        let age = now.duration_since(cookie.since);
        match count(cookie.semaphore) {
            Ok(0) => {
                remove_semaphore(cookie.semaphore);
                false
            }
            // Somebody else removed it, for example `dmsetup udevcomplete_all`.
            Err(_) => false,
            Ok(_) if age >= LOST => {
                remove_semaphore(cookie.semaphore);
                false
            }
            Ok(_) => {
                if slowest.as_ref().is_none_or(|(most, _)| age > *most) {
                    slowest = Some((age, cookie.map.clone()));
                }
                true
            }
        }
    });
    let waiting = state.outstanding.len();
    match slowest {
        Some((age, map)) if age >= SLOW && !state.slow => {
            state.slow = true;
            let details = [
                ("map", &*map),
                ("waiting", &waiting.to_string()),
                ("seconds", &age.as_secs().to_string()),
                ("effect", "links in /dev may be late; maps are not affected"),
            ];
            Some(Notice::new(codes::UDEV_SLOW, "agent", &details))
        }
        None if state.slow => {
            state.slow = false;
            Some(Notice::new(codes::UDEV_OK, "agent", &[]))
        }
        _ => None,
    }
}

/// Creates a semaphore that udev counts down to 0. Returns the lower half of its key, which is never 0, and its id.
fn create_semaphore() -> Result<(u16, libc::c_int), Errno> {
    for _ in 0..64 {
        // Random, so that it rarely collides with another program's cookie. If it does, the next number is tried.
        let base = RandomState::new().build_hasher().finish() as u16;
        if base == 0 {
            continue;
        }
        let key = (KEY_MAGIC << FLAGS_SHIFT | u32::from(base)) as libc::key_t;
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
        // SAFETY: takes and returns plain numbers.
        // JUSTIFICATION: neither nix nor the standard library has System V semaphores.
        let semaphore = unsafe { libc::semget(key, 1, flags) };
        match Errno::result(semaphore) {
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
            Ok(semaphore) => {
                // SAFETY: SETVAL takes an int as its fourth argument and touches no memory of this process.
                // JUSTIFICATION: as above.
                let set = unsafe { libc::semctl(semaphore, 0, libc::SETVAL, 1 as libc::c_int) };
                return match Errno::result(set) {
                    Ok(_) => Ok((base, semaphore)),
                    Err(errno) => {
                        remove_semaphore(semaphore);
                        Err(errno)
                    }
                };
            }
        }
    }
    Err(Errno::EEXIST)
}

fn count(semaphore: libc::c_int) -> Result<libc::c_int, Errno> {
    // SAFETY: GETVAL takes no further argument and touches no memory of this process.
    // JUSTIFICATION: neither nix nor the standard library has System V semaphores.
    Errno::result(unsafe { libc::semctl(semaphore, 0, libc::GETVAL) })
}

fn remove_semaphore(semaphore: libc::c_int) {
    // SAFETY: IPC_RMID takes no further argument and touches no memory of this process. It may fail if the semaphore is
    // already gone.
    // JUSTIFICATION: neither nix nor the standard library has System V semaphores.
    unsafe { libc::semctl(semaphore, 0, libc::IPC_RMID) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_down(semaphore: libc::c_int) {
        // SAFETY: as in `create_semaphore`.
        // JUSTIFICATION: what `dmsetup udevcomplete` does, in effect.
        unsafe { libc::semctl(semaphore, 0, libc::SETVAL, 0 as libc::c_int) };
    }

    fn outstanding(ages: &[Duration]) -> State {
        let now = Instant::now();
        let outstanding = ages.iter().map(|age| Outstanding {
            semaphore: create_semaphore().unwrap().1,
            map: "naa.6".into(),
            since: now.checked_sub(*age).unwrap(),
        });
        State {
            outstanding: outstanding.collect(),
            ..State::default()
        }
    }

    #[test]
    fn finished_cookies_are_removed() {
        let mut state = outstanding(&[Duration::ZERO, Duration::ZERO]);
        let (first, second) = (
            state.outstanding[0].semaphore,
            state.outstanding[1].semaphore,
        );
        count_down(first);
        look(&mut state, Instant::now());
        assert_eq!(state.outstanding.len(), 1);
        assert!(count(first).is_err(), "the semaphore is gone");
        count_down(second);
        look(&mut state, Instant::now());
        assert!(state.outstanding.is_empty() && count(second).is_err());
    }

    #[test]
    fn slowness_is_reported_once_and_ends() {
        let mut state = outstanding(&[SLOW]);
        let look = |state: &mut State| look(state, Instant::now()).map(|notice| notice.code);
        assert_eq!(look(&mut state).as_deref(), Some("UDEV_SLOW"));
        assert_eq!((look(&mut state), state.outstanding.len()), (None, 1));
        count_down(state.outstanding[0].semaphore);
        assert_eq!(look(&mut state).as_deref(), Some("UDEV_OK"));
        assert_eq!(look(&mut state), None);
    }

    #[test]
    fn lost_cookies_are_removed_eventually() {
        let mut state = outstanding(&[LOST]);
        let semaphore = state.outstanding[0].semaphore;
        look(&mut state, Instant::now());
        assert!(state.outstanding.is_empty() && count(semaphore).is_err());
    }

    #[test]
    fn a_cookie_carries_its_flags() {
        let cookies = Cookies::new(NoticeSink::discard());
        let cookie = cookies.make(RELOAD | NO_PATHS);
        assert_eq!(cookie.value >> FLAGS_SHIFT, 0x0560);
        cookies.sent(cookie, "naa.6", false);
        assert_eq!(cookies.outstanding(), 0);
    }
}
