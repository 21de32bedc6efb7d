//! One or many models as one `.tar.zst`: `manifest.json` first, then `objects/<sha256>` for each file.
//!
//! An import trusts nothing: no entry is unpacked by its name. An entry's name must be one that the manifest implies,
//! its length is the manifest's, its content must have the hash of its name, and it is written to where the store keeps
//! that hash. So nothing in an archive can lie outside of the folder or be larger than it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::models::{at_row, by_id, insert, notes_of};
use super::{Model, Note, Registry, RegistryError, Stage, files};
use crate::atomic_file::write_atomic;

/// The format that this version writes and reads.
const FORMAT: u64 = 1;
const MANIFEST: &str = "manifest.json";
/// The most bytes of a manifest.
const MANIFEST_LIMIT: u64 = 256 << 20;
/// The most bytes of one file, 64 GiB.
const FILE_LIMIT: u64 = 64 << 30;
/// The largest window of zstd that is unpacked, as a power of two: bounds the memory that an archive can ask for.
const WINDOW: u32 = 27;
/// zstd's usual level: weights hardly shrink at higher ones.
const LEVEL: i32 = 3;

/// A model in a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Packed {
    #[serde(flatten)]
    model: Model,
    #[serde(default)]
    notes: Vec<Note>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: String,
    format_version: u64,
    program: String,
    models: Vec<Packed>,
}

/// What an import brought.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Imported {
    /// Ids of the models that are new.
    pub added: Vec<String>,
    /// Ids of those that were there already, the same.
    pub present: Vec<String>,
    /// Models that were in production where they come from; here another one is, so they are in staging.
    pub demoted: Vec<String>,
    /// Links to models that neither the archive nor the registry has; they were left out: `id -> missing id`.
    pub cut: Vec<String>,
}

impl Registry {
    /// Writes models, with their files, tags, notes, stages and lineage, into one archive; gives what was written.
    ///
    /// # Errors
    /// When a reference names nothing, a file is missing or damaged, or the archive cannot be written; there is no
    /// archive then.
    pub fn export(&self, references: &[String], archive: &Path) -> Result<Vec<Model>, RegistryError> {
        // What another process deletes meanwhile keeps its file until this is done.
        let _kept = self.saving()?;
        let packed = self.read(|c| {
            let rows: BTreeSet<i64> = references.iter().map(|r| self.row(c, r)).collect::<Result<_, _>>()?;
            // In the order of their rows, so parents come before children.
            rows.into_iter()
                .map(|row| Ok(Packed { model: at_row(c, row)?, notes: notes_of(c, row)? }))
                .collect::<Result<Vec<_>, RegistryError>>()
        })?;
        let models: Vec<Model> = packed.iter().map(|p| p.model.clone()).collect();
        let program = format!("nhits {}", env!("CARGO_PKG_VERSION"));
        let manifest = Manifest { format: "nhits-models".into(), format_version: FORMAT, program, models: packed };
        let manifest = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| RegistryError::Archive { path: archive.into(), detail: e.to_string() })?;
        let mut refused = None;
        let written = write_atomic(archive, |out| {
            let mut tar = tar::Builder::new(zstd::Encoder::new(out, LEVEL)?);
            let mut add = |name: String, bytes: &[u8]| {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                tar.append_data(&mut header, name, bytes)
            };
            add(MANIFEST.into(), &manifest)?;
            let mut done = BTreeSet::new();
            for model in &models {
                if !done.insert(model.sha256.as_str()) {
                    continue;
                }
                match self.files.get(&model.sha256, &model.reference()) {
                    Ok(bytes) => add(format!("objects/{}", model.sha256), &bytes)?,
                    Err(error) => {
                        refused = Some(error);
                        return Err(io::Error::other("a file cannot be read"));
                    }
                }
            }
            tar.into_inner()?.finish()?;
            Ok(())
        });
        match (refused, written) {
            (Some(error), _) => Err(error),
            (None, written) => written.map(|()| models).map_err(RegistryError::io("write", archive)),
        }
    }

    /// Reads an archive: all of its models, or none if anything is wrong with it.
    ///
    /// A model that is here already is left as it is. One that was in production stays so unless another one of its
    /// name is here.
    ///
    /// # Errors
    /// When the archive is damaged or not one, holds anything but what its manifest names, when one of its versions is
    /// here as another model, or the disk or the database refuses.
    pub fn import(&self, archive: &Path) -> Result<Imported, RegistryError> {
        let bad = |detail: String| RegistryError::Archive { path: archive.into(), detail };
        let unreadable = |e: io::Error| bad(format!("it cannot be unpacked: {e}"));
        let file = File::open(archive).map_err(|e| bad(format!("it cannot be opened: {e}")))?;
        let mut decoder = zstd::Decoder::new(file).map_err(unreadable)?;
        decoder.window_log_max(WINDOW).map_err(unreadable)?;
        let mut tar = tar::Archive::new(decoder);
        let mut entries = tar.entries().map_err(unreadable)?;
        let first = entries.next().ok_or_else(|| bad("it is empty".into()))?.map_err(unreadable)?;
        let manifest = read_manifest(first, &bad)?;
        let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
        for Packed { model, .. } in &manifest.models {
            if !files::is_hash(&model.sha256) || model.size > FILE_LIMIT {
                return Err(bad(format!("{} has no hash or an impossible size", model.reference())));
            }
            let id = model.id.as_str();
            if id.len() != 16 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad(format!("{} has the id `{id}`, expected 16 hex digits", model.reference())));
            }
            if wanted.insert(model.sha256.clone(), model.size).is_some_and(|size| size != model.size) {
                return Err(bad(format!("{} has two sizes", model.reference())));
            }
        }
        let _saving = self.saving()?;
        for entry in entries {
            let mut entry = entry.map_err(unreadable)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let known = name.strip_prefix("objects/").and_then(|h| Some((h.to_string(), wanted.remove(h)?)));
            let Some((sha256, size)) = known.filter(|_| entry.header().entry_type().is_file()) else {
                return Err(bad(format!("it holds `{name}`, which its manifest does not name as a file")));
            };
            if entry.size() != size {
                return Err(bad(format!("`{name}` has {} bytes, its manifest says {size}", entry.size())));
            }
            self.files.put_named(&sha256, size, &mut entry).map_err(|e| match e {
                RegistryError::Io { source, .. } if is_damage(&source) => bad(format!("`{name}` is damaged: {source}")),
                other => other,
            })?;
        }
        if let Some(sha256) = wanted.keys().next() {
            return Err(bad(format!("the file {sha256} is missing from it: it was cut off")));
        }
        self.write(|c| {
            let mut result = Imported::default();
            for Packed { model, notes } in &manifest.models {
                let mut model = Model { metadata: model.metadata.checked()?, ..model.clone() };
                if let Some(row) = by_id(c, &model.id)? {
                    let here = at_row(c, row)?;
                    if (here.sha256 == model.sha256) && here.reference() == model.reference() {
                        result.present.push(model.id);
                        continue;
                    }
                    return Err(bad(format!("the id {} belongs to {} here", model.id, here.reference())));
                }
                let id = model.id.clone();
                for link in [&mut model.metadata.parent, &mut model.metadata.fine_tuned_from] {
                    let missing = link.as_deref().map(|l| by_id(c, l)).transpose()?.is_some_and(|row| row.is_none());
                    if let Some(missing) = link.take_if(|_| missing) {
                        result.cut.push(format!("{id} -> {missing}"));
                    }
                }
                let another = "SELECT EXISTS (SELECT 1 FROM models WHERE name = ?1 AND stage = 'production')";
                if model.stage == Some(Stage::Production)
                    && c.prepare_cached(another)?.query_row([&model.metadata.name], |r| r.get(0))?
                {
                    model.stage = Some(Stage::Staging);
                    result.demoted.push(model.id.clone());
                }
                (model.created, model.updated) =
                    (super::time_stamp(&model.created)?, super::time_stamp(&model.updated)?);
                let row = insert(c, &model, self)?;
                for note in notes {
                    let created = super::time_stamp(&note.created)?;
                    c.execute(
                        "INSERT INTO notes (model, created, text) VALUES (?1, ?2, ?3)",
                        (row, created, &note.text),
                    )?;
                }
                result.added.push(model.id);
            }
            Ok(result)
        })
    }
}

/// Whether an error of reading says that the archive is bad, not the disk.
fn is_damage(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied | io::ErrorKind::FileTooLarge)
}

fn read_manifest<R: Read>(
    mut entry: tar::Entry<'_, R>,
    bad: &impl Fn(String) -> RegistryError,
) -> Result<Manifest, RegistryError> {
    if *entry.path_bytes() != *MANIFEST.as_bytes() || !entry.header().entry_type().is_file() {
        return Err(bad(format!("its first entry is not `{MANIFEST}`")));
    }
    if entry.size() > MANIFEST_LIMIT {
        return Err(bad(format!("its manifest has {} bytes, more than {MANIFEST_LIMIT}", entry.size())));
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(|e| bad(format!("it cannot be unpacked: {e}")))?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|e| bad(format!("its manifest is not valid: {e}")))?;
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(FORMAT) => {}
        Some(found) => return Err(bad(format!("it has format {found}, this program reads format {FORMAT}"))),
        None => return Err(bad("its manifest has no `format_version`".into())),
    }
    serde_json::from_value(value).map_err(|e| bad(format!("its manifest is not valid: {e}")))
}
