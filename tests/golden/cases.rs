//! The golden cases on disk: where they lie, how they are read, how far from them a result may be, what is reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nhits_backends::{Choice, Device, Job, usable, with_backend};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// How many times the reference's own float32 error a result may be away.
const TIMES_REFERENCE_ERROR: f64 = 5.0;
/// Below this many float32 steps of the largest value a difference is rounding, whatever the reference's own error.
const ROUNDING_STEPS: f64 = 8.0;

/// One folder of the golden set.
#[derive(Debug, Clone)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Its `config.json`; null where there is none.
    pub config: Value,
}

impl Case {
    /// Reads one `.safetensors` file of the case.
    pub fn tensors(&self, file: &str) -> Tensors {
        Tensors::read(&self.path.join(file))
    }

    /// Whether the case has that file.
    pub fn has(&self, file: &str) -> bool {
        self.path.join(file).is_file()
    }

    /// A whole number of `config.json`; `absent` where the field is missing.
    pub fn count(&self, field: &str, absent: usize) -> usize {
        match &self.config[field] {
            Value::Null => absent,
            value => value.as_u64().unwrap_or_else(|| panic!("{}: `{field}` is {value}", self.name)) as usize,
        }
    }

    /// A list of whole numbers of `config.json`.
    pub fn counts(&self, field: &str) -> Vec<usize> {
        serde_json::from_value(self.config[field].clone()).unwrap_or_else(|e| panic!("{}: `{field}`: {e}", self.name))
    }

    /// A word of `config.json`.
    pub fn word(&self, field: &str) -> String {
        self.config[field].as_str().unwrap_or_else(|| panic!("{}: no word `{field}`", self.name)).to_string()
    }

    /// A figure of `f32_vs_f64`: how far the reference's float32 is from its float64; 0 where it was not measured.
    pub fn reference_error(&self, figure: &str) -> f64 {
        self.config["f32_vs_f64"][figure].as_f64().unwrap_or(0.0)
    }
}

/// The folders that hold golden cases: the one in `NHITS_GOLDEN_DIR` (or its usual place) and the repository's own few.
fn roots() -> Vec<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut roots = vec![];
    match std::env::var_os("NHITS_GOLDEN_DIR") {
        Some(dir) => {
            let dir = PathBuf::from(dir);
            assert!(dir.is_dir(), "NHITS_GOLDEN_DIR = {} is no folder", dir.display());
            roots.push(dir);
        }
        None => {
            let usual = repository.join("../shared/golden/nhits");
            if usual.is_dir() {
                roots.push(usual);
            } else {
                println!("{} is not there: only the repository's own cases are checked", usual.display());
            }
        }
    }
    roots.push(repository.join("tests/fixtures/golden"));
    roots
}

/// All cases that `wanted` accepts, by name; a case in both places is taken from the first.
pub fn find(wanted: impl Fn(&Case) -> bool) -> Vec<Case> {
    let mut found = BTreeMap::new();
    for root in roots() {
        let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
        for path in entries.map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let config = match std::fs::read_to_string(path.join("config.json")) {
                Ok(text) => serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}/config.json: {e}")),
                Err(_) => Value::Null,
            };
            let case = Case { name: name.clone(), path, config };
            if wanted(&case) {
                found.entry(name).or_insert(case);
            }
        }
    }
    found.into_values().collect()
}

/// A float32 array of the golden set.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub data: Vec<f32>,
}

/// The arrays of one `.safetensors` file by name.
#[derive(Debug, Clone)]
pub struct Tensors {
    file: PathBuf,
    arrays: BTreeMap<String, Array>,
}

impl Tensors {
    /// Reads a file; whole numbers and float64 become float32.
    pub fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let stored = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let arrays = stored
            .iter()
            .map(|(name, view)| {
                let data: Vec<f32> = match view.dtype() {
                    Dtype::F32 => values(view.data(), f32::from_le_bytes),
                    Dtype::F64 => values(view.data(), |b| f64::from_le_bytes(b) as f32),
                    Dtype::I64 => values(view.data(), |b| i64::from_le_bytes(b) as f32),
                    Dtype::I32 => values(view.data(), |b| i32::from_le_bytes(b) as f32),
                    other => panic!("{}: `{name}` is {other:?}", file.display()),
                };
                (name.to_string(), Array { shape: view.shape().to_vec(), data })
            })
            .collect();
        Self { file: file.to_path_buf(), arrays }
    }

    /// The array of that name.
    pub fn get(&self, name: &str) -> &Array {
        self.find(name).unwrap_or_else(|| panic!("{}: no array `{name}`", self.file.display()))
    }

    /// The array of that name, if it is there.
    pub fn find(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// All arrays by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.arrays.iter().map(|(name, array)| (name.as_str(), array))
    }
}

fn values<const N: usize>(bytes: &[u8], one: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.chunks_exact(N).map(|c| one(c.try_into().expect("chunks of N bytes"))).collect()
}

/// How far a result may be away: five times the reference's own float32 error, but at least a few float32 steps of the
/// largest value of `want`.
pub fn allowed(reference_error: f64, want: &[f32]) -> f64 {
    let largest = want.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    (TIMES_REFERENCE_ERROR * reference_error).max(ROUNDING_STEPS * f64::from(f32::EPSILON) * largest)
}

/// The outcome of one case on one backend.
#[derive(Debug)]
pub struct Report {
    name: String,
    worst: f64,
    worst_what: String,
    checks: usize,
    failures: Vec<String>,
}

impl Report {
    /// An empty report of `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), worst: 0.0, worst_what: String::new(), checks: 0, failures: vec![] }
    }

    /// Checks the largest absolute difference against `allowed`.
    pub fn close(&mut self, what: &str, got: &[f32], want: &[f32], allowed: f64) {
        if got.len() != want.len() {
            return self.fail(format!("{what}: {} values, expected {}", got.len(), want.len()));
        }
        let difference = |(g, w): (&f32, &f32)| match (g.is_nan(), w.is_nan()) {
            (true, true) => 0.0,
            (false, false) if g == w => 0.0,
            (false, false) => f64::from(g - w).abs(),
            _ => f64::INFINITY,
        };
        let (mut at, mut largest) = (0, 0.0);
        for (i, d) in got.iter().zip(want).map(difference).enumerate() {
            if d > largest {
                (at, largest) = (i, d);
            }
        }
        let detail = || format!("value {at} is {}, expected {}", got[at], want[at]);
        self.within(what, largest, allowed, detail);
    }

    /// Checks the root mean square of the difference against `allowed`.
    pub fn close_rms(&mut self, what: &str, got: &[f32], want: &[f32], allowed: f64) {
        if got.len() != want.len() || got.is_empty() {
            return self.fail(format!("{what}: {} values, expected {}", got.len(), want.len()));
        }
        let squares: f64 = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - f64::from(*w)).powi(2)).sum();
        self.within(what, (squares / got.len() as f64).sqrt(), allowed, || "root mean square".to_string());
    }

    /// Checks one number.
    pub fn close_value(&mut self, what: &str, got: f64, want: f64, allowed: f64) {
        let difference = if got == want { 0.0 } else { (got - want).abs() };
        self.within(what, difference, allowed, || format!("is {got}, expected {want}"));
    }

    /// Checks a statement.
    pub fn holds(&mut self, what: &str, holds: bool) {
        self.checks += 1;
        if !holds {
            self.fail(what.to_string());
        }
    }

    /// Notes a failure.
    pub fn fail(&mut self, what: String) {
        self.worst = f64::INFINITY;
        self.failures.push(what);
    }

    fn within(&mut self, what: &str, difference: f64, allowed: f64, detail: impl Fn() -> String) {
        self.checks += 1;
        // A NaN difference is larger than everything allowed.
        let ratio = match (difference, allowed) {
            (0.0, _) => 0.0,
            (d, a) if d.is_nan() || a.is_nan() => f64::INFINITY,
            (d, a) => d / a,
        };
        if ratio > 1.0 {
            self.failures.push(format!("{what}: off by {difference:.3e}, allowed {allowed:.3e}; {}", detail()));
        }
        if ratio >= self.worst {
            (self.worst, self.worst_what) = (ratio, what.to_string());
        }
    }
}

/// The outcomes of many cases.
#[derive(Debug, Default)]
pub struct Tally {
    failed: Vec<String>,
    checked: usize,
}

impl Tally {
    /// Prints the line of one case and remembers its failures.
    pub fn add(&mut self, backend: &str, report: Report) {
        let Report { name, worst, worst_what, checks, failures } = report;
        println!("{backend:8} {name:32} {checks:4} checks, worst {worst:.2} of the allowed difference ({worst_what})");
        self.checked += 1;
        self.failed.extend(failures.into_iter().map(|f| format!("{backend} {name}: {f}")));
    }

    /// Says that a case, or part of it, was not checked.
    pub fn skip(&self, name: &str, why: &str) {
        println!("skipped  {name}: {why}");
    }

    /// Fails the test if any check failed, or if nothing was checked.
    pub fn finish(self) {
        assert!(self.checked > 0, "no case was checked");
        assert!(self.failed.is_empty(), "{} checks failed:\n{}", self.failed.len(), self.failed.join("\n"));
    }
}

/// Runs a job on every backend that is compiled in; gives its name with what the job gave.
pub fn on_every_backend<J: Job + Clone>(job: &J) -> Vec<(&'static str, J::Output)> {
    let run = |name: &'static str| {
        let choice = Choice { backend: Some(name.to_string()), device: Device::Auto };
        (name, with_backend(&choice, job.clone()).unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    usable().map(|info| run(info.name)).collect()
}
