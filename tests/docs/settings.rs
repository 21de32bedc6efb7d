//! Every setting, its default and its flag.

use std::collections::BTreeSet;
use std::path::Path;

use nhits::experiment::Experiment;
use nhits::train::{ScheduleConfig, TrainConfig};
use serde_json::{Map, Value};

use crate::{GUIDE, code, printed, run, table};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// The trainer's settings as the program resolves them from flags; `None` where it refuses the flags.
fn resolved(flags: &[&str]) -> Option<Map<String, Value>> {
    let output = run(Path::new("."), &[&["config", "print", "--json"], flags].concat());
    output.status.success().then(|| object(serde_json::from_slice::<Value>(&output.stdout).unwrap()["train"].take()))
}

/// The names of the fields that differ.
fn changed(a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// What a flag changes in the settings that `of` takes out, with the first of some values that it accepts.
#[track_caller]
fn effect(flag: &str, beside: &[&str], of: impl Fn(Map<String, Value>) -> Map<String, Value>) -> Vec<String> {
    let base = of(resolved(beside).unwrap());
    let words = ["7", "0.7", "last", "rollback", "epoch", "cosine", "adam", "qat", "slices"];
    let values: Vec<&[&str]> = words.iter().map(std::slice::from_ref).chain([&[][..]]).collect();
    let found = values.iter().find_map(|value| {
        let changed = changed(&base, &of(resolved(&[beside, &[flag], value].concat())?));
        (!changed.is_empty()).then_some(changed)
    });
    found.unwrap_or_else(|| panic!("no value of {flag} has an effect"))
}

#[test]
fn every_setting_stands_in_the_reference_with_its_default_and_its_flag() {
    let rows = table(&["field", "default", "allowed", "flag"]);
    let defaults = object(serde_json::to_value(TrainConfig::default()).unwrap());
    // The schema also has the fields that a file without them leaves out.
    let schema = serde_json::to_value(Experiment::schema()).unwrap();
    let fields = schema["$defs"]["TrainConfig"]["properties"].as_object().unwrap();
    assert!(defaults.keys().all(|field| fields.contains_key(field)), "{defaults:?}");
    for field in fields.keys() {
        let row = rows.iter().find(|row| code(row[0]) == field).unwrap_or_else(|| panic!("train.{field} is missing"));
        let default = defaults.get(field).unwrap_or(&Value::Null).to_string();
        assert_eq!(code(row[1]), default, "train.{field}");
        // Nesterov's variant is one of sgd.
        let beside: &[&str] = if field == "optimizer" { &[] } else { &["--optimizer", "sgd"] };
        assert_eq!(effect(code(row[3]), beside, |train| train), [field.as_str()], "{}", row[3]);
    }
    assert_eq!(rows.len(), fields.len(), "a row without a field");
}

#[test]
fn every_number_of_every_schedule_stands_in_the_reference_with_its_default_and_its_flag() {
    let rows = table(&["schedule", "field", "default", "allowed", "flag"]);
    let mut known = 0;
    for name in ScheduleConfig::NAMES {
        let mut numbers = object(serde_json::to_value(ScheduleConfig::named(name).unwrap()).unwrap());
        assert_eq!(numbers.shift_remove("name"), Some(name.into()));
        let mine: Vec<_> = rows.iter().filter(|row| code(row[0]) == name).collect();
        assert!(!mine.is_empty(), "{name} is missing");
        known += numbers.len().max(1);
        for (field, default) in numbers {
            let row = mine.iter().find(|row| code(row[1]) == field);
            let row = row.unwrap_or_else(|| panic!("{field} of {name} is missing"));
            assert_eq!(code(row[2]), default.to_string(), "{field} of {name}");
            // A rate that leaves room for any lowest one.
            let beside = ["--lr-schedule", name, "--lr", "9"];
            let effect = effect(code(row[4]), &beside, |mut train| object(train["schedule"].take()));
            assert_eq!(effect, [field], "{} of {name}", row[4]);
        }
    }
    assert_eq!(rows.len(), known, "a row without a number");
}

/// The long flags that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    words.filter(|w| w.len() > 3 && w.starts_with("--") && !w.starts_with("---")).collect()
}

/// The long flags of a help text, or of the part of it below a heading.
fn flags<'a>(help: &'a str, heading: &str) -> BTreeSet<&'a str> {
    let from = help.find(heading).unwrap_or_else(|| panic!("no {heading}: {help}"));
    let part = if heading.is_empty() { help } else { help[from..].split("\n\n").next().unwrap() };
    let lines = part.lines().map(str::trim_start).filter(|l| l.starts_with('-'));
    lines.filter_map(|l| l.split_whitespace().find(|word| word.starts_with("--"))).collect()
}

#[test]
fn every_flag_of_training_is_in_the_guide_and_the_guide_names_no_other() {
    let help = |command: &[&str]| printed(Path::new("."), &[command, &["--help"]].concat());
    let (train, generate, evaluate) = (help(&["train"]), help(&["data", "generate"]), help(&["evaluate"]));
    let mentioned = named(GUIDE);
    for (heading, least) in [("\nTraining:", 20), ("\nLearning rate schedule:", 18), ("\nWatching and continuing:", 15)]
    {
        let own = flags(&train, heading);
        assert!(own.len() >= least, "{heading} {own:?}");
        for flag in own {
            assert!(mentioned.contains(flag), "{heading} {flag} is not in the guide");
        }
    }
    let known: BTreeSet<&str> = [&train, &generate, &evaluate].into_iter().flat_map(|help| flags(help, "")).collect();
    // TensorBoard's own.
    let unknown: Vec<&&str> = mentioned.iter().filter(|f| !known.contains(**f) && **f != "--logdir").collect();
    assert!(unknown.is_empty(), "no command has {unknown:?}");
}
