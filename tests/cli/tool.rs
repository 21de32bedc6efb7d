//! Running the binary in a folder of its own, and the small files that tests feed it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use assert_cmd::Command;
use nhits::calendar::Clock;
use serde_json::Value;

/// A network and a run that take no time: after `train --data FILE`.
pub const TINY: &str = "--horizon 4 --input-size 12 --hidden-size 8 --max-steps 2 --output model.st --run-dir run";

/// A finished run of the binary.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The one JSON object on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "not one line of JSON: {self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// A folder that the binary runs in.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With `s.csv`, a series that a tiny network can be trained on.
    pub fn with_series() -> Self {
        let folder = Self::new();
        folder.write("s.csv", daily(60));
        folder
    }

    /// With `s.csv` and `model.st`, a tiny model trained on it.
    pub fn with_model() -> Self {
        let folder = Self::with_series();
        folder.write("model.st", model_bytes());
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The binary, ready to run here; it is killed when it hangs.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nhits"));
        command.current_dir(self.0.path()).args(args.split_whitespace()).timeout(Duration::from_secs(180));
        command
    }

    /// Runs it with the arguments of `args`, which blanks separate.
    pub fn run(&self, args: &str) -> Ran {
        Self::finished(self.command(args))
    }

    /// The same with `input` on stdin.
    pub fn run_on(&self, args: &str, input: impl Into<Vec<u8>>) -> Ran {
        let mut command = self.command(args);
        command.write_stdin(input);
        Self::finished(command)
    }

    fn finished(mut command: Command) -> Ran {
        let output = command.output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it and expects success.
    #[track_caller]
    pub fn ok(&self, args: &str) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "nhits {args}\n{ran:#?}");
        ran
    }

    /// Runs it with `--json`, expects success and gives the object.
    #[track_caller]
    pub fn json(&self, args: &str) -> Value {
        self.ok(&format!("{args} --json --quiet")).json()
    }
}

/// The values of the series here: a weekly wave on a slope, with some noise that is the same every time.
pub fn wave(i: usize) -> f64 {
    let noise = (i * 7919 % 101) as f64 / 101.0 - 0.5;
    10.0 + 0.05 * i as f64 + 3.0 * (i as f64 * std::f64::consts::TAU / 7.0).sin() + 0.3 * noise
}

/// Day `i` after the first of 2020.
pub fn day(i: usize) -> String {
    const FIRST: i64 = 18_262;
    Clock::Date.format((FIRST + i as i64) * 86_400_000_000)
}

/// Hour `i` after the first of 2020.
pub fn hour(i: usize) -> String {
    format!("{} {:02}:00:00", day(i / 24), i % 24)
}

/// A csv file of one daily series `A` of `n` rows.
pub fn daily(n: usize) -> String {
    panel(&[("A", n)])
}

/// A csv file of daily series of these lengths.
pub fn panel(series: &[(&str, usize)]) -> String {
    let mut text = String::from("unique_id,ds,y\n");
    for (s, (id, n)) in series.iter().enumerate() {
        for i in 0..*n {
            text.push_str(&format!("{id},{},{:.4}\n", day(i), wave(i) * (s + 1) as f64));
        }
    }
    text
}

/// A tiny model trained on [`daily`] rows, trained once.
pub fn model_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let folder = Folder::with_series();
        folder.ok(&format!("train --data s.csv {TINY}"));
        folder.read("model.st")
    })
}

/// The fields of a JSON object, in their order.
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).keys().map(String::as_str).collect()
}

/// A csv text as rows of fields, the header first.
pub fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|l| l.split(',').map(str::to_owned).collect()).collect()
}

/// The numbers of a column of a csv text.
#[track_caller]
pub fn column(text: &str, name: &str) -> Vec<f64> {
    let rows = rows(text);
    let at = rows[0].iter().position(|n| n == name).unwrap_or_else(|| panic!("no {name} in {:?}", rows[0]));
    rows[1..].iter().map(|r| r[at].parse().unwrap()).collect()
}
