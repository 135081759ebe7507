//! The counters match what happened, and their text is OpenMetrics to a strict reader.
//!
//! The host and the array are those of `sim/`; the texts are files below `tests/golden/metrics/`, rewritten by
//! `UPDATE_GOLDEN=1 cargo test --test metrics`.

mod san;
mod screen;

use dm_psa::agent::metrics::{Dialect, Health, Picture, text};
use dm_psa::kernel::process::Usage;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::units::Millis;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::run::Simulation;
use san::*;
use screen::golden;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const UNIT: &str = "naa.6001405a000000000000000000000001";

fn scrape(sim: &Simulation, dialect: Dialect) -> String {
    let picture = Picture {
        figures: sim.world.figures(sim.now()),
        health: Health {
            uptime: sim.now(),
            steps: 1234,
            busy: Duration::from_micros(56_789),
            longest_step: Duration::from_micros(2_001),
            waiting: 1,
        },
    };
    let usage = Usage {
        resident: Some(9_437_184),
        locked: Some(8_388_608),
        open_files: Some(21),
    };
    text(&picture, &usage, dialect)
}

/// The value of a sample, given by its name with its labels in order: `x_total{a="b"}`.
fn value(sim: &Simulation, sample: &str) -> f64 {
    let samples = openmetrics::read(&scrape(sim, Dialect::OpenMetrics)).unwrap();
    *samples
        .get(sample)
        .unwrap_or_else(|| panic!("{sample} is not among {:#?}", samples.keys()))
}

fn of_device(sim: &Simulation, name: &str) -> f64 {
    value(sim, &format!("{name}{{device=\"{UNIT}\"}}"))
}

fn of_path(sim: &Simulation, name: &str, path: &str, more: &str) -> f64 {
    let adapter = path.split(':').next().unwrap();
    let labels = format!("device=\"{UNIT}\",path=\"{path}\",adapter=\"{adapter}\"{more}");
    value(sim, &format!("{name}{{{labels}}}"))
}

fn runtime_name(sim: &Simulation, path: dm_psa::psa::units::Hctl) -> String {
    let mut paths = sim.world.paths();
    let (_, path) = paths.find(|(id, _)| **id == path).unwrap();
    path.name().to_string()
}

#[test]
fn a_host_without_faults_has_no_fault_counts() {
    let sim = running(four_paths());
    let out = scrape(&sim, Dialect::OpenMetrics);
    openmetrics::read(&out).unwrap();
    golden("metrics/quiet.openmetrics", &out);
    golden("metrics/quiet.prom", &scrape(&sim, Dialect::Prometheus));
    assert_eq!(value(&sim, "dm_psa_paths{state=\"active\"}"), 2.0);
    assert_eq!(
        value(&sim, "dm_psa_paths{state=\"active unoptimized\"}"),
        2.0
    );
    assert_eq!(value(&sim, "dm_psa_devices{state=\"on\"}"), 1.0);
    assert_eq!(
        value(&sim, "dm_psa_map_actions_total{action=\"create\"}"),
        1.0
    );
    assert_eq!(
        value(&sim, "dm_psa_map_actions_total{action=\"reload\"}"),
        0.0
    );
    assert_eq!(of_device(&sim, "dm_psa_device_group_switches_total"), 0.0);
}

#[test]
fn a_controller_fails_and_returns() {
    let mut sim = running(four_paths());
    let a1 = runtime_name(&sim, A1);
    sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
    sim.run_for(seconds(20));
    assert_eq!(value(&sim, "dm_psa_paths{state=\"dead\"}"), 2.0);
    assert_eq!(value(&sim, "dm_psa_devices{state=\"degraded\"}"), 1.0);
    assert_eq!(of_device(&sim, "dm_psa_device_group_switches_total"), 1.0);
    assert_eq!(of_device(&sim, "dm_psa_device_apd_entries_total"), 0.0);
    assert_eq!(of_path(&sim, "dm_psa_path_serving", &a1, ""), 0.0);
    let failures = |by: &str| {
        let by = format!(",by=\"{by}\"");
        of_path(&sim, "dm_psa_path_failures_total", &a1, &by)
    };
    assert_eq!(failures("kernel") + failures("agent"), 1.0);
    sim.inject_all(&[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
    sim.run_for(seconds(20));
    assert_eq!(
        of_path(&sim, "dm_psa_path_reinstatements_total", &a1, ""),
        1.0
    );
    assert_eq!(of_path(&sim, "dm_psa_path_serving", &a1, ""), 1.0);
    assert_eq!(of_device(&sim, "dm_psa_device_group_switches_total"), 2.0);
    let adapter = a1.split(':').next().unwrap();
    let down = format!("dm_psa_checks_total{{adapter=\"{adapter}\",outcome=\"down\"}}");
    assert!(value(&sim, &down) >= 10.0);
    golden(
        "metrics/controller.openmetrics",
        &scrape(&sim, Dialect::OpenMetrics),
    );
    unharmed(&sim);
}

#[test]
fn all_paths_down_is_timed() {
    let settings = Settings {
        apd_timeout_ms: Millis::from_secs(20),
        ..Settings::default()
    };
    let mut sim = running_with(four_paths(), settings);
    let all = [A1, A2, B1, B2];
    let down = all.map(Fault::LinkDown);
    let up = all.map(Fault::LinkUp);
    let near = |is: f64, should: f64| (is - should).abs() < 1.0;
    sim.inject_all(&down);
    sim.run_for(seconds(10));
    assert_eq!(value(&sim, "dm_psa_devices{state=\"apd\"}"), 1.0);
    // An ongoing state is counted while it lasts.
    assert!(near(
        of_device(&sim, "dm_psa_device_queueing_seconds_total"),
        10.0
    ));
    let longest = "dm_psa_device_longest_without_path_seconds";
    assert!(near(of_device(&sim, longest), 10.0));
    sim.inject_all(&up);
    sim.run_for(seconds(30));
    assert_eq!(value(&sim, "dm_psa_devices{state=\"on\"}"), 1.0);
    let first = of_device(&sim, "dm_psa_device_without_path_seconds_total");
    assert!(near(first, 10.0), "{first}");
    sim.inject_all(&down);
    sim.run_for(seconds(40));
    assert_eq!(value(&sim, "dm_psa_devices{state=\"apd timeout\"}"), 1.0);
    assert!(near(of_device(&sim, longest), 40.0));
    sim.inject_all(&up);
    sim.run_for(seconds(30));
    assert_eq!(of_device(&sim, "dm_psa_device_apd_entries_total"), 2.0);
    assert_eq!(of_device(&sim, "dm_psa_device_apd_timeouts_total"), 1.0);
    // Queued for 10 s and then for the 20 s of the timeout; without a path for 10 s and 40 s.
    let queueing = of_device(&sim, "dm_psa_device_queueing_seconds_total");
    let without = of_device(&sim, "dm_psa_device_without_path_seconds_total");
    assert!((30.0..32.0).contains(&queueing), "{queueing}");
    assert!((50.0..52.0).contains(&without), "{without}");
    let codes = "dm_psa_agent_notices_total{code=\"APD_TIMEOUT\"}";
    assert_eq!(value(&sim, codes), 1.0);
}

#[test]
fn a_lost_unit_is_not_an_apd() {
    let mut sim = running(four_paths());
    for path in [A1, A2, B1, B2] {
        sim.inject(&Fault::Remap(path, None, true));
    }
    sim.run_for(seconds(20));
    assert_eq!(value(&sim, "dm_psa_devices{state=\"not connected\"}"), 1.0);
    assert_eq!(of_device(&sim, "dm_psa_device_permanent_losses_total"), 1.0);
    assert_eq!(of_device(&sim, "dm_psa_device_apd_timeouts_total"), 0.0);
    let without = of_device(&sim, "dm_psa_device_without_path_seconds_total");
    assert!((10.0..=20.0).contains(&without), "{without}");
}

#[test]
fn actions_that_the_kernel_refuses_are_counted() {
    let mut kernel = steady();
    let unit = add_unit(&mut kernel, 0, &[(1, AO), (2, ANO)]);
    kernel.inject(Millis(0), &Fault::RefuseTables(unit, 22, 2));
    let sim = running(kernel);
    assert_eq!(value(&sim, "dm_psa_map_action_failures_total"), 2.0);
    assert_eq!(
        value(&sim, "dm_psa_map_actions_total{action=\"create\"}"),
        3.0
    );
}

#[test]
fn the_text_for_node_exporter_has_the_same_samples() {
    let sim = running(four_paths());
    let samples = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let (open, prom) = (
        scrape(&sim, Dialect::OpenMetrics),
        scrape(&sim, Dialect::Prometheus),
    );
    assert_eq!(samples(&open), samples(&prom));
    // In this format the type line has the name of the samples, except for histograms.
    let typed: BTreeMap<&str, &str> = prom
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    for line in prom.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let base = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(name);
        assert!(typed.contains_key(name) || typed.get(base) == Some(&"histogram"));
    }
}

#[test]
fn the_reader_is_strict() {
    let good = "# TYPE a counter\n# HELP a A.\na_total{x=\"\\\"\"} 1\n# EOF\n";
    assert!(openmetrics::read(good).is_ok());
    for wrong in [
        "# TYPE a counter\na_total 1\n",
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a counter\na_total -1\n# EOF\n",
        "# TYPE a counter\na_total 1\na_total 2\n# EOF\n",
        "# TYPE a gauge\n# TYPE a gauge\na 1\n# EOF\n",
        "# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n",
        "# TYPE a gauge\na{x=\"\\q\"} 1\n# EOF\n",
        "# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n# EOF\n",
        "# TYPE a gauge\na  1\n# EOF\n",
        "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\na{x=\"1\"} 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 1\na_count 1\na_sum 1\n# EOF\n",
        "# TYPE a gauge\na 1\n\n# EOF\n",
        "# EOF\nmore\n",
    ] {
        assert!(openmetrics::read(wrong).is_err(), "{wrong}");
    }
}

/// A reader of OpenMetrics 1.0 that accepts only what the text of the standard allows, as far as this text uses it (no
/// timestamps, no exemplars): <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
mod openmetrics {
    use std::collections::{BTreeMap, BTreeSet};

    struct Family {
        name: String,
        kind: String,
        /// For histograms: by the labels without `le`, the bounds and counts that were read.
        buckets: BTreeMap<String, Vec<(f64, f64)>>,
        counts: BTreeMap<String, f64>,
    }

    /// Returns the samples by name and labels.
    pub(crate) fn read(text: &str) -> Result<BTreeMap<String, f64>, String> {
        let mut samples = BTreeMap::new();
        let mut families = BTreeSet::new();
        let mut family: Option<Family> = None;
        let body = text.strip_suffix("# EOF\n").ok_or("no EOF at the end")?;
        for line in body.split_terminator('\n') {
            let wrong = |why: &str| Err(format!("{why}: {line}"));
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (word, name, rest) = (words.next(), words.next(), words.next());
                let (Some(word), Some(name), Some(rest)) = (word, name, rest) else {
                    return wrong("metadata of fewer than three words");
                };
                if !is_name(name) {
                    return wrong("not a name");
                }
                if word == "TYPE" {
                    if let Some(done) = family.take() {
                        check(&done)?;
                    }
                    if !["counter", "gauge", "histogram", "info"].contains(&rest) {
                        return wrong("not a type");
                    }
                    if !families.insert(name.to_owned()) {
                        return wrong("a family that was there");
                    }
                    family = Some(Family {
                        name: name.to_owned(),
                        kind: rest.to_owned(),
                        buckets: BTreeMap::new(),
                        counts: BTreeMap::new(),
                    });
                    continue;
                }
                if family.as_ref().is_none_or(|family| family.name != name) {
                    return wrong("metadata of another family");
                }
                match word {
                    "UNIT" if !name.ends_with(&format!("_{rest}")) => {
                        return wrong("the unit is not in the name");
                    }
                    "UNIT" | "HELP" => {}
                    _ => return wrong("no such metadata"),
                }
                continue;
            }
            let Some(family) = family.as_mut() else {
                return wrong("a sample of no family");
            };
            let (series, number) = line.rsplit_once(' ').ok_or("no value")?;
            let number: f64 = number.parse().map_err(|_| "not a number")?;
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => {
                    let Some(labels) = labels.strip_suffix('}') else {
                        return wrong("labels without an end");
                    };
                    (name, read_labels(labels)?)
                }
                None => (series, Vec::new()),
            };
            let Some(suffix) = name.strip_prefix(&family.name) else {
                return wrong("a sample of another family");
            };
            let fits = match family.kind.as_str() {
                "counter" => suffix == "_total" && number >= 0.0,
                "gauge" => suffix.is_empty(),
                "info" => suffix == "_info" && number == 1.0,
                _ => ["_bucket", "_count", "_sum"].contains(&suffix),
            };
            if !fits || series.ends_with(' ') {
                return wrong("no sample of this type");
            }
            let others: Vec<_> = labels.iter().filter(|(name, _)| name != "le").collect();
            let key = format!("{others:?}");
            if suffix == "_bucket" && family.kind == "histogram" {
                let Some((_, bound)) = labels.iter().find(|(name, _)| name == "le") else {
                    return wrong("a bucket without a bound");
                };
                if bound != "+Inf" && !bound.contains('.') {
                    return wrong("a bound that is not canonical");
                }
                let bound = bound.parse().map_err(|_| "not a bound")?;
                family.buckets.entry(key).or_default().push((bound, number));
            } else if suffix == "_count" {
                family.counts.insert(key, number);
            }
            if samples.insert(series.to_owned(), number).is_some() {
                return wrong("a sample twice");
            }
        }
        family.as_ref().map_or(Ok(()), check)?;
        Ok(samples)
    }

    /// The counts of buckets do not decrease, and the last bucket has all samples.
    fn check(family: &Family) -> Result<(), String> {
        for (labels, buckets) in &family.buckets {
            let ordered = buckets
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let last = buckets.last().copied();
            let count = family.counts.get(labels).copied();
            if !ordered || last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
                return Err(format!("buckets of {} {labels}", family.name));
            }
            if last.map(|(_, value)| value) != count {
                return Err(format!("count of {} {labels}", family.name));
            }
        }
        Ok(())
    }

    fn is_name(name: &str) -> bool {
        let head = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        head && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn read_labels(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut labels: Vec<(String, String)> = Vec::new();
        let mut rest = text;
        loop {
            let (name, tail) = rest.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(name) || labels.iter().any(|(other, _)| other == name) {
                return Err(format!("label {name}"));
            }
            let mut value = String::new();
            let mut chars = tail.char_indices();
            let end = loop {
                match chars.next().ok_or("a value without an end")? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next() {
                        Some((_, 'n')) => '\n',
                        Some((_, c @ ('\\' | '"'))) => c,
                        _ => return Err("no such escape".to_owned()),
                    }),
                    (_, c) => value.push(c),
                }
            };
            labels.push((name.to_owned(), value));
            match tail.get(end + 1..).unwrap_or_default() {
                "" => return Ok(labels),
                more => rest = more.strip_prefix(',').ok_or("no comma")?,
            }
        }
    }
}
