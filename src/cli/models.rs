//! `nhits models ...`: the registry.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::error::CliError;
use super::model_flag::DEFAULT;
use super::models_shown as shown;
use super::session::Session;
use crate::bundle::Bundle;
use crate::registry::{
    Filter, Metadata, MetricRange, Registry, RegistryError, Retention, Similarity, Stage, VersionChoice,
};

/// Flags of `nhits models`.
#[derive(Debug, Args)]
pub(super) struct ModelsArgs {
    /// Folder of the registry
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT)]
    registry: PathBuf,
    #[command(subcommand)]
    command: Command,
}

/// What is done with the registry.
#[derive(Debug, Subcommand)]
enum Command {
    /// File a model
    Add(Box<AddArgs>),
    /// List models, the newest first
    List(Box<ListArgs>),
    /// Everything that is known of a model
    Show {
        /// The model: NAME, NAME@1.2.0, NAME@production, NAME@latest or its id
        model: String,
    },
    /// Find models by the words of their names, descriptions and tags
    Search {
        /// Words; each may be the beginning of one
        #[arg(required = true)]
        words: Vec<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Models like a model
    Similar {
        /// The model
        model: String,
        /// How many
        #[arg(long, short = 'k', value_name = "N", default_value_t = 5)]
        k: usize,
        /// cosine, l2 or dot
        #[arg(long, value_name = "NAME", default_value = "cosine")]
        metric: String,
    },
    /// Add tags, remove them, or write a note
    Tag {
        /// The model
        model: String,
        /// Tags to add
        tags: Vec<String>,
        /// Tags to remove
        #[arg(long, value_name = "TAG,TAG", value_delimiter = ',')]
        remove: Vec<String>,
        /// A note to write
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Put a model into a stage; the one in production until then is archived
    Promote {
        /// The model
        model: String,
        /// staging, production, archived, or none
        #[arg(default_value = "production")]
        stage: String,
    },
    /// Where a model comes from and what came of it
    Lineage {
        /// The model
        model: String,
    },
    /// Checkpoints of runs; with --keep-last or --keep-best, delete the others of the run
    Checkpoints(CheckpointsArgs),
    /// Remove files that nothing refers to
    Gc,
    /// Write models into one archive (.tar.zst)
    Export {
        /// The models
        #[arg(required_unless_present = "all")]
        models: Vec<String>,
        /// Every model
        #[arg(long, conflicts_with = "models")]
        all: bool,
        /// The archive
        #[arg(long, short = 'o', value_name = "FILE")]
        output: PathBuf,
    },
    /// Read the models of an archive
    Import {
        /// The archive
        archive: PathBuf,
    },
    /// Delete models; refused while something depends on one
    Rm {
        /// The models
        #[arg(required = true)]
        models: Vec<String>,
    },
    /// How much there is
    Stats,
    /// Read every file and the database, and say what is missing, damaged or orphaned
    Verify,
}

/// Flags of `nhits models add`.
#[derive(Debug, Args)]
struct AddArgs {
    /// The bundle; any file with --type
    file: PathBuf,
    /// Name of the model
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Version: auto, major, minor, patch, or one such as 1.2.0
    #[arg(long, value_name = "VERSION", default_value = "auto")]
    bump: String,
    /// Type of a model that is no bundle
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    #[command(flatten)]
    about: AboutFlags,
    /// Model whose weights it started from
    #[arg(long, value_name = "MODEL")]
    fine_tuned_from: Option<String>,
    /// Number about it, beside those of its training
    #[arg(long = "metric", value_name = "NAME=NUMBER")]
    metrics: Vec<String>,
    /// Anything else to know about it
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    meta: Vec<String>,
}

/// What is said about a model that is filed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct AboutFlags {
    /// Tag of the model; may be given several times
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Description of the model
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Model of the registry that it takes the place of
    #[arg(long, value_name = "MODEL")]
    pub parent: Option<String>,
}

impl AboutFlags {
    pub fn apply(&self, metadata: &mut Metadata) {
        metadata.tags.extend(self.tags.iter().cloned());
        metadata.description = self.description.clone().unwrap_or_default();
        metadata.parent.clone_from(&self.parent);
    }
}

/// Flags of `nhits models list`.
#[derive(Debug, Args)]
struct ListArgs {
    /// Name; `*` stands for any letters
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Stage
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Every one of these tags
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
    /// One of these tags
    #[arg(long, value_name = "TAG,TAG", value_delimiter = ',')]
    any_tag: Vec<String>,
    /// Range of a metric, such as val_mae<0.3
    #[arg(long = "metric", value_name = "RANGE")]
    metrics: Vec<String>,
    /// Filed at this time or later
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// Filed before this time
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// What was given with --meta
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Flags of `nhits models checkpoints`.
#[derive(Debug, Args)]
struct CheckpointsArgs {
    /// The run; all runs without
    run: Option<String>,
    /// Only the best one
    #[arg(long, requires = "run")]
    best: bool,
    /// What the best one has lowest
    #[arg(long, value_name = "NAME", default_value = "val_loss")]
    metric: String,
    /// Keep the newest N
    #[arg(long, value_name = "N", requires = "run")]
    keep_last: Option<usize>,
    /// Keep the best N
    #[arg(long, value_name = "N", requires = "run")]
    keep_best: Option<usize>,
}

/// Key and value of `key=value`.
fn pair(text: &str, flag: &str) -> Result<(String, String), CliError> {
    let wrong = || CliError::input("usage", format!("{flag} {text} is not allowed: expected KEY=VALUE"));
    let (key, value) = text.split_once('=').filter(|(k, _)| !k.trim().is_empty()).ok_or_else(wrong)?;
    Ok((key.trim().into(), value.trim().into()))
}

impl AddArgs {
    fn run(self, root: &Path, session: &Session) -> Result<(), CliError> {
        let read = |e| CliError::input("bundle-io", format!("cannot read {}: {e}", self.file.display()));
        let bytes = std::fs::read(&self.file).map_err(read)?;
        let (bundle, mut metadata) = match (Bundle::from_bytes(&bytes, &self.file), &self.kind) {
            (Ok(bundle), kind) => {
                let mut metadata = bundle.card(&self.name);
                metadata.kind = kind.clone().unwrap_or(metadata.kind);
                (Some(bundle), metadata)
            }
            (Err(_), Some(kind)) if kind != crate::bundle::REGISTERED_AS => (None, Metadata::new(&self.name, kind)),
            (Err(error), _) => return Err(error.into()),
        };
        self.about.apply(&mut metadata);
        metadata.fine_tuned_from = self.fine_tuned_from;
        for text in &self.metrics {
            let (name, value) = pair(text, "--metric")?;
            let wrong = |_| CliError::input("usage", format!("--metric {text} is not allowed: expected NAME=NUMBER"));
            metadata.metrics.insert(name, value.parse().map_err(wrong)?);
        }
        for text in &self.meta {
            let (key, value) = pair(text, "--meta")?;
            metadata.extra.insert(key, serde_json::Value::String(value));
        }
        let version: VersionChoice = self.bump.parse()?;
        let registry = Registry::open(root)?;
        if let Some(bundle) = &bundle {
            metadata = bundle.with_float_parent(&registry, &metadata)?;
        }
        let id = registry.save_as(&bytes, &metadata, &version)?;
        let model = registry.metadata(&id)?;
        session.output.result(format!("added {} as {id}", model.reference()), &model)
    }
}

impl ListArgs {
    fn filter(self) -> Result<Filter, CliError> {
        Ok(Filter {
            name: self.name,
            kind: self.kind,
            stage: self.stage.map(|s| s.parse()).transpose()?,
            any_tags: self.any_tag,
            all_tags: self.tags,
            metrics: self.metrics.iter().map(|m| m.parse::<MetricRange>()).collect::<Result<_, _>>()?,
            created_after: self.after,
            created_before: self.before,
            extra: self.meta.iter().map(|m| pair(m, "--meta")).collect::<Result<_, _>>()?,
            limit: self.limit,
        })
    }
}

impl CheckpointsArgs {
    fn run(self, registry: &Registry, session: &Session) -> Result<(), CliError> {
        if let (Some(run), true) = (&self.run, self.keep_last.is_some() || self.keep_best.is_some()) {
            let keep = Retention {
                last: self.keep_last.unwrap_or(1),
                best: self.keep_best.unwrap_or(0),
                metric: self.metric.clone(),
            };
            let gone = registry.prune_checkpoints(run, &keep)?;
            let left = registry.checkpoints(Some(run))?;
            let report = format!("deleted {}, {} stay", gone.len(), left.len());
            return session.output.result(report, &json!({"deleted": gone, "checkpoints": left}));
        }
        let found = match (&self.run, self.best) {
            (Some(run), true) => registry.best_checkpoint(run, &self.metric)?.into_iter().collect(),
            (run, _) => registry.checkpoints(run.as_deref())?,
        };
        session.output.result(shown::checkpoints(&found), &json!({"checkpoints": found}))
    }
}

impl ModelsArgs {
    pub fn run(self, session: Session) -> Result<(), CliError> {
        let (root, out) = (self.registry, &session.output);
        match self.command {
            Command::Add(args) => return args.run(&root, &session),
            Command::Import { archive } => {
                let done = Registry::open(&root)?.import(&archive)?;
                let report = format!("{} models are new, {} were here already", done.added.len(), done.present.len());
                return out.result(report, &done);
            }
            _ => {}
        }
        let registry = Registry::open_existing(&root)?;
        match self.command {
            Command::Add(_) | Command::Import { .. } => Ok(()),
            Command::List(args) => {
                let found = registry.list(&args.filter()?)?;
                out.result(shown::table(&found), &json!({"models": found}))
            }
            Command::Show { model } => {
                let found = registry.metadata(&model)?;
                let notes = registry.notes(&found.id)?;
                let mut value = json!(found);
                value["notes"] = json!(notes);
                out.result(shown::model(&found, &notes), &value)
            }
            Command::Search { words, limit } => {
                let found = registry.search(&words.join(" "), limit)?;
                let rows = found.iter().map(|h| (f64::from(h.score as f32), &h.model)).collect::<Vec<_>>();
                out.result(shown::scored(&rows), &json!({"models": found}))
            }
            Command::Similar { model, k, metric } => {
                let found = registry.similar(&model, k, metric.parse::<Similarity>()?)?;
                let rows = found.iter().map(|n| (f64::from(n.score), &n.model)).collect::<Vec<_>>();
                out.result(shown::scored(&rows), &json!({"models": found}))
            }
            Command::Tag { model, tags, remove, note } => {
                if let Some(text) = &note {
                    registry.add_note(&model, text)?;
                }
                let found = registry.tag(&model, &tags, &remove)?;
                let tags: Vec<&str> = found.metadata.tags.iter().map(String::as_str).collect();
                out.result(format!("{}: {}", found.reference(), tags.join(", ")), &found)
            }
            Command::Promote { model, stage } => {
                let stage = if stage == "none" { None } else { Some(stage.parse::<Stage>()?) };
                let id = registry.metadata(&model)?.id;
                let former = registry.promote(&id, stage)?;
                let found = registry.metadata(&id)?;
                let mut report = format!("{} is in {}", found.reference(), stage.map_or("no stage", Stage::name));
                if let Some(former) = &former {
                    report += &format!("; {} is archived", registry.metadata(former)?.reference());
                }
                out.result(report, &json!({"id": id, "model": found.reference(), "stage": stage, "former": former}))
            }
            Command::Lineage { model } => {
                let found = registry.lineage(&model)?;
                out.result(shown::lineage(&found), &found)
            }
            Command::Checkpoints(args) => args.run(&registry, &session),
            Command::Gc => {
                let done = registry.gc()?;
                let (n, mb) = (done.orphaned + done.leftovers, done.bytes as f64 / 1e6);
                out.result(format!("removed {n} files ({mb:.1} MB)"), &done)
            }
            Command::Export { models, all, output } => {
                super::output::check_file(&output)?;
                let ids = |models: Vec<crate::registry::Model>| models.into_iter().map(|m| m.id).collect();
                let models = if all { ids(registry.list(&Filter::default())?) } else { models };
                let done = registry.export(&models, &output)?;
                let report = format!("wrote {} models to {}", done.len(), output.display());
                out.result(report, &json!({"archive": output, "models": done}))
            }
            Command::Rm { models } => {
                let done = models.iter().map(|m| registry.delete(m)).collect::<Result<Vec<_>, RegistryError>>()?;
                let names: Vec<String> = done.iter().map(|m| m.reference()).collect();
                out.result(format!("deleted {}", names.join(", ")), &json!({"deleted": done}))
            }
            Command::Stats => {
                let stats = registry.stats()?;
                out.result(shown::stats(&stats), &stats)
            }
            Command::Verify => {
                let found = registry.verify()?;
                if !found.ok {
                    out.note(shown::verified(&found));
                    let n = found.missing.len() + found.damaged.len() + found.database.len();
                    let all = [&found.missing[..], &found.damaged[..], &found.database[..]].concat();
                    let message = format!("{n} things are missing or damaged: {}", all.join(", "));
                    return Err(CliError::program("registry-damaged", message)
                        .hint("saving or importing the same models again heals their files"));
                }
                out.result(shown::verified(&found), &found)
            }
        }
    }
}
