//! One experiment: everything that a run depends on, in one file, resolved once and checked in one place.
//!
//! A TOML file, a preset and command-line flags all end in an [`Experiment`]; [`Experiment::check`] is the only way on.
//! The resolved experiment is written beside the run and into the bundle.

mod model_section;
mod preset;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{DataConfig, Panel, SplitSpec, StaticCategory};
use crate::error::{Advise, InvalidSetting};
use crate::features::FeatureConfig;
use crate::loss::LossConfig;
use crate::model::EmbeddingConfig;
use crate::train::{TrainConfig, TrainJob, WindowChoice};
use crate::transform::{ScalerKind, Step};
use crate::window::WindowScaler;

pub use model_section::ModelSection;
pub use preset::Preset;

/// How values are scaled before the network sees them (`[transform]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransformConfig {
    /// Transforms of the target before its scaler, in their order, fitted per series on the training rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<Step>,
    /// Per series, fitted on the training rows.
    pub scaler: ScalerKind,
    /// Per window, from its observed input.
    pub window_scaler: WindowScaler,
}

impl Default for TransformConfig {
    fn default() -> Self {
        Self { target: Vec::new(), scaler: ScalerKind::Standard, window_scaler: WindowScaler::Robust }
    }
}

/// Which windows are cut from the series (`[window]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// Steps between the origins of two training windows.
    pub stride: usize,
    /// The least share of a training window's input that must be observed; at least one value always must.
    pub min_input: f64,
    /// The least share of a training window's target that must be observed; at least one value always must.
    pub min_target: f64,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self { stride: 1, min_input: 0.0, min_target: 0.0 }
    }
}

/// Everything that a run depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Experiment {
    /// Train, validation and test rows in time order, as rows (`34560/11520/11520`, `*/18/18`) or fractions
    /// (`0.7/0.1/0.2`).
    pub split: SplitSpec,
    /// Where the data is and how to read it.
    pub data: DataConfig,
    /// Scaling.
    pub transform: TransformConfig,
    /// Columns made from the data.
    #[serde(skip_serializing_if = "FeatureConfig::is_empty")]
    pub features: FeatureConfig,
    /// Windows.
    pub window: WindowConfig,
    /// The network.
    pub model: ModelSection,
    /// The loss.
    pub loss: LossConfig,
    /// The trainer.
    pub train: TrainConfig,
}

impl Default for Experiment {
    fn default() -> Self {
        Self {
            split: SplitSpec::Fractions { train: Some(0.8), val: Some(0.2), test: Some(0.0) },
            data: DataConfig::default(),
            transform: TransformConfig::default(),
            features: FeatureConfig::default(),
            window: WindowConfig::default(),
            model: ModelSection::default(),
            loss: LossConfig::default(),
            train: TrainConfig::default(),
        }
    }
}

/// Why an experiment cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The file system refused.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not the TOML of an experiment.
    #[error("{path} is not a valid configuration: {detail}", path = .path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, column and problem.
        detail: String,
    },
    /// A setting is out of its range.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The network's settings do not fit together.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// The loss's settings do not fit together.
    #[error(transparent)]
    Loss(#[from] crate::loss::LossError),
    /// The series cannot be split as asked.
    #[error(transparent)]
    Split(#[from] crate::data::SplitError),
    /// A transform of the target cannot be.
    #[error(transparent)]
    Transform(#[from] crate::transform::TransformError),
    /// The features cannot be made.
    #[error(transparent)]
    Features(#[from] crate::features::FeatureError),
}

impl Advise for ExperimentError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "config-io",
            Self::Toml { .. } => "config-syntax",
            Self::Setting(e) => e.kind(),
            Self::Model(e) => e.kind(),
            Self::Loss(e) => e.kind(),
            Self::Split(e) => e.kind(),
            Self::Transform(e) => e.kind(),
            Self::Features(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Toml { .. } => {
                Some("`nhits config print` shows a whole configuration, `nhits config schema` its schema".into())
            }
            Self::Setting(e) => e.hint(),
            Self::Model(e) => e.hint(),
            Self::Loss(e) => e.hint(),
            Self::Split(e) => e.hint(),
            Self::Transform(e) => e.hint(),
            Self::Features(e) => e.hint(),
        }
    }
}

impl Experiment {
    /// Reads a TOML file. What it leaves out is as in `self` (a preset, or the default).
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or has a field that no section knows.
    pub fn overridden_by(&self, path: &Path) -> Result<Self, ExperimentError> {
        let text = std::fs::read_to_string(path).map_err(|source| ExperimentError::Io { path: path.into(), source })?;
        // The file alone first: its errors name lines of the file, not of the merged text.
        Self::from_toml(&text, path)?;
        let invalid = |e: toml::de::Error| ExperimentError::Toml { path: path.into(), detail: e.to_string() };
        let mut merged: toml::Table = toml::from_str(&self.to_toml()?).map_err(invalid)?;
        merge(&mut merged, toml::from_str(&text).map_err(invalid)?);
        merged.try_into().map_err(invalid)
    }

    /// Reads the text of a TOML file; `path` is for messages.
    ///
    /// # Errors
    /// When it is not TOML or has a field that no section knows.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ExperimentError> {
        toml::from_str(text)
            .map_err(|e| ExperimentError::Toml { path: path.into(), detail: e.to_string().trim_end().to_string() })
    }

    /// The experiment as a TOML file.
    ///
    /// # Errors
    /// When a value has no form in TOML; the types here all have one.
    pub fn to_toml(&self) -> Result<String, ExperimentError> {
        toml::to_string_pretty(self)
            .map_err(|e| ExperimentError::Toml { path: "the configuration".into(), detail: e.to_string() })
    }

    /// The JSON Schema of the file.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Experiment)
    }

    /// Checks every section that can be checked without the data.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self) -> Result<(), ExperimentError> {
        if self.window.stride == 0 {
            return Err(InvalidSetting::new("window.stride", 0, "at least 1", "1 takes every window").into());
        }
        for (field, share) in
            [("window.min_input", self.window.min_input), ("window.min_target", self.window.min_target)]
        {
            if !(0.0..=1.0).contains(&share) {
                return Err(InvalidSetting::new(field, share, "0 to 1", "0 asks for one observed value").into());
            }
        }
        self.loss.check()?;
        self.train.check()?;
        self.transform.target.iter().try_for_each(Step::check)?;
        self.features.check()?;
        let (data, made) = (&self.data, &self.features);
        let (hist, futr) = (data.hist_exog.len() + made.n_hist(), data.futr_exog.len() + made.n_futr());
        let columns = [hist, futr, data.stat_exog.len()];
        let mut network = self.model.network(self.loss.n_outputs(), columns, None);
        // How many categories there are the data will say.
        network.embeddings = data.stat_cat.iter().map(|_| EmbeddingConfig::new(1, self.model.embedding_dim)).collect();
        network.check()?;
        if self.model.embedding_dim.is_some() && data.stat_cat.is_empty() {
            let remedy = "name columns of categories with --stat-cat, or leave --embedding-dim out";
            let dim = self.model.embedding_dim.unwrap_or_default();
            return Err(InvalidSetting::new("model.embedding_dim", dim, "nothing without data.stat_cat", remedy).into());
        }
        Ok(())
    }
}

impl Experiment {
    /// The training of this experiment on `panel`, to which the columns of the features are added. What was left to follow from the data (the input size) is written
    /// into the experiment, so that it says what was done.
    ///
    /// # Errors
    /// A setting that is out of its range, or a split that the series are too short for.
    pub fn job(&mut self, panel: Arc<Panel>, threads: usize) -> Result<TrainJob, ExperimentError> {
        self.check()?;
        let features = self.features.resolve()?;
        let panel = match features.is_empty() {
            true => panel,
            false => Arc::new(features.extend(Arc::unwrap_or_clone(panel))?),
        };
        let splits = self.split.resolve_all(&panel)?;
        let columns = [panel.hist_exog.len(), panel.futr_exog.len(), panel.stat_exog.len()];
        let mut lengths: Vec<usize> = splits.iter().map(|s| s.train.len()).collect();
        lengths.sort_unstable();
        let usual = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
        let mut network = self.model.network(self.loss.n_outputs(), columns, Some((usual, panel.freq.season())));
        let table = |c: &StaticCategory| EmbeddingConfig::new(c.levels.len(), self.model.embedding_dim);
        network.embeddings = panel.stat_cat.iter().map(table).collect();
        self.model.input_size = Some(network.input_size);
        let WindowConfig { stride, min_input, min_target } = self.window;
        Ok(TrainJob {
            panel,
            splits,
            network: network.check()?,
            loss: self.loss.clone(),
            target: self.transform.target.clone(),
            features,
            scaler: self.transform.scaler,
            window_scaler: self.transform.window_scaler,
            windows: WindowChoice { stride, min_input, min_target },
            config: self.train.clone(),
            threads,
        })
    }
}

/// Puts the entries of `over` into `base`, table by table. A table with a `name` (a loss, a schedule) is a choice between
/// kinds and is replaced as a whole: the fields of one kind mean nothing to another.
fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) if !new.contains_key("name") => merge(old, new),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_passes_its_own_check_and_survives_toml() {
        let experiment = Experiment::default();
        experiment.check().unwrap();
        let text = experiment.to_toml().unwrap();
        assert_eq!(Experiment::from_toml(&text, Path::new("x.toml")).unwrap(), experiment);
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let error =
            Experiment::from_toml("[train]\nlearning_rat = 1.0\n", Path::new("x.toml")).unwrap_err().to_string();
        assert!(error.contains("learning_rat") && error.contains("line 2") && error.contains("x.toml"), "{error}");
    }

    #[test]
    fn a_file_overrides_a_preset_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.toml");
        std::fs::write(&path, "[train]\nlr = 0.5\n[loss]\nname = \"mae\"\n").unwrap();
        let mut preset = Experiment::default();
        Preset::LongHorizon.apply(&mut preset);
        let merged = preset.overridden_by(&path).unwrap();
        assert_eq!((merged.train.lr, &merged.loss), (0.5, &LossConfig::Mae));
        assert_eq!((merged.train.batch_size, merged.model.dropout), (256, 0.3));
    }

    #[test]
    fn every_preset_passes_the_check() {
        for preset in Preset::ALL {
            let mut experiment = Experiment::default();
            preset.apply(&mut experiment);
            experiment.check().unwrap();
        }
    }
}
