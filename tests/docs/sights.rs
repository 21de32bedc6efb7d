//! What a reader would try or look at: commands, files, output, names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nhits::bundle::EpochRecord;
use nhits::train::{Facts, diagnose};

use crate::{GUIDE, blocks, code, printed, table};

/// A folder with the files that the guide's commands speak of, small.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let generate = "data generate trend --n 600 --freq h --output load.csv";
    printed(folder.path(), &generate.split(' ').collect::<Vec<_>>());
    let config = printed(folder.path(), &["config", "print", "--data", "load.csv", "--horizon", "24"]);
    for run in ["runs/load", "runs/long"] {
        fs::create_dir_all(folder.path().join(run)).unwrap();
        fs::write(folder.path().join(run).join("config.toml"), &config).unwrap();
    }
    folder
}

#[test]
fn every_command_line_is_understood() {
    let folder = folder();
    let text: String = blocks("sh").join("\n").replace("\\\n", " ");
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("nhits ")).collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let mut args: Vec<&str> = line.split_whitespace().skip(1).collect();
        if args[0] == "train" {
            // The one switch that does its own kind of trial: it is not taken beside the other.
            args.retain(|arg| *arg != "--verify-determinism");
            let said = printed(folder.path(), &[&args[..], &["--dry-run"]].concat());
            assert!(said.contains("dry run: nothing was trained"), "{line}: {said}");
        } else {
            // The help at the end comes only if everything before it is known.
            printed(folder.path(), &[&args[..], &["--help"]].concat());
        }
    }
}

#[test]
fn every_piece_of_configuration_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    for block in blocks("toml") {
        fs::write(folder.path().join("c.toml"), block).unwrap();
        printed(folder.path(), &["config", "check", "--config", "c.toml"]);
    }
}

/// A line without its numbers and without what depends on them, or on the backend.
fn shape(line: &str) -> String {
    let number = |word: &str| word.trim_matches(|c: char| "(),%".contains(c)).starts_with(|c: char| c.is_ascii_digit());
    let words = line.split_whitespace().filter(|w| !["ok", "look", "best"].contains(w));
    let words = words.take(if line.starts_with("backend") { 1 } else { usize::MAX });
    words.map(|w| if number(w) { "#" } else { w }).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_output_that_is_shown_is_what_a_run_prints() {
    let folder = folder();
    let run = "train --data load.csv --horizon 24 --split 0.8/0.1/0.1 --epochs 6 --hidden-size 8 --run-dir runs/load";
    let said = printed(folder.path(), &run.split(' ').collect::<Vec<_>>());
    let shapes: BTreeSet<String> = said.lines().map(shape).collect();
    let shown = GUIDE.split("<!-- a first run -->\n```text\n").nth(1).unwrap().split("\n```").next().unwrap();
    // Advice depends on how the run went.
    for line in shown.lines().filter(|l| !l.trim_start().starts_with("try: ")) {
        assert!(shapes.contains(&shape(line)), "no run prints\n{line}\nbut\n{said}");
    }
}

/// An epoch of a run that goes wrong in every way.
fn epoch(epoch: usize, loss: f64) -> EpochRecord {
    EpochRecord {
        epoch,
        step: epoch,
        train_loss: 1.0,
        train_mae: 1.0,
        train_rmse: 1.0,
        val_loss: Some(loss),
        val_mae: Some(loss),
        val_rmse: Some(loss),
        lr: 1e-3,
        seconds: 1.0,
        windows_per_s: 1.0,
    }
}

#[test]
fn names_of_what_is_written_and_checked_are_in_the_guide() {
    let history: Vec<EpochRecord> = (1..=6).map(|i| epoch(i, 1.0 / i as f64)).collect();
    for field in serde_json::to_value(history[0]).unwrap().as_object().unwrap().keys() {
        assert!(GUIDE.contains(&format!("`{field}`")), "metrics.jsonl has {field}");
    }
    let checks = diagnose(&Facts {
        history: &history,
        best: history.last(),
        stopped_by: Some(nhits::bundle::StoppedBy::Finished),
        naive_mae: Some(1.0),
        n_windows: 100,
        n_parameters: 100,
        horizon: 4,
        rollbacks: 0,
        gradient_warnings: Some(&[]),
    });
    let explained: Vec<&str> = table(&["line", "says `look` when"]).iter().map(|row| row[0]).collect();
    assert_eq!(checks.iter().map(|c| c.name).collect::<Vec<_>>(), explained);
}

#[test]
fn tags_of_tensorboard_are_those_of_the_event_file() {
    let folder = folder();
    let run = "train --data load.csv --horizon 24 --max-steps 2 --hidden-size 8 --run-dir r --tensorboard tb \
               --tensorboard-every 1 --tensorboard-histograms 1";
    printed(folder.path(), &run.split_whitespace().collect::<Vec<_>>());
    let file = fs::read_dir(folder.path().join("tb")).unwrap().next().unwrap().unwrap().path();
    let events = fs::read(file).unwrap();
    // A tag is a string field, number 1, of its value.
    let has = |tag: &str| {
        let field = [&[0x0a, tag.len() as u8], tag.as_bytes()].concat();
        events.windows(field.len()).any(|w| w == field)
    };
    for cell in table(&["tag", "what", "when"]).iter().map(|row| row[0]) {
        for tag in cell.split(", ").map(code) {
            let tag = tag.replace("<weight>", "blocks.0.layers.0.weight");
            assert!(has(&tag), "{tag} is not in the event file");
        }
    }
    assert!(!has("loss/test"));
}

#[test]
fn rust_in_the_guide_is_in_the_example_and_its_types_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = fs::read_to_string(root.join("examples/callback.rs")).unwrap();
    for block in blocks("rust") {
        assert!(example.contains(block), "examples/callback.rs does not contain\n{block}");
    }
    let room = fs::read_to_string(root.join("src/train/mod.rs")).unwrap();
    let exported: BTreeSet<&str> = room
        .split("pub use")
        .skip(1)
        .flat_map(|part| part.split(';').next().unwrap().split(|c: char| !c.is_alphanumeric()))
        .collect();
    for row in table(&["on the command line", "in Rust"]) {
        for name in row[1].split('`').skip(1).step_by(2).map(|name| name.split("::").next().unwrap()) {
            assert!(exported.contains(name), "nhits::train has no {name}");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches(['#', ' ']).to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    let anchors: BTreeSet<String> = GUIDE.lines().filter(|l| l.starts_with('#')).map(anchor).collect();
    for link in GUIDE.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        match link.strip_prefix('#') {
            Some(name) => assert!(anchors.contains(name), "no heading is called {link}"),
            None => assert!(docs.join(link.split('#').next().unwrap()).exists(), "there is no {link}"),
        }
    }
}
