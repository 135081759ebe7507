//! `psactl scsi decode` reads hex as other tools print it and prints the fields of SPC-5; it survives any bytes and any
//! text. The screens are files in `tests/golden/cli/`, rewritten by `UPDATE_GOLDEN=1 cargo test --test decode`.

mod screen;

use dm_psa::cli::format::{Format, render};
use dm_psa::cli::{Exit, decode, hex};
use dm_psa::scsi::inquiry::{StandardInquiry, Tpgs};
use proptest::collection::vec;
use proptest::prelude::*;
use screen::{Screen, golden, golden_file, psactl};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Decodes a file of `tests/golden/cli/`.
fn decode_file(kind: &str, name: &str, more: &[&str]) -> Screen {
    let file = golden_file(&format!("cli/{name}"));
    let hex = ["scsi", "decode", kind, "--hex", file.to_str().unwrap()];
    psactl([&hex, more].concat())
}

// ---- screens ------------------------------------------------------------------------------------------------

#[test]
fn screens_match_the_goldens() {
    for (kind, name) in [
        ("inquiry", "decode-inquiry"),
        ("vpd", "decode-vpd-00"),
        ("vpd", "decode-vpd-80"),
        ("vpd", "decode-vpd-83"),
        ("vpd", "decode-vpd-b0"),
        ("vpd", "decode-vpd-b1"),
        ("rtpg", "decode-rtpg"),
        ("rtpg", "decode-rtpg-extended"),
        ("sense", "decode-sense-fixed"),
        ("sense", "decode-sense-descriptor"),
    ] {
        let screen = decode_file(kind, &format!("{name}.hex"), &[]);
        assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""), "{name}");
        golden(&format!("cli/{name}.txt"), &screen.out);
    }
    for format in ["json", "csv", "xml", "keyvalue", "table"] {
        let option = format!("--formatter={format}");
        let screen = decode_file("vpd", "decode-vpd-83.hex", &[&option]);
        golden(&format!("cli/decode-vpd-83.{format}"), &screen.out);
    }
    for (kind, name) in [
        ("inquiry", "decode-inquiry"),
        ("rtpg", "decode-rtpg"),
        ("sense", "decode-sense-fixed"),
    ] {
        let screen = decode_file(kind, &format!("{name}.hex"), &["--formatter=json"]);
        golden(&format!("cli/{name}.json"), &screen.out);
    }
}

#[test]
fn truncated_data_is_decoded_up_to_the_cut() {
    for (kind, name) in [
        ("inquiry", "decode-inquiry-cut"),
        ("vpd", "decode-vpd-83-cut"),
        // LIO leaves the last port out of an extended answer.
        ("rtpg", "decode-rtpg-lio"),
    ] {
        let screen = decode_file(kind, &format!("{name}.hex"), &[]);
        assert_eq!(screen.exit, Exit::Partly, "{name}: {}", screen.err);
        assert!(screen.err.contains("only a part was decoded: "), "{name}");
        golden(&format!("cli/{name}.txt"), &screen.out);
    }
}

#[test]
fn the_requested_page_is_the_page_decoded() {
    for page in ["83", "0x83", "83h"] {
        let screen = decode_file("vpd", "decode-vpd-83.hex", &["--page", page]);
        assert_eq!(screen.exit, Exit::Ok);
    }
    let screen = decode_file("vpd", "decode-vpd-80.hex", &["--page=83"]);
    assert_eq!(screen.exit, Exit::Failed);
    assert!(
        screen.err.contains("found 0x80, expected PAGE CODE 83h"),
        "{}",
        screen.err
    );
    for page in ["83hh", "100", "", "+3", "di"] {
        let screen = decode_file("vpd", "decode-vpd-83.hex", &["--page", page]);
        assert_eq!(screen.exit, Exit::Usage, "{page}");
    }
}

#[test]
fn standard_input_is_read_unless_a_file_is_named() {
    for hex in [&[][..], &["--hex", "-"][..]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_psactl"))
            .args(["scsi", "decode", "sense"])
            .args(hex)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text = std::fs::read(golden_file("cli/decode-sense-fixed.hex")).unwrap();
        child.stdin.take().unwrap().write_all(&text).unwrap();
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(0));
        golden(
            "cli/decode-sense-fixed.txt",
            &String::from_utf8(done.stdout).unwrap(),
        );
    }
}

#[test]
fn errors_name_the_file_the_line_and_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let cases: [(&[u8], &str); 17] = [
        (b"", "x: no hex digits: give"),
        (b"# nothing\n\n", "x: no hex digits: give"),
        (b"70 00 05\nzz", "x: line 2: `zz` is not hex: leave out"),
        (
            b"70 00 005",
            "x: line 1: `005` has an odd number of digits: write",
        ),
        (b"70 00 05\nLength 18\n", "x: line 2: `Length` is not hex"),
        (b"$ sg_inq -H /dev/sdc\n00", "x: line 1: `$` is not hex"),
        (b"\x00\x83\xff\xfe", "x: not text from byte 1 on"),
        (b"70", "x: sense data, byte 1: truncated"),
        (b"71 00", "SENSE KEY, byte 2: truncated"),
        (b"00 00 00", "found 0x0, expected a RESPONSE CODE"),
        (
            b"00000000  70 00\n00000004  05 00\n",
            "x: line 1: by the next offset, this line must have 4 bytes",
        ),
        (
            b"00000000: 7000\n05 00\n",
            "x: line 2: `05` is not an offset",
        ),
        (
            b"00000000: 7000\nxx 00\n",
            "x: line 2: `xx` is not an offset",
        ),
        (b"00000010: 7000\n", "x: line 1: offset 10h instead of 0h"),
        (
            b"0000000 0070 0005\n",
            "x: line 1: two-byte words in the byte order of the host",
        ),
        (b"*\n70 00", "x: line 1: `*` has no line to repeat"),
        (b"00000000  70 00\n*\n", "x: `*` at the end"),
    ];
    for (text, wanted) in cases {
        std::fs::write(&file, text).unwrap();
        let screen = psactl(["scsi", "decode", "sense", "--hex", file.to_str().unwrap()]);
        let shown = String::from_utf8_lossy(text);
        assert_eq!(
            (screen.exit, screen.out.as_str()),
            (Exit::Failed, ""),
            "{shown}"
        );
        assert!(screen.err.contains(wanted), "{shown}: {}", screen.err);
    }
    std::fs::write(&file, "00 ".repeat(hex::LIMIT / 3 + 1)).unwrap();
    let long = psactl(["scsi", "decode", "sense", "--hex", file.to_str().unwrap()]);
    assert!(long.err.contains("more than 1 MiB"), "{}", long.err);
    let absent = psactl(["scsi", "decode", "sense", "--hex", "/nonexistent"]);
    assert_eq!(absent.exit, Exit::Failed);
    assert!(
        absent.err.contains("/nonexistent: cannot be read: "),
        "{}",
        absent.err
    );
}

#[test]
fn sense_in_a_log_is_three_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    for text in [
        "0x5 0x25 0x0",
        "5 25 0\n",
        "5/25/00",
        "05/25/00",
        "2021-03-04T05:06:07Z cpu3: VMW_SATP_ALUA: failed with status. H:0x0 D:0x2 P:0x0 Valid sense data: 0x5 0x25 0x0.\n",
        "ScsiDeviceIO: Cmd 0x28 failed H:0x0 D:0x2 P:0x0 Possible sense data: 0x5 0x25 0x0.",
        "sense data: 70 00 05 00 00 00 00 0a 00 00 00 00 25 00 00 00 00 00",
    ] {
        std::fs::write(&file, text).unwrap();
        let screen = psactl(["scsi", "decode", "sense", "--hex", file.to_str().unwrap()]);
        assert_eq!(screen.exit, Exit::Ok, "{text}: {}", screen.err);
        for part in [
            "SENSE KEY: 5h",
            "ADDITIONAL SENSE CODE: 25h",
            "permanent device loss",
        ] {
            assert!(screen.out.contains(part), "{text}: {}", screen.out);
        }
    }
}

#[test]
fn pages_are_named_by_the_device_type() {
    let decoded = |hex: &str| {
        let data = hex::parse(hex).unwrap();
        render(&decode::vpd(&data, None).unwrap().listing(), None, false)
    };
    let tape = decoded("01 b5 00 08 00 00 00 00 01 01 20 e0");
    for part in [
        "Logical Block Protection VPD page",
        "LOGICAL BLOCK PROTECTION METHOD: 01h (Reed-Solomon CRC)",
        "LOGICAL BLOCK PROTECTION INFORMATION LENGTH: 32",
        "LBP_W_C: true",
    ] {
        assert!(tape.contains(part), "{part}: {tape}");
    }
    for (hex, part) in [
        ("00 b5 00 00", "Block Device Characteristics Extension"),
        ("01 b0 00 02 00 00", "Sequential-access Device Capabilities"),
        ("01 b1 00 04 41 42 43 20", "SERIAL NUMBER: ABC"),
        ("08 b3 00 00", "Automation Device Serial Number"),
        ("0d b0 00 00", "of the device type"),
        ("01 00 00 02 00 b2", "B2h (TapeAlert Supported Flags)"),
    ] {
        let text = decoded(hex);
        assert!(text.contains(part), "{hex}: {text}");
    }
}

#[test]
fn a_vendor_name_sends_no_control_characters_to_the_terminal() {
    let mut data = StandardInquiry::build(Tpgs::None, "A\x1b[2J", "B", "C");
    data[4] = 91;
    data.resize(96, 0x1b);
    let text = render(&decode::inquiry(&data).unwrap().listing(), None, false);
    assert!(!text.contains('\x1b'));
}

// ---- hex ----------------------------------------------------------------------------------------------------

#[test]
fn hex_is_read_in_any_format() {
    let wanted: Vec<u8> = vec![0, 0x83, 0x41, 0x42];
    for text in [
        "00834142",
        "0083 4142",
        "00 83 41 42",
        "0x00, 0x83, 0x41, 0x42,",
        "0x0,0x83,0x41,0x42",
        "00,83\n\n# a comment\n41,42\r\n",
        "00\t83\t41\t42",
        " 00     00 83 41 42                                         ..AB\n",
        "00000000  00 83 41 42                                       |..AB|\n00000004\n",
        "00000000: 0083 4142                                ..AB\n",
        "00000000: 0083 4142\n",
        "000000 00 83\n000002 41 42\n000004\n",
        "0 83 41 42",
        "0,83,41,42\n",
        "0x0 0x83 0x41 0x42",
        "00h 83h 41h 42h",
        "00 83 # PERIPHERAL DEVICE TYPE, PAGE CODE\n41 42\t# two letters, and more than two words\n",
        "Device Identification VPD page\nPage length 2\n\n 00     00 83 41 42\n",
        "Report target port groups\n00 83 41 42\n",
        "heading:\n[PQual=0  Peripheral device type: disk]\n00 83 41 42",
        // The text column is hex itself: the bytes show that it is their text.
        "0000: 0083  ..\n0002: 4142  AB\n",
        // The text does not match the bytes, and the next offset shows where the bytes end.
        "0000: 0083  ee\n0002: 4142  AB\n0004:\n",
    ] {
        assert_eq!(hex::parse(text), Ok(wanted.clone()), "{text}");
    }
    let zeros = "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n00000040\n";
    assert_eq!(hex::parse(zeros), Ok(vec![0; 64]));
}

#[test]
fn lost_bytes_are_an_error() {
    for text in [
        "0000: 0083 4142 4344\n0004: 4142\n",
        "0000: 0083\n0000: 4142\n",
        "0000: 0083\n0004: 4142\n",
        "0004: 0083\n0000: 4142\n",
        "0000: 0083\n*\n0005:\n",
        "0000: 0083\n*\nffffffffffff:\n",
        "00 83\nPage 41\n",
        "00 83 xyz 41\n",
    ] {
        assert!(hex::parse(text).is_err(), "{text}");
    }
}

/// The bytes as various tools print them, with offsets and text.
fn dumps(data: &[u8]) -> Vec<String> {
    let (mut sg, mut bare, mut hexdump, mut xxd) =
        (String::new(), String::new(), String::new(), String::new());
    for (index, line) in data.chunks(16).enumerate() {
        let offset = index * 16;
        let (left, right) = line.split_at(line.len().min(8));
        let pairs = |bytes: &[u8]| {
            let pairs: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
            pairs.join(" ")
        };
        let both = format!("{}  {}", pairs(left), pairs(right));
        let shown: String = line
            .iter()
            .map(|b| match b {
                0x20..=0x7e => char::from(*b),
                _ => '.',
            })
            .collect();
        let address = format!(" {offset:02x}");
        writeln!(sg, "{:60}{shown}", format!("{address:8}{both}")).unwrap();
        writeln!(bare, "{both}").unwrap();
        writeln!(hexdump, "{offset:08x}  {both:48}  |{shown}|").unwrap();
        let words: Vec<String> = line
            .chunks(2)
            .map(|pair| pair.iter().map(|b| format!("{b:02x}")).collect())
            .collect();
        writeln!(xxd, "{offset:08x}: {:39}  {shown}", words.join(" ")).unwrap();
    }
    writeln!(hexdump, "{:08x}", data.len()).unwrap();
    vec![sg, bare, hexdump, xxd]
}

proptest! {
    #[test]
    fn dumps_of_any_tool_are_read_back(data in vec(any::<u8>(), 1..200)) {
        for text in dumps(&data) {
            prop_assert_eq!(hex::parse(&text), Ok(data.clone()), "{}", text);
        }
    }

    #[test]
    fn dumps_of_printable_text_are_read_back(data in vec(b' '..=b'~', 1..100)) {
        for text in dumps(&data) {
            prop_assert_eq!(hex::parse(&text), Ok(data.clone()), "{}", text);
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC*") {
        let _ = hex::parse(&text);
    }

    #[test]
    fn any_lines_are_parsed_or_refused(lines in vec("(0[0-9a-f]:? ?)?[0-9a-f]{2}( {1,3}[0-9a-f*|.]{1,4}){0,6}|\\*", 0..8)) {
        let _ = hex::parse(&lines.join("\n"));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(mut data in vec(any::<u8>(), 0..300), first in 0x6fu8..0x75, honest: bool) {
        if honest {
            // The length field matches, so that the parser gets beyond its first check.
            let length = data.len().saturating_sub(4) as u8;
            for (slot, byte) in data.iter_mut().zip([first, 0x83, 0, length]) {
                *slot = byte;
            }
        }
        let mut rtpg = (data.len() as u32).to_be_bytes().to_vec();
        rtpg.extend(&data);
        let all = [
            decode::inquiry(&data),
            decode::vpd(&data, None),
            decode::vpd(&data, Some(0x83)),
            decode::vpd(&data, Some(0x80)),
            decode::vpd(&data, Some(0x00)),
            decode::rtpg(&data),
            decode::rtpg(&rtpg),
            decode::sense(&data),
        ];
        for decoded in all.into_iter().flatten() {
            let listing = decoded.listing();
            for format in [None, Some(Format::Table), Some(Format::Json), Some(Format::Csv)] {
                let text = render(&listing, format, false);
                prop_assert!(!text.contains(|c: char| c != '\n' && c.is_control()));
            }
        }
    }
}
