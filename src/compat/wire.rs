//! The messages on multipathd's socket: a length in native byte order, then that number of bytes, the last of
//! them NUL.

use std::io::{self, ErrorKind, Read, Write};

/// Longest command that is accepted, with its NUL.
pub const LONGEST_COMMAND: usize = 512;

/// Longest reply, with its NUL: clients refuse longer ones.
pub const LONGEST_REPLY: usize = 32 << 20;

/// Reads a message of at most `longest` bytes. `None` if the peer closed the connection before it began one.
///
/// # Errors
/// The peer closed the connection within a message, took too long, or the message is too long.
pub fn receive(from: &mut impl Read, longest: usize) -> io::Result<Option<String>> {
    let mut head = [0; size_of::<usize>()];
    let Some(length) = begin(from, &mut head)? else {
        return Ok(None);
    };
    if length == 0 || length > longest {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("a message of {length} bytes: at most {longest} are accepted"),
        ));
    }
    // `take` and `read_to_end` allocate as the bytes arrive, so a length alone reserves nothing.
    let mut bytes = Vec::new();
    from.take(u64::try_from(length).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(length));
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn begin(from: &mut impl Read, head: &mut [u8; size_of::<usize>()]) -> io::Result<Option<usize>> {
    let mut filled = 0;
    while filled < head.len() {
        match from.read(head.get_mut(filled..).unwrap_or_default()) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(usize::from_ne_bytes(*head)))
}

/// Writes a message.
///
/// # Errors
/// The peer is gone, or did not take it in time.
pub fn send(to: &mut impl Write, text: &str) -> io::Result<()> {
    let mut message = (text.len() + 1).to_ne_bytes().to_vec();
    message.extend_from_slice(text.as_bytes());
    message.push(0);
    to.write_all(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_back_and_forth() {
        let mut bytes = Vec::new();
        send(&mut bytes, "show maps").unwrap();
        send(&mut bytes, "").unwrap();
        let mut from = bytes.as_slice();
        let mut next = || receive(&mut from, 512).unwrap();
        assert_eq!(next().as_deref(), Some("show maps"));
        assert_eq!(next().as_deref(), Some(""));
        assert_eq!(next(), None);
    }

    #[test]
    fn hostile_lengths_are_refused() {
        for length in [0, 513, usize::MAX] {
            let bytes = length.to_ne_bytes();
            assert!(receive(&mut bytes.as_slice(), 512).is_err(), "{length}");
        }
        let mut cut = 9_usize.to_ne_bytes().to_vec();
        cut.extend_from_slice(b"show");
        assert!(receive(&mut cut.as_slice(), 512).is_err());
        assert!(receive(&mut [1_u8, 0].as_slice(), 512).is_err());
    }
}
