//! One file of several segments, for a bug report: what `psactl journal save` writes.
//!
//! Text that says what the file is, an empty line, then for each segment a line with its name and its length in bytes, and
//! the segment. Other texts than the first line may change.

/// The first line.
pub const MAGIC: &[u8] = b"dm-psa journal archive 1\n";

/// What the file says of itself.
const ABOUT: &str = "\
What the multipath agent of a host was told and what it did: `psactl replay FILE` shows it.
It holds: names, addresses and serial numbers of disks, arrays, HBAs and their ports; mount points of disks in use; the
settings and rules of dm-psa; answers of disks to INQUIRY, TEST UNIT READY and REPORT TARGET PORT GROUPS.
It does not hold: data of disks, passwords or keys.
";

/// A segment in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Name of its file.
    pub name: &'a str,
    /// What there is of it.
    pub bytes: &'a [u8],
}

/// The begin of an archive.
#[must_use]
pub fn begin() -> Vec<u8> {
    [MAGIC, ABOUT.as_bytes(), b"\n"].concat()
}

/// What stands before a segment.
#[must_use]
pub fn head(name: &str, length: usize) -> String {
    format!("segment {name} {length}\n")
}

/// The segments of an archive; of one that was cut, those that are there, the last not whole.
///
/// # Errors
/// The byte at which something else stands than a segment.
pub fn members(bytes: &[u8]) -> Result<Vec<Member<'_>>, usize> {
    let begin = bytes.windows(2).position(|two| two == b"\n\n");
    let mut at = begin.filter(|_| bytes.starts_with(MAGIC)).ok_or(0_usize)? + 2;
    let mut members = Vec::new();
    while at < bytes.len() {
        let rest = &bytes[at..];
        // A name is short: what is long is none.
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
    fn members_come_back_and_a_cut_one_in_part() {
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
