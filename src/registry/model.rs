//! What the registry knows of a model: what is given when it is saved, and what is known of it from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RegistryError;

/// Where a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// A candidate.
    Staging,
    /// The one in use: one per name.
    Production,
    /// No longer in use.
    Archived,
}

impl Stage {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Staging, Self::Production, Self::Archived];

    /// The name on the command line and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Production => "production",
            Self::Archived => "archived",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let found = Self::ALL.into_iter().find(|s| s.name() == text);
        found.ok_or_else(|| RegistryError::invalid("stage", text, "staging, production or archived"))
    }
}

/// Which version a new model gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionChoice {
    /// The next one, by what changed since the newest of the name: type, input size or horizon -> major (it takes or
    /// gives something else), hyperparameters -> minor, neither -> patch. The first is 1.0.0.
    #[default]
    Auto,
    /// The next major version.
    Major,
    /// The next minor version.
    Minor,
    /// The next patch version.
    Patch,
    /// This one; refused if it is taken.
    Exact(Version),
}

impl FromStr for VersionChoice {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        Ok(match text {
            "auto" => Self::Auto,
            "major" => Self::Major,
            "minor" => Self::Minor,
            "patch" => Self::Patch,
            _ => Self::Exact(text.parse().map_err(|_| {
                RegistryError::invalid("version", text, "auto, major, minor, patch or a version such as 1.2.0")
            })?),
        })
    }
}

/// Size and shape of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Architecture {
    /// Steps that it looks back.
    pub input_size: Option<u64>,
    /// Steps that it forecasts.
    pub horizon: Option<u64>,
    /// Widths of its hidden layers.
    pub hidden: Vec<u64>,
    /// Trainable values.
    pub parameters: Option<u64>,
}

/// The data that a model was trained on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DataCard {
    /// Hash of its content: models with the same one were trained on the same data.
    pub fingerprint: Option<String>,
    /// The first time stamp.
    pub from: Option<String>,
    /// The last time stamp.
    pub to: Option<String>,
    /// The step between rows.
    pub frequency: Option<String>,
    /// Series.
    pub n_series: Option<u64>,
    /// Rows.
    pub n_rows: Option<u64>,
    /// Numbers about the values; see [`crate::registry::VECTOR`] for those that similarity looks at.
    pub statistics: BTreeMap<String, f64>,
}

/// What a model was trained on and with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hardware {
    /// The backend.
    pub backend: Option<String>,
    /// The device.
    pub device: Option<String>,
    /// Processor and threads, or whatever else tells the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// What is given of a model when it is saved. Everything but the name may be left empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Kind of model: `nhits`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// For people, and for search.
    pub description: String,
    /// Tags.
    pub tags: BTreeSet<String>,
    /// What decides about the network and its learning: a flat or nested JSON object.
    pub hyperparameters: Value,
    /// The whole configuration of the run.
    pub training: Value,
    /// How good it is. Numbers that are not finite are left out.
    pub metrics: BTreeMap<String, f64>,
    /// Size and shape.
    pub architecture: Architecture,
    /// Its data.
    pub data: DataCard,
    /// Backend and device.
    pub hardware: Hardware,
    /// Seed of the run.
    pub seed: Option<u64>,
    /// Name and version of the program that made it.
    pub program: String,
    /// Id of the model that this one takes the place of.
    pub parent: Option<String>,
    /// Id of the model whose weights this one started from.
    pub fine_tuned_from: Option<String>,
    /// Anything else.
    pub extra: Map<String, Value>,
}

/// A line that somebody wrote about a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, UTC.
    pub created: String,
    /// What.
    pub text: String,
}

/// A model in the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its id: 16 hex digits that never change.
    pub id: String,
    /// Its version, unique within the name.
    #[serde(with = "as_text")]
    pub version: Version,
    /// Its stage, if it was promoted to one.
    pub stage: Option<Stage>,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Size of its file in bytes.
    pub size: u64,
    /// When it was saved, UTC with microseconds (RFC 3339).
    pub created: String,
    /// When anything about it last changed.
    pub updated: String,
    /// What was given when it was saved, with the tags of now.
    #[serde(flatten)]
    pub metadata: Metadata,
}

/// A version as JSON has it: `"1.2.0"`.
mod as_text {
    use semver::Version;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(version)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Model {
    /// `name@version`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.metadata.name, self.version)
    }
}

/// The document of a row.
pub(super) fn parse(document: &str) -> Result<Metadata, RegistryError> {
    serde_json::from_str(document).map_err(|e| RegistryError::Damaged {
        path: Default::default(),
        detail: format!("the document of a model is not valid: {e}"),
    })
}

impl Metadata {
    /// Metadata of a model of this name and type.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), ..Self::default() }
    }

    /// Checks and tidies what was given.
    pub(super) fn checked(&self) -> Result<Self, RegistryError> {
        check_name("name", &self.name)?;
        let mut checked = self.clone();
        if checked.kind.is_empty() {
            checked.kind = "unknown".into();
        }
        check_name("type", &checked.kind)?;
        checked.tags = self.tags.iter().map(|t| check_tag(t)).collect::<Result<_, _>>()?;
        checked.metrics.retain(|_, value| value.is_finite());
        checked.data.statistics.retain(|_, value| value.is_finite());
        Ok(checked)
    }
}

/// The most letters of a name or a tag.
const LONGEST: usize = 200;

/// A name: letters, digits, `.`, `_`, `-`, beginning with a letter or digit, so that it is no path and no reference.
pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), RegistryError> {
    let usual = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = name.chars().count() <= LONGEST
        && name.chars().next().is_some_and(char::is_alphanumeric)
        && name.chars().all(usual);
    if good {
        Ok(())
    } else {
        Err(RegistryError::invalid(field, name, "letters, digits, `.`, `_` and `-`, at most 200"))
    }
}

/// A tag without blanks around it.
pub(super) fn check_tag(tag: &str) -> Result<String, RegistryError> {
    let tag = tag.trim();
    let good = !tag.is_empty() && tag.chars().count() <= LONGEST && !tag.chars().any(|c| c.is_control() || c == ',');
    if good { Ok(tag.into()) } else { Err(RegistryError::invalid("tag", tag, "a text without commas, at most 200")) }
}

/// The version that follows `newest`, or the first one.
pub(super) fn next_version(choice: &VersionChoice, newest: Option<(&Version, &Metadata)>, new: &Metadata) -> Version {
    let Some((last, old)) = newest else {
        return match choice {
            VersionChoice::Exact(version) => version.clone(),
            _ => Version::new(1, 0, 0),
        };
    };
    let (major, minor) = (Version::new(last.major + 1, 0, 0), Version::new(last.major, last.minor + 1, 0));
    // The release that a pre-release leads to comes before the patch that follows it.
    let patch = if last.pre.is_empty() { last.patch + 1 } else { last.patch };
    let patch = Version::new(last.major, last.minor, patch);
    let (a, b) = (&old.architecture, &new.architecture);
    match choice {
        VersionChoice::Exact(version) => version.clone(),
        VersionChoice::Major => major,
        VersionChoice::Minor => minor,
        VersionChoice::Patch => patch,
        VersionChoice::Auto if old.kind != new.kind || (a.input_size, a.horizon) != (b.input_size, b.horizon) => major,
        VersionChoice::Auto if old.hyperparameters != new.hyperparameters => minor,
        VersionChoice::Auto => patch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_says_what_changed() {
        let old = Metadata {
            architecture: Architecture { input_size: Some(24), horizon: Some(4), ..Architecture::default() },
            hyperparameters: serde_json::json!({"lr": 0.1}),
            ..Metadata::new("m", "nhits")
        };
        let next = |choice: &str, from: &str, change: fn(&mut Metadata)| {
            let mut new = old.clone();
            change(&mut new);
            let from: Version = from.parse().unwrap();
            next_version(&choice.parse().unwrap(), Some((&from, &old)), &new).to_string()
        };
        assert_eq!(next_version(&VersionChoice::Minor, None, &old), Version::new(1, 0, 0));
        assert_eq!(next("auto", "1.2.3", |_| ()), "1.2.4");
        assert_eq!(next("auto", "1.2.3", |m| m.hyperparameters = serde_json::json!({"lr": 0.2})), "1.3.0");
        assert_eq!(next("auto", "1.2.3", |m| m.architecture.horizon = Some(5)), "2.0.0");
        assert_eq!(next("auto", "1.2.3", |m| m.kind = "ensemble".into()), "2.0.0");
        assert_eq!(next("major", "1.2.3", |_| ()), "2.0.0");
        assert_eq!(next("minor", "1.2.3", |_| ()), "1.3.0");
        assert_eq!(next("patch", "1.2.0-beta.1", |_| ()), "1.2.0");
        assert_eq!(next("0.9.0", "1.2.3", |_| ()), "0.9.0");
        assert!("1.2".parse::<VersionChoice>().is_err());
    }

    #[test]
    fn names_are_no_paths_and_no_references() {
        for name in ["", "../x", "a/b", "a@b", ".hidden", "-rf", "a b", "a\0", &"x".repeat(201)] {
            assert!(check_name("name", name).is_err(), "{name}");
        }
        assert!(check_name("name", "btc-1h_v2.0").is_ok() && check_name("name", "Überschuss").is_ok());
        assert!(check_tag(" a b ").is_ok_and(|t| t == "a b") && check_tag("a,b").is_err() && check_tag("\n").is_err());
    }
}
