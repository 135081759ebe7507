//! The benchmark's report: the results of a fixed run, and the table made from them.

use std::path::Path;
use std::process::Command;

/// The table for `tests/golden/bench/results.tsv`, with the JSON and the plot.
fn report(results: &Path, out: &Path) -> (String, String, String) {
    let run = Command::new("python3")
        .arg("tests/bench/report.py")
        .args([results, &out.join("json"), &out.join("svg")])
        .args(["kernel=Linux 6.12", "guest=2 emulated processors"])
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let read = |name| std::fs::read_to_string(out.join(name)).expect("a file");
    let table = String::from_utf8(run.stdout).expect("text");
    (table, read("json"), read("svg"))
}

#[test]
fn the_report_of_fixed_results_matches_the_golden() {
    let out = tempfile::tempdir().expect("a directory");
    let (table, json, svg) = report(Path::new("tests/golden/bench/results.tsv"), out.path());
    let golden = Path::new("tests/golden/bench/table.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &table).expect("written");
    }
    assert_eq!(
        std::fs::read_to_string(golden).expect("a golden file"),
        table
    );

    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let late = json["results"]
        .as_array()
        .expect("results")
        .iter()
        .find(|r| r["what"] == "discovery_ms" && r["paths"] == 4000 && r["daemon"] == "multipathd");
    let late = late.expect("a late phase");
    assert_eq!(late["not_within_s"], 240.0);
    assert_eq!(late["values"], serde_json::json!([null]));
    assert!(svg.contains("multipathd at 4,000: not within 240 s"));
    assert!(svg.trim_end().ends_with("</svg>"));
}

/// A run without results gives a table that says so, and does not fail.
#[test]
fn a_report_without_results_says_not_measured() {
    let out = tempfile::tempdir().expect("a directory");
    let empty = out.path().join("results");
    std::fs::write(&empty, "").expect("written");
    let (table, _, _) = report(&empty, out.path());
    assert!(table.contains("not measured"));
    assert!(!table.contains("MISSED"));
}
