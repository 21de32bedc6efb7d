//! Where a model is taken: the path of a bundle, or what the registry calls it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CliError;
use crate::bundle::Bundle;
use crate::registry::{Registry, RegistryError};

/// The registry's folder where none is named.
pub(super) const DEFAULT: &str = "artifacts/registry";

/// A model to use.
#[derive(Debug, Args)]
pub(super) struct ModelFlag {
    /// The model: a bundle's file, or a model of the registry as NAME, NAME@1.2.0, NAME@production, NAME@latest or its id
    #[arg(long, short = 'm', value_name = "BUNDLE")]
    model: PathBuf,
    /// Folder of the registry that the model is looked up in
    #[arg(long, value_name = "DIR", default_value = DEFAULT)]
    registry: PathBuf,
}

/// Whether a text can only be meant as a path.
fn is_path(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    path.components().count() != 1 || matches!(ending, "safetensors" | "st")
}

impl ModelFlag {
    /// The text that was given, as a path.
    pub fn path(&self) -> &Path {
        &self.model
    }

    /// The bundle: a path that exists wins, then the registry is asked.
    pub fn bundle(&self) -> Result<Bundle, CliError> {
        let reference = match self.model.to_str() {
            Some(text) if !self.model.exists() && !is_path(&self.model) => text,
            _ => return Ok(Bundle::load(&self.model)?),
        };
        let registry = match Registry::open_existing(&self.registry) {
            Ok(registry) => registry,
            // Nobody uses a registry here: what is missing is the file.
            Err(RegistryError::None { .. }) if !reference.contains('@') => return Ok(Bundle::load(&self.model)?),
            Err(error) => return Err(error.into()),
        };
        let bytes = registry.load(reference)?;
        Ok(Bundle::from_bytes(&bytes, Path::new(reference))?)
    }
}
