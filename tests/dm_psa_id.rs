//! `dm-psa-id` gives the expected answer for every tree in `tests/golden/id`, and prints complete answers or none.

use dm_psa::kernel::id;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TREES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/id");

/// A tree's question and its expected answer.
#[derive(Default)]
struct Case {
    disk: String,
    answer: String,
    error: Option<String>,
}

/// Creates the tree that `file` describes below `root`.
fn build(file: &Path, root: &Path, case: &mut Case) {
    for line in fs::read_to_string(file).unwrap().lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let make_room = |path: &str| {
            let path = root.join(path);
            let folder = path.parent().unwrap();
            fs::create_dir_all(folder).unwrap();
            // A later line replaces a file that an included file created, but never the target of a link.
            let _ = fs::remove_file(&path);
            path
        };
        match word {
            "" | "#" => {}
            "include" => build(&file.with_file_name(format!("{rest}.base")), root, case),
            "dir" => fs::create_dir_all(root.join(rest)).unwrap(),
            "file" => {
                let (path, text) = rest.split_once(" =").unwrap();
                let text = text.trim_start().replace("\\n", "\n").replace("\\t", "\t");
                fs::write(make_room(path), text + "\n").unwrap();
            }
            "hex" => {
                let (path, bytes) = rest.split_once(" = ").unwrap();
                let bytes = bytes.split(' ').map(|b| u8::from_str_radix(b, 16).unwrap());
                fs::write(make_room(path), bytes.collect::<Vec<_>>()).unwrap();
            }
            "link" => {
                let (path, target) = rest.split_once(" -> ").unwrap();
                let path = make_room(path);
                symlink(target, &path).unwrap();
                if target != "nowhere" {
                    fs::create_dir_all(path.parent().unwrap().join(target)).unwrap();
                }
            }
            "disk" => case.disk = rest.to_owned(),
            ">" => case.answer += &format!("{rest}\n"),
            "!" => case.error = Some(rest.to_owned()),
            other => panic!("{}: unknown line type `{other}`", file.display()),
        }
    }
}

#[test]
fn each_tree_gets_its_answer() {
    let mut files: Vec<PathBuf> = fs::read_dir(TREES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "tree"))
        .collect();
    files.sort();
    assert!(files.len() > 10, "too few trees in {TREES}");
    for file in files {
        let root = tempfile::tempdir().unwrap();
        let mut case = Case::default();
        build(&file, root.path(), &mut case);
        let name = file.file_stem().unwrap().to_string_lossy();
        match (id::decide(root.path(), &case.disk), case.error) {
            (Ok(decision), None) => assert_eq!(decision.to_string(), case.answer, "{name}"),
            (Err(error), Some(part)) => {
                assert!(error.to_string().contains(&part), "{name}: {error}");
            }
            (answer, _) => panic!("{name}: {answer:?}"),
        }
    }
}

#[test]
fn a_mark_round_trips() {
    for (text, owned, diskseq) in [("1", true, None), ("0 57", false, Some(57))] {
        let mark: id::Mark = text.parse().unwrap();
        assert_eq!((mark.owned, mark.diskseq), (owned, diskseq));
        assert_eq!(mark.to_string(), text);
    }
    for text in ["", "2", "1 x", "yes"] {
        assert!(text.parse::<id::Mark>().is_err(), "{text}");
    }
}

fn dm_psa_id(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dm-psa-id"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_map_gets_the_properties_for_its_links() {
    let output = dm_psa_id(&["--map", "mpath-3600140500000001aabbccdd000000000"]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "DM_TYPE=scsi\nDM_SERIAL=3600140500000001aabbccdd000000000\nDM_WWN=0x600140500000001aabbccdd000000000\n"
    );
    assert_eq!(
        id::map_properties("mpath-1LIO-ORG_disk").unwrap(),
        "DM_TYPE=scsi\nDM_SERIAL=1LIO-ORG_disk\n"
    );
}

#[test]
fn without_an_answer_nothing_is_printed() {
    for (args, status) in [
        (&["no-such-disk"][..], 1),
        (&["--map", "LVM-abc"], 1),
        (&["--map", "mpath-"], 1),
        (&["--map", "mpath-3\nDM_NAME=x"], 1),
        (&[], 2),
        (&["sda", "sdb"], 2),
        (&["--help"], 2),
    ] {
        let output = dm_psa_id(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn without_a_list_of_maps_end_queueing_changes_no_map() {
    let program = env!("CARGO_BIN_EXE_dm-psa-id");
    let output = Command::new(program)
        .arg("--end-queueing")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
    let output = Command::new(program)
        .args(["--end-queueing", "mpath-36"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
