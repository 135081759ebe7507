//! Controls the terminal of a live view: alternate screen, raw keys, and restoring everything at the end.
//!
//! The terminal is restored when [`Terminal`] is dropped, and before a panic prints its message. SIGINT, SIGTERM,
//! SIGHUP and SIGWINCH are received as [`Input`] through a descriptor, so no signal handler interrupts the code.

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

/// Alternate screen, no cursor, long lines are cut off.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The settings of the terminal before the view started.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A character.
    Char(char),
    /// One line up.
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

/// What arrived while the view waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Keys were pressed.
    Keys(Vec<Key>),
    /// The window was resized.
    Resized,
    /// The view must end: a signal, or the terminal is gone.
    Stop,
    /// Nothing arrived in time.
    Nothing,
}

/// The terminal, while the view uses it.
#[derive(Debug)]
pub(crate) struct Terminal {
    tty: File,
    signals: SignalFd,
}

impl Terminal {
    /// Takes over the terminal that the process was started from.
    ///
    /// # Errors
    /// There is no terminal.
    pub(crate) fn open() -> io::Result<Terminal> {
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

    /// Columns and rows; 80 and 24 if the terminal does not report them.
    #[must_use]
    pub(crate) fn size(&self) -> (usize, usize) {
        let mut size = libc::winsize {
            ws_row: 0,
            ws_col: 0,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: TIOCGWINSZ writes one struct winsize to the given address, which is a live one of this frame.
        let result = unsafe { libc::ioctl(self.tty.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
        if result != 0 || size.ws_col == 0 || size.ws_row == 0 {
            return (80, 24);
        }
        (size.ws_col.into(), size.ws_row.into())
    }

    /// Shows these lines from the top, and clears what is below them.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn show(&mut self, lines: &[String]) -> io::Result<()> {
        // Each line is drawn over the old one, so nothing flickers.
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        let screen = format!("\x1b[H{}\x1b[J", lines.join("\r\n"));
        self.tty.write_all(screen.as_bytes())
    }

    /// Waits at most `most` for input.
    pub(crate) fn wait(&mut self, most: Duration) -> Input {
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

/// Restores the terminal, once. If it is gone, nothing can be done.
fn put_back() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (Some(before), Ok(mut tty)) = (before, File::options().write(true).open("/dev/tty")) else {
        return;
    };
    let _ = tty.write_all(LEAVE);
    let _ = tcsetattr(&tty, SetArg::TCSADRAIN, &before);
}

/// Decodes the keys from bytes in raw mode; other bytes are ignored.
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
                // An escape sequence of a key that is not used here: skip to its last byte.
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
        fn any_bytes_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(keys_of(&bytes).len() <= bytes.len());
        }
    }
}
