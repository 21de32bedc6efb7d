//! A table of inputs that are wrong: each must end with exit code 2 and a message that says what, where and what instead.

mod bundles;
mod files;
mod forecasts;
mod settings;
mod usage;

use rayon::prelude::*;

use crate::tool::{Folder, TINY, day, keys, wave};

/// One wrong input.
struct Bad {
    name: &'static str,
    /// Files beside `s.csv`, `model.st` and the folder `folder`, which are always there.
    files: Vec<(&'static str, Vec<u8>)>,
    /// The arguments; `TINY` stands for a tiny run.
    args: &'static str,
    /// The stable word for the error.
    kind: &'static str,
    /// What message and hint must contain: place, value, expectation.
    says: &'static [&'static str],
}

fn bad(name: &'static str, args: &'static str, kind: &'static str, says: &'static [&'static str]) -> Bad {
    Bad { name, files: Vec::new(), args, kind, says }
}

impl Bad {
    fn with(mut self, name: &'static str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((name, content.as_ref().to_vec()));
        self
    }

    /// What is not as it should be.
    fn failures(&self) -> Vec<String> {
        let folder = Folder::with_model();
        std::fs::create_dir(folder.path("folder")).unwrap();
        std::fs::create_dir(folder.path("folder.csv")).unwrap();
        for (name, content) in &self.files {
            folder.write(name, content);
        }
        let args = self.args.replace("TINY", TINY);
        let plain = folder.run(&args);
        let as_json = folder.run(&format!("{args} --json"));
        let mut failures = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                failures.push(format!("{}: nhits {args}: {what}", self.name));
            }
        };
        expect(plain.code == Some(2), format!("exit code {:?}, stderr {:?}", plain.code, plain.stderr));
        expect(as_json.code == Some(2), format!("with --json: exit code {:?}", as_json.code));
        expect(plain.stdout.is_empty(), format!("stdout {:?}", plain.stdout));
        for ran in [&plain, &as_json] {
            expect(!ran.stderr.contains("panicked"), format!("a panic: {}", ran.stderr));
        }
        for part in self.says {
            expect(plain.stderr.contains(part), format!("stderr lacks {part:?}: {:?}", plain.stderr));
        }
        match serde_json::from_str::<serde_json::Value>(&as_json.stdout) {
            Ok(value) => {
                let error = &value["error"];
                let shape = keys(&value) == ["error"] && keys(error) == ["kind", "message", "hint"];
                expect(shape, format!("JSON of another shape: {value}"));
                expect(error["kind"] == self.kind, format!("kind {} for {}", error["kind"], self.kind));
                let told =
                    format!("{} {}", error["message"].as_str().unwrap_or(""), error["hint"].as_str().unwrap_or(""));
                for part in self.says {
                    expect(told.contains(part), format!("the JSON lacks {part:?}: {told:?}"));
                }
            }
            Err(e) => expect(false, format!("stdout is not one JSON object ({e}): {:?}", as_json.stdout)),
        }
        failures
    }
}

#[track_caller]
fn hold(table: Vec<Bad>) {
    let failures: Vec<String> = table.par_iter().flat_map(Bad::failures).collect();
    assert!(failures.is_empty(), "{} of {} inputs:\n{}", failures.len(), table.len(), failures.join("\n"));
}

#[test]
fn wrong_files_are_refused_with_place_and_remedy() {
    hold(files::table());
}

#[test]
fn wrong_settings_are_refused_with_what_is_allowed() {
    hold(settings::table());
}

#[test]
fn wrong_usage_is_refused_before_any_work() {
    hold(usage::table());
}

#[test]
fn damaged_and_hostile_bundles_are_refused() {
    hold(bundles::table());
}

#[test]
fn wrong_forecasts_and_imports_are_refused() {
    hold(forecasts::table());
}

/// Future covariates need a model of their own.
#[test]
fn future_covariates_that_are_missing_are_named() {
    let folder = Folder::new();
    let rows = |from: usize, n: usize| {
        (from..from + n).map(|i| format!("{},{},{}\n", day(i), wave(i), i % 7)).collect::<String>()
    };
    folder.write("x.csv", format!("ds,y,weekday\n{}", rows(0, 50)));
    folder.ok(&format!("train --data x.csv --target y --futr-exog weekday {TINY}"));
    for (name, content, kind, says) in [
        ("none", None, "future-missing", vec!["4 steps ahead", "`weekday`", "--future"]),
        ("a column", Some("ds,monday\n2020-02-20,1\n".to_string()), "absent-column", vec!["f.csv", "`weekday`"]),
        (
            "a row",
            Some(format!("ds,y,weekday\n{}", rows(50, 3))),
            "future-value",
            vec!["f.csv", "2020-02-23", "missing"],
        ),
        (
            "a value",
            Some(format!("ds,weekday\n{},1\n{},\n{},1\n{},1\n", day(50), day(51), day(52), day(53))),
            "future-value",
            vec!["f.csv", "line 3", "`weekday`", "missing"],
        ),
    ] {
        let mut args = "predict --model model.st --data x.csv --json".to_string();
        if let Some(content) = content {
            folder.write("f.csv", content);
            args += " --future f.csv";
        }
        let ran = folder.run(&args);
        let error = &ran.json()["error"];
        assert_eq!((ran.code, error["kind"].as_str()), (Some(2), Some(kind)), "{name}: {ran:#?}");
        let told = format!("{} {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap_or(""));
        for part in says {
            assert!(told.contains(part), "{name}: {part:?} is not in {told:?}");
        }
    }
}
