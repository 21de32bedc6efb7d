//! The flags of `nhits train` that file the run in the registry: its checkpoints while it goes, its model at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::error::CliError;
use super::model_flag::DEFAULT;
use super::models::AboutFlags;
use super::train::Run;
use crate::bundle::Bundle;
use crate::registry::{Registry, Retention, VersionChoice};
use crate::train::{Checkpoint, FiledCheckpoints};

/// Filing a run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registry")]
pub(super) struct RegisterFlags {
    /// File the model in the registry under this name
    #[arg(long, value_name = "NAME")]
    register: Option<String>,
    /// Folder of the registry [default: artifacts/registry]; checkpoints are filed there, too, when it is given
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// Version to file the model under: auto, major, minor, patch, or one such as 1.2.0
    #[arg(long, value_name = "VERSION", default_value = "auto", requires = "register")]
    bump: String,
    #[command(flatten)]
    about: AboutFlags,
}

/// A run's registry, opened before the first step so that what is wrong with it is known early.
pub(super) struct Filing {
    registry: Arc<Registry>,
    checkpoints: bool,
    model: Option<(String, VersionChoice, AboutFlags)>,
}

/// What there is of a text that a name may have.
fn run_name(run_dir: &Path) -> String {
    let text = run_dir.to_string_lossy();
    let name: String =
        text.chars().map(|c| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }).collect();
    match name.trim_start_matches(|c: char| !c.is_alphanumeric()) {
        "" => "run".into(),
        name => name.chars().take(200).collect(),
    }
}

/// The processor's name, where the system tells it, and how many threads were used.
fn machine(threads: usize) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        cpus.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, n)| n.trim().to_owned()));
    format!("{}, {threads} threads", name.unwrap_or_else(|| std::env::consts::ARCH.into()))
}

impl RegisterFlags {
    /// The registry, if one is used.
    pub fn filing(&self) -> Result<Option<Filing>, CliError> {
        let about = &self.about;
        if self.register.is_none() && (!about.tags.is_empty() || about.description.is_some() || about.parent.is_some())
        {
            return Err(CliError::input(
                "usage",
                "--tag, --description and --parent say something about a filed model",
            )
            .hint("give --register NAME, too"));
        }
        if self.register.is_none() && self.registry.is_none() {
            return Ok(None);
        }
        let registry = Arc::new(Registry::open(self.registry.clone().unwrap_or_else(|| DEFAULT.into()))?);
        // Refused now rather than after hours of training.
        let model = match &self.register {
            None => None,
            Some(name) => {
                let mut metadata = crate::registry::Metadata::new(name, crate::bundle::REGISTERED_AS);
                about.apply(&mut metadata);
                let version: VersionChoice = self.bump.parse()?;
                registry.would_save(&metadata, &version)?;
                Some((name.clone(), version, about.clone()))
            }
        };
        Ok(Some(Filing { registry, checkpoints: self.registry.is_some(), model }))
    }

    /// The checkpoint with this id, where the registry has it.
    pub fn checkpoint(&self, id: &Path) -> Result<Checkpoint, CliError> {
        let registry = Registry::open_existing(self.registry.clone().unwrap_or_else(|| DEFAULT.into()))?;
        let (_, bytes) = registry.load_checkpoint(&id.to_string_lossy())?;
        Ok(Checkpoint::from_bytes(&bytes, id)?)
    }

    /// Whether `--resume` names a checkpoint of the registry: it has the form of an id, and there is no such file.
    pub fn is_id(&self, name: &Path) -> bool {
        let text = name.to_string_lossy();
        !name.exists() && text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

impl Filing {
    /// What files the checkpoints of a run, if they are to be filed.
    pub fn callback(&self, run_dir: &Path, keep_last: usize) -> Option<FiledCheckpoints> {
        let run = self.model.as_ref().map_or_else(|| run_name(run_dir), |(name, ..)| name.clone());
        let keep = Retention { last: keep_last, best: 1, metric: "val_loss".into() };
        self.checkpoints.then(|| FiledCheckpoints::new(self.registry.clone(), run, keep))
    }

    /// Files the model of a finished run; gives id and version for the result.
    pub fn model(&self, bundle: &Bundle, run: &Run) -> Result<Option<Value>, CliError> {
        let Some((name, version, about)) = &self.model else { return Ok(None) };
        let mut metadata = bundle.card(name);
        crate::bundle::describe_data(&mut metadata.data, &run.job.panel, bundle.manifest.season);
        about.apply(&mut metadata);
        metadata.hardware.machine = Some(machine(run.job.threads));
        let id = bundle.register_as(&self.registry, &metadata, version)?;
        let model = self.registry.metadata(&id)?;
        Ok(Some(json!({"id": id, "model": model.reference(), "registry": self.registry.root()})))
    }
}
