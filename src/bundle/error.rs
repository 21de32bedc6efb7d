//! What can be wrong with a bundle.

use std::path::PathBuf;

use crate::error::Advise;
use crate::registry::RegistryError;

/// Why a bundle cannot be read, written or imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file system refused to take a bundle.
    #[error("cannot write {detail}")]
    Write {
        /// The file, and what the system says.
        detail: String,
    },
    /// Not a safetensors file, or a damaged one.
    #[error("{path} is not a whole safetensors file: {detail}", path = .path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        detail: String,
    },
    /// A safetensors file without a manifest.
    #[error("{path} is a safetensors file but not a nhits bundle: its header has no `nhits` entry", path = .path.display())]
    NoManifest {
        /// The file.
        path: PathBuf,
    },
    /// A file of a later format.
    #[error("{path} has bundle format {found}, this program reads formats up to {supported}", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The latest one that is known.
        supported: u32,
    },
    /// The manifest does not say what it must.
    #[error("the manifest of {path} is not valid: {detail}", path = .path.display())]
    BadManifest {
        /// The file.
        path: PathBuf,
        /// Field and problem.
        detail: String,
    },
    /// A tensor is missing, has another shape or type, or holds values that cannot be.
    #[error("tensor `{name}` of {path}: {detail}", path = .path.display())]
    BadTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The settings given for an import do not fit the weights.
    #[error("cannot import {path}: {detail}", path = .path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
        /// What to give instead.
        hint: String,
    },
}

impl Advise for BundleError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "bundle-io",
            Self::Write { .. } => "bundle-write",
            Self::NotSafetensors { .. } => "not-safetensors",
            Self::NoManifest { .. } => "not-a-bundle",
            Self::Newer { .. } => "newer-format",
            Self::BadManifest { .. } => "bad-manifest",
            Self::BadTensor { .. } => "bad-tensor",
            Self::Registry(e) => e.kind(),
            Self::Import { .. } => "import",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => Some(
                "name a file that `nhits train` or `nhits import` wrote, or a model of the registry: NAME, NAME@1.2.0"
                    .into(),
            ),
            Self::Write { .. } => Some(
                "check the folder, its rights and the space on the disk; after training, `--resume` writes the model \
                 again from the newest checkpoint"
                    .into(),
            ),
            Self::NotSafetensors { .. } => Some("copy the file again, or train the model again".into()),
            Self::NoManifest { .. } => Some("`nhits import` turns a neuralforecast file into a bundle".into()),
            Self::Newer { .. } => Some("use a newer version of nhits".into()),
            Self::BadManifest { .. } | Self::BadTensor { .. } => {
                Some("the file was damaged or written by another program; train or import the model again".into())
            }
            Self::Registry(e) => e.hint(),
            Self::Import { hint, .. } => Some(hint.clone()),
        }
    }
}
