//! One file of several segments, for a bug report: what `psactl journal save` writes.
//!
//! The file begins with a text that describes it and an empty line. Each segment follows as a line with its name and
//! its length in bytes, and then its content. Only the first line of the text is fixed; the rest may change.

/// The first line.
pub const MAGIC: &[u8] = b"dm-psa journal archive 1\n";

/// The description at the start of the file.
const ABOUT: &str = "\
The inputs and actions of a host's multipath agent: `psactl replay FILE` shows them.
It holds: names, addresses and serial numbers of disks, arrays, HBAs and their ports; mount points of disks in use; the
settings and rules of dm-psa; answers of disks to INQUIRY, TEST UNIT READY and REPORT TARGET PORT GROUPS.
It does not hold: data of disks, passwords or keys.
";

/// A segment in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Name of its file.
    pub name: &'a str,
    /// Its content; shorter than announced if the archive was cut.
    pub bytes: &'a [u8],
}

/// Returns the start of an archive: [`MAGIC`], the description and an empty line.
#[must_use]
pub fn begin() -> Vec<u8> {
    [MAGIC, ABOUT.as_bytes(), b"\n"].concat()
}

/// Returns the line that precedes a segment.
#[must_use]
pub fn head(name: &str, length: usize) -> String {
    format!("segment {name} {length}\n")
}

/// Returns the segments of an archive. If the archive was cut, returns those that are present, the last one incomplete.
///
/// # Errors
/// The offset of the first byte that is not part of a segment.
pub fn members(bytes: &[u8]) -> Result<Vec<Member<'_>>, usize> {
    let begin = bytes.windows(2).position(|two| two == b"\n\n");
    let mut at = begin.filter(|_| bytes.starts_with(MAGIC)).ok_or(0_usize)? + 2;
    let mut members = Vec::new();
    while at < bytes.len() {
        let rest = &bytes[at..];
        // A name is short, so a line without an end within 256 bytes is invalid.
        let line = rest
            .iter()
            .take(256)
            .position(|byte| *byte == b'\n')
            .ok_or(at)?;
        let text = std::str::from_utf8(&rest[..line]).map_err(|_| at)?;
        let mut words = text.split(' ');
        let (Some("segment"), Some(name), Some(length), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(at);
        };
        let length: usize = length.parse().map_err(|_| at)?;
        let rest = &rest[line + 1..];
        let length = length.min(rest.len());
        members.push(Member {
            name,
            bytes: &rest[..length],
        });
        at += line + 1 + length;
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_back_and_a_truncated_one_in_part() {
        let mut archive = begin();
        for (name, bytes) in [("1.journal", b"one".as_slice()), ("2.journal", b"zwei")] {
            archive.extend_from_slice(head(name, bytes.len()).as_bytes());
            archive.extend_from_slice(bytes);
        }
        let names = |bytes| {
            members(bytes).map(|all| {
                all.iter()
                    .map(|m| (m.name.to_owned(), m.bytes.len()))
                    .collect()
            })
        };
        let all: Result<Vec<_>, _> = names(&archive);
        assert_eq!(
            all,
            Ok(vec![
                ("1.journal".to_owned(), 3),
                ("2.journal".to_owned(), 4)
            ])
        );
        let cut: Result<Vec<_>, _> = names(&archive[..archive.len() - 1]);
        assert_eq!(
            cut,
            Ok(vec![
                ("1.journal".to_owned(), 3),
                ("2.journal".to_owned(), 3)
            ])
        );
        assert_eq!(members(b"something else\n\n"), Err(0));
        assert_eq!(
            members(&[&begin(), b"x\n".as_slice()].concat()),
            Err(begin().len())
        );
    }
}
