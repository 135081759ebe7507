//! The terminal of a live view: the other screen, keys as they are pressed, and all of it put back in the end.
//!
//! It is put back when [`Terminal`] is dropped, and before a panic tells its message. SIGINT, SIGTERM, SIGHUP and
//! SIGWINCH come as [`Input`], by a descriptor, so no handler runs in the middle of anything.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The other screen; no cursor; lines that are too long are cut.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What the terminal was like before.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Arrows and their like.
    Up,
    /// One line down.
    Down,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// Escape by itself.
    Escape,
}

/// What came while the view waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Keys were pressed.
    Keys(Vec<Key>),
    /// The window has another size.
    Resized,
    /// The view is to end: a signal, or the terminal is gone.
    Stop,
    /// Nothing in this time.
    Nothing,
}

/// The terminal, as long as the view has it.
#[derive(Debug)]
pub struct Terminal {
    tty: File,
    signals: SignalFd,
}

impl Terminal {
    /// Takes the terminal that the process was started from.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> io::Result<Terminal> {
        let tty = File::options().read(true).write(true).open("/dev/tty")?;
        let mut signals = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGWINCH,
        ] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&signals, flags)?;
        let before = tcgetattr(&tty)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let terminal = Terminal { tty, signals };
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            put_back();
            default(panic);
        }));
        tcsetattr(&terminal.tty, SetArg::TCSADRAIN, &raw)?;
        (&terminal.tty).write_all(ENTER)?;
        Ok(terminal)
    }

    /// Columns and rows; 80 and 24 where the terminal does not say.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let mut size = libc::winsize {
            ws_row: 0,
            ws_col: 0,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: TIOCGWINSZ writes one struct winsize to where it is told; that is a live one of this frame.
        let result = unsafe { libc::ioctl(self.tty.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
        if result != 0 || size.ws_col == 0 || size.ws_row == 0 {
            return (80, 24);
        }
        (size.ws_col.into(), size.ws_row.into())
    }

    /// Shows these lines from the top; what was below them is gone.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&mut self, lines: &[String]) -> io::Result<()> {
        // Each line is drawn over the one that was there: nothing flickers.
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        let screen = format!("\x1b[H{}\x1b[J", lines.join("\r\n"));
        self.tty.write_all(screen.as_bytes())
    }

    /// Waits for something to come in.
    pub fn wait(&mut self, most: Duration) -> Input {
        let millis = u16::try_from(most.as_millis()).unwrap_or(u16::MAX);
        let mut waits = [
            PollFd::new(self.tty.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waits, PollTimeout::from(millis)) {
            Ok(0) | Err(Errno::EINTR) => return Input::Nothing,
            Ok(_) => {}
            Err(_) => return Input::Stop,
        }
        let [keys, signals] = waits.map(|wait| wait.revents().unwrap_or(PollFlags::empty()));
        if !signals.is_empty() {
            return match self.signals.read_signal() {
                Ok(Some(signal)) if i32::try_from(signal.ssi_signo) == Ok(libc::SIGWINCH) => {
                    Input::Resized
                }
                Ok(None) => Input::Nothing,
                _ => Input::Stop,
            };
        }
        if keys.contains(PollFlags::POLLIN) {
            let mut bytes = [0; 64];
            return match self.tty.read(&mut bytes) {
                Ok(0) | Err(_) => Input::Stop,
                Ok(count) => Input::Keys(keys_of(bytes.get(..count).unwrap_or_default())),
            };
        }
        Input::Stop
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        put_back();
    }
}

/// Puts the terminal back, once. Where it is gone nothing can be done.
fn put_back() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (Some(before), Ok(mut tty)) = (before, File::options().write(true).open("/dev/tty")) else {
        return;
    };
    let _ = tty.write_all(LEAVE);
    let _ = tcsetattr(&tty, SetArg::TCSADRAIN, &before);
}

/// The keys that these bytes are, in raw mode; what is none of them is left out.
fn keys_of(mut bytes: &[u8]) -> Vec<Key> {
    const SEQUENCES: [(&[u8], Key); 14] = [
        (b"\x1b[A", Key::Up),
        (b"\x1bOA", Key::Up),
        (b"\x1b[B", Key::Down),
        (b"\x1bOB", Key::Down),
        (b"\x1b[5~", Key::PageUp),
        (b"\x1b[6~", Key::PageDown),
        (b"\x1b[H", Key::Home),
        (b"\x1bOH", Key::Home),
        (b"\x1b[1~", Key::Home),
        (b"\x1b[F", Key::End),
        (b"\x1bOF", Key::End),
        (b"\x1b[4~", Key::End),
        (b"\x03", Key::Char('q')),
        (b"\x04", Key::Char('q')),
    ];
    let mut keys = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let known = SEQUENCES
            .iter()
            .find_map(|(sequence, key)| Some((bytes.strip_prefix(*sequence)?, *key)));
        if let Some((after, key)) = known {
            keys.push(key);
            bytes = after;
            continue;
        }
        match first {
            0x1b if matches!(rest, [b'[' | b'O', ..]) => {
                // A key that is not used here: to its last byte.
                let rest = rest.get(1..).unwrap_or_default();
                let end = rest.iter().position(|b| (0x40..0x7f).contains(b));
                bytes = end
                    .and_then(|end| rest.get(end.saturating_add(1)..))
                    .unwrap_or_default();
                continue;
            }
            0x1b => keys.push(Key::Escape),
            0x20..0x7f => keys.push(Key::Char(char::from(*first))),
            _ => {}
        }
        bytes = rest;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_understood() {
        assert_eq!(
            keys_of(b"s\x1b[A\x1b[6~\x1b[1;5C\x1b[200~q\x1b\x03\xc3\xa4"),
            [
                Key::Char('s'),
                Key::Up,
                Key::PageDown,
                Key::Char('q'),
                Key::Escape,
                Key::Char('q')
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(keys_of(&bytes).len() <= bytes.len());
        }
    }
}
