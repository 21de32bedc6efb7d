//! The file of a checkpoint: a safetensors file whose last tensor is the SHA-256 of everything before it.
//!
//! It is written from the device tensor by tensor, so it never takes a second copy of the network on the host; aside,
//! synced and renamed, so it is whole or not there; and a disk that lies is found out by the checksum.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CheckpointError, RunIdentity, RunState};
use crate::atomic_file::write_atomic;
use crate::model::{Checked, NamedTensor, TensorSpec};

/// The format that this version writes and reads.
const FORMAT: u32 = 1;
/// The key of the state in the header's metadata.
const KEY: &str = "nhits_checkpoint";
/// The tensor with the checksum; its 32 bytes are the last of the file.
const CHECKSUM: &str = "sha256";

/// What a tensor of a checkpoint is to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// A weight of the network.
    Weights,
    /// The optimizer's first moment (or velocity) of a weight.
    First,
    /// The optimizer's second moment of a weight.
    Second,
    /// The weight in the best epoch so far.
    Best,
    /// The weight's moving average.
    Average,
    /// The weight that a rollback goes back to, where there are rollbacks.
    BackWeights,
    /// The first moment there.
    BackFirst,
    /// The second moment there.
    BackSecond,
    /// The moving average there.
    BackAverage,
}

impl Section {
    const ALL: [Self; 9] = [
        Self::Weights,
        Self::First,
        Self::Second,
        Self::Best,
        Self::Average,
        Self::BackWeights,
        Self::BackFirst,
        Self::BackSecond,
        Self::BackAverage,
    ];

    /// The name before the tensor's own.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::First => "first",
            Self::Second => "second",
            Self::Best => "best",
            Self::Average => "average",
            Self::BackWeights => "back_weights",
            Self::BackFirst => "back_first",
            Self::BackSecond => "back_second",
            Self::BackAverage => "back_average",
        }
    }
}

/// A tensor to be written: its values are fetched when it is its turn.
pub(in super::super) struct Entry<'a> {
    pub section: Section,
    pub spec: TensorSpec,
    pub read: Box<dyn Fn() -> Vec<f32> + 'a>,
}

/// The document in the header.
#[derive(Serialize, Deserialize)]
struct Document {
    format_version: u32,
    identity: RunIdentity,
    state: RunState,
}

/// A checkpoint in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What it belongs to.
    pub identity: RunIdentity,
    /// Where the run was.
    pub state: RunState,
    /// Its tensors, `state_dict` names and layout.
    pub tensors: BTreeMap<Section, Vec<NamedTensor>>,
}

/// Passes bytes on and hashes them.
struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl Hashing<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// Writes a checkpoint; returns its size in bytes.
pub(in super::super) fn write(
    path: &Path,
    identity: &RunIdentity,
    state: &RunState,
    entries: &[Entry<'_>],
) -> Result<u64, CheckpointError> {
    let document = Document { format_version: FORMAT, identity: identity.clone(), state: state.clone() };
    let failed = |e: io::Error| CheckpointError::Io { action: "write the checkpoint", detail: e.to_string() };
    let text = serde_json::to_string(&document).map_err(|e| failed(io::Error::other(e)))?;
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({ KEY: text }));
    let mut offset = 0;
    let mut place = |header: &mut serde_json::Map<_, _>, name: String, dtype: &str, shape: &[usize], bytes: usize| {
        header.insert(
            name,
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + bytes]}),
        );
        offset += bytes;
    };
    for entry in entries {
        let name = format!("{}.{}", entry.section.prefix(), entry.spec.name);
        let n: usize = entry.spec.shape.iter().product();
        place(&mut header, name, "F32", &entry.spec.shape, 4 * n);
    }
    place(&mut header, CHECKSUM.into(), "U8", &[32], 32);
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut size = 0;
    write_atomic(path, |out| {
        let mut out = Hashing { out, hash: Sha256::new(), bytes: 0 };
        out.put(&(header.len() as u64).to_le_bytes())?;
        out.put(&header)?;
        for entry in entries {
            let values = (entry.read)();
            if values.len() != entry.spec.shape.iter().product::<usize>() {
                return Err(io::Error::other(format!("{} has {} values", entry.spec.name, values.len())));
            }
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            out.put(&bytes)?;
        }
        let digest = out.hash.clone().finalize();
        out.put(&digest)?;
        size = out.bytes;
        Ok(())
    })
    .map_err(failed)?;
    Ok(size)
}

impl Checkpoint {
    /// Reads the checkpoint at `path` and checks that it is whole.
    ///
    /// # Errors
    /// When it cannot be read, was cut off or damaged, or was written by a later version.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = std::fs::read(path).map_err(|e| CheckpointError::Io {
            action: "read the checkpoint",
            detail: format!("{}: {e}", path.display()),
        })?;
        Self::from_bytes(&bytes, path)
    }

    /// Reads a checkpoint from the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// See [`Checkpoint::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let damaged = |detail: String| CheckpointError::Damaged { path: path.into(), detail };
        if bytes.len() < 48 {
            return Err(damaged(format!("it has {} bytes", bytes.len())));
        }
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let text =
            header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(|| {
                damaged(format!("its header has no `{KEY}` entry; a model (bundle) is no checkpoint"))
            })?;
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        match value.get("format_version").and_then(serde_json::Value::as_u64) {
            Some(found) if found > u64::from(FORMAT) => {
                return Err(CheckpointError::Newer { path: path.into(), found, supported: FORMAT });
            }
            Some(1..) => {}
            _ => return Err(damaged("`format_version` is missing".into())),
        }
        let (body, digest) = bytes.split_at(bytes.len() - 32);
        if Sha256::digest(body)[..] != *digest {
            return Err(damaged("its checksum is wrong".into()));
        }
        let Document { identity, state, .. } = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let mut tensors: BTreeMap<Section, Vec<NamedTensor>> = BTreeMap::new();
        for (full, view) in file.iter().filter(|(name, _)| *name != CHECKSUM) {
            let (section, name) = full
                .split_once('.')
                .and_then(|(prefix, name)| Some((Section::ALL.into_iter().find(|s| s.prefix() == prefix)?, name)))
                .ok_or_else(|| damaged(format!("it has an unknown tensor `{full}`")))?;
            if view.dtype() != safetensors::Dtype::F32 {
                return Err(damaged(format!("tensor `{full}` is {:?}, expected F32", view.dtype())));
            }
            let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            tensors.entry(section).or_default().push(NamedTensor {
                name: name.into(),
                shape: view.shape().to_vec(),
                data,
            });
        }
        // The file's own order is lost in reading.
        tensors.values_mut().for_each(|section| section.sort_by(|a, b| a.name.cmp(&b.name)));
        Ok(Self { identity, state, tensors })
    }

    /// The tensor of `section` for a weight's `state_dict` name: shape and values.
    pub fn tensor(&self, section: Section, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let found = self.tensors.get(&section)?.iter().find(|t| t.name == name)?;
        Some((found.shape.clone(), found.data.clone()))
    }

    /// That a section has every weight of `network` in its shape, where it is there at all.
    pub(in super::super) fn check(&self, network: &Checked, path: &Path) -> Result<(), CheckpointError> {
        for (section, tensors) in &self.tensors {
            let whole = network.tensor_specs().iter().filter(|s| s.same_as.is_none()).all(|spec| {
                tensors
                    .iter()
                    .any(|t| t.name == spec.name && t.shape == spec.shape && t.data.iter().all(|v| v.is_finite()))
            });
            if !whole {
                let detail = format!("`{}` does not hold the weights of the network", section.prefix());
                return Err(CheckpointError::Damaged { path: path.into(), detail });
            }
        }
        if !self.tensors.contains_key(&Section::Weights) {
            return Err(CheckpointError::Damaged { path: path.into(), detail: "it has no weights".into() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path) -> (std::path::PathBuf, RunIdentity, RunState) {
        let identity = RunIdentity {
            settings: serde_json::json!({"train": {"lr": 0.1}}),
            data: "ab".into(),
            program: "nhits".into(),
            backend: "flex".into(),
        };
        let state = RunState { step: 7, lr: 0.1 + 0.2, ..RunState::new() };
        let spec = |name: &str, shape: &[usize]| TensorSpec { name: name.into(), shape: shape.to_vec(), same_as: None };
        let entries = [
            Entry {
                section: Section::Weights,
                spec: spec("a.weight", &[2, 2]),
                read: Box::new(|| vec![1.0, -0.0, 3.5, 1e-40]),
            },
            Entry { section: Section::First, spec: spec("a.weight", &[2, 2]), read: Box::new(|| vec![0.5; 4]) },
            Entry { section: Section::Weights, spec: spec("a.bias", &[1]), read: Box::new(|| vec![f32::MIN_POSITIVE]) },
        ];
        let path = dir.join("x.ckpt");
        let size = write(&path, &identity, &state, &entries).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
        (path, identity, state)
    }

    #[test]
    fn it_comes_back_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (path, identity, state) = written(dir.path());
        let read = Checkpoint::load(&path).unwrap();
        assert_eq!((&read.identity, &read.state), (&identity, &state));
        let (shape, values) = read.tensor(Section::Weights, "a.weight").unwrap();
        assert_eq!(shape, [2, 2]);
        assert_eq!(
            values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [1.0f32, -0.0, 3.5, 1e-40].map(f32::to_bits)
        );
        assert_eq!(read.tensor(Section::First, "a.weight").unwrap().1, [0.5; 4]);
        assert_eq!(read.tensor(Section::Second, "a.weight"), None);
    }

    #[test]
    fn a_file_cut_off_or_changed_anywhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, ..) = written(dir.path());
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..length], &path).is_err(), "cut off at {length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Checkpoint::from_bytes(&changed, &path).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (path, identity, state) = written(dir.path());
        let before = std::fs::read(&path).unwrap();
        let spec = TensorSpec { name: "a.weight".into(), shape: vec![4], same_as: None };
        let short = Entry { section: Section::Weights, spec, read: Box::new(|| vec![1.0]) };
        assert!(write(&path, &identity, &state, &[short]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no litter");
    }
}
