//! `RunIdentity`: the settings and the data that a checkpoint belongs to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::job::TrainJob;
use crate::data::fingerprint;

/// Settings that may change between a run and its continuation: they do not change what a step computes.
const FREE: &[&str] = &["train.max_seconds"];

/// What a run depends on: a checkpoint is only resumed by a job with the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// The resolved settings of the job.
    pub settings: Value,
    /// Fingerprint of the panel, see [`fingerprint`].
    pub data: String,
    /// Version of the program, for people.
    pub program: String,
    /// The backend that it ran on; another one may go on with it, with other rounding.
    pub backend: String,
}

impl RunIdentity {
    /// The identity of a job on a backend of the given name.
    pub fn of(job: &TrainJob, backend: &str) -> Self {
        let splits: Vec<Value> = job.splits.iter().map(|s| serde_json::json!([s.train, s.val])).collect();
        let mut settings = serde_json::json!({
            "model": *job.network, "loss": job.loss, "scaler": job.scaler, "window_scaler": job.window_scaler,
            "window": job.windows, "train": job.config,
            // One line per kind of split: a thousand series are mostly split alike.
            "split": digest(&splits),
        });
        // Left out where there are none, as in the checkpoints of versions that had none.
        if !job.target.is_empty() {
            settings["target"] = serde_json::json!(job.target);
        }
        if !job.features.is_empty() {
            settings["features"] = serde_json::json!(job.features);
        }
        Self {
            settings,
            data: fingerprint(&job.panel),
            program: format!("nhits {}", env!("CARGO_PKG_VERSION")),
            backend: backend.into(),
        }
    }

    /// What differs in a way that forbids going on, one line each: `train.lr was 0.001, is 0.01`.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("", &self.settings, &now.settings, &mut lines);
        if self.data != now.data {
            lines.push(format!("the data was {}..., is {}... (fingerprints)", head(&self.data), head(&now.data)));
        }
        lines
    }
}

fn head(text: &str) -> String {
    text.chars().take(12).collect()
}

/// The splits themselves where there are few, else the SHA-256 of their list.
fn digest(splits: &[Value]) -> Value {
    use sha2::{Digest, Sha256};
    if splits.len() <= 8 {
        return Value::Array(splits.to_vec());
    }
    let text = Value::Array(splits.to_vec()).to_string();
    Value::String(Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect())
}

fn compare(path: &str, was: &Value, is: &Value, lines: &mut Vec<String>) {
    if FREE.contains(&path) || was == is {
        return;
    }
    if let (Value::Object(a), Value::Object(b)) = (was, is) {
        let only_b = b.keys().filter(|k| !a.contains_key(*k));
        for key in a.keys().chain(only_b) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let absent = Value::Null;
            compare(&path, a.get(key).unwrap_or(&absent), b.get(key).unwrap_or(&absent), lines);
        }
        return;
    }
    let shown = |v: &Value| match v {
        Value::Null => "not set".to_string(),
        other => other.to_string(),
    };
    lines.push(format!("{path} was {}, is {}", shown(was), shown(is)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(settings: Value, data: &str) -> RunIdentity {
        RunIdentity { settings, data: data.into(), program: "nhits".into(), backend: "flex".into() }
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let a =
            identity(json!({"train": {"lr": 0.001, "max_seconds": null, "seed": 1}, "loss": {"name": "mae"}}), "aa");
        let b = identity(
            json!({"train": {"lr": 0.01, "max_seconds": 5, "ema": 0.9, "seed": 1}, "loss": {"name": "mse"}}),
            "ab",
        );
        assert_eq!(
            a.differences(&b),
            [
                "train.lr was 0.001, is 0.01",
                "train.ema was not set, is 0.9",
                "loss.name was \"mae\", is \"mse\"",
                "the data was aa..., is ab... (fingerprints)"
            ]
        );
        assert!(a.differences(&RunIdentity { backend: "ndarray".into(), ..a.clone() }).is_empty());
    }
}
