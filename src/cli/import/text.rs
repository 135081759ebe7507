//! Decodes the bytes of a file into text.
//!
//! Windows PowerShell writes UTF-16 with a byte order mark, and its `Export-Csv` UTF-8 with one. A byte that is not
//! valid UTF-8, as in comments of files that predate it, is decoded as ISO 8859-1.

/// The maximum length of a file, in bytes: a listing of ten thousand rules has two million.
pub const LIMIT: usize = 16 << 20;

/// The maximum number of lines, because a remark on each line is kept.
const LINES: usize = 500_000;

/// Decodes the text of a file.
///
/// # Errors
/// Why it is not text, and the remedy.
pub fn of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() > LIMIT {
        return Err(format!(
            "it has more than {} MiB: this is not a listing of rules or a multipath.conf",
            LIMIT >> 20
        ));
    }
    let units = |pair: fn([u8; 2]) -> u16| -> Vec<u16> {
        let pairs = bytes.get(2..).unwrap_or_default().chunks(2);
        // A single byte at the end is not a UTF-16 unit and is ignored.
        pairs
            .filter_map(|bytes| bytes.try_into().ok().map(pair))
            .collect()
    };
    let wide = match bytes.as_slice() {
        [0xff, 0xfe, ..] => Some(units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => Some(units(u16::from_be_bytes)),
        _ => None,
    };
    if let Some(units) = wide {
        let text = String::from_utf16(&units)
            .map_err(|_| "it begins like UTF-16, but is not valid: save it as UTF-8".to_owned());
        return text.and_then(bounded);
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(why) => {
            let valid = why.utf8_error().valid_up_to();
            latin(why.as_bytes())
                .ok_or_else(|| format!("not valid UTF-8 from byte {valid} on: save it as UTF-8"))?
        }
    };
    bounded(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
}

/// Decodes bytes as ISO 8859-1, one byte per character; `None` if they are not text.
fn latin(bytes: &[u8]) -> Option<String> {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x20..=0x7e | 0x80..);
    bytes
        .iter()
        .all(is_text)
        .then(|| bytes.iter().map(|byte| char::from(*byte)).collect())
}

fn bounded(text: String) -> Result<String, String> {
    if text.matches('\n').count() > LINES {
        return Err(format!("it has more than {LINES} lines: split it"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let wide = |bytes: fn(u16) -> [u8; 2], mark: [u8; 2]| {
            let text: Vec<u8> = "Vendor ä".encode_utf16().flat_map(bytes).collect();
            of([mark.to_vec(), text].concat())
        };
        assert_eq!(wide(u16::to_le_bytes, [0xff, 0xfe]).unwrap(), "Vendor ä");
        assert_eq!(wide(u16::to_be_bytes, [0xfe, 0xff]).unwrap(), "Vendor ä");
        assert_eq!(of(b"\xef\xbb\xbfVendor".to_vec()).unwrap(), "Vendor");
        assert_eq!(of(b"# f\xfcr\n".to_vec()).unwrap(), "# f\u{fc}r\n");
        assert!(of(b"abc\0\xff".to_vec()).unwrap_err().contains("byte 4"));
        assert!(of(vec![0xff, 0xfe, 0x00, 0xd8]).is_err());
        assert!(of(vec![b'\n'; LINES + 1]).unwrap_err().contains("lines"));
        assert!(of(vec![b'x'; LIMIT + 1]).unwrap_err().contains("16 MiB"));
    }
}
