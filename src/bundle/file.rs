//! Reading and writing a bundle: every size is checked before it is trusted, and a file is whole or not there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use memmap2::MmapMut;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::quantized::{scale_name, zero_name};
use super::{
    Bundle, BundleError, FORMAT_VERSION, MADE_FORMAT, Manifest, QUANTIZED_FORMAT, QuantizedLayer, SeriesState,
};
use crate::atomic_file::write_atomic;
use crate::kernel::Int8Matrix;
use crate::model::{Checked, NamedTensor, first_not_finite};
use crate::transform::{ScalerKind, SeriesScaler, Step, TargetPipeline};
use crate::window::ColumnScalers;

/// The key of the manifest in the header's metadata.
const KEY: &str = "nhits";

/// What names of tensors that are no weights begin with.
const OTHERS: [&str; 2] = ["series.", "quantized."];

/// Bytes of the header's length.
const LENGTH: usize = 8;

impl Bundle {
    /// The bundle as the bytes of a file. The same bundle gives the same bytes.
    ///
    /// # Errors
    /// When a tensor's shape does not fit its data.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let bad = |name: &str, detail: String| BundleError::BadTensor {
            path: "the new bundle".into(),
            name: name.into(),
            detail,
        };
        // name, type, shape, bytes; the views below borrow the bytes.
        let mut parts: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for t in &self.weights {
            let bytes = t.data.iter().flat_map(|v| v.to_le_bytes()).collect();
            parts.push((t.name.clone(), Dtype::F32, t.shape.clone(), bytes));
        }
        for QuantizedLayer { layer, weight } in &self.integers {
            let bytes = |values: &[i8]| values.iter().map(|v| v.to_le_bytes()[0]).collect::<Vec<u8>>();
            let shape = vec![weight.outputs, weight.inputs];
            parts.push((format!("{layer}.weight"), Dtype::I8, shape, bytes(&weight.values)));
            let scales = weight.scales.iter().flat_map(|v| v.to_le_bytes()).collect();
            parts.push((scale_name(layer), Dtype::F32, vec![weight.scales.len()], scales));
            if let Some(zeros) = &weight.zeros {
                parts.push((zero_name(layer), Dtype::I8, vec![zeros.len()], bytes(zeros)));
            }
        }
        if let Some(series) = &self.series {
            let ids = serde_json::to_vec(&series.ids).map_err(|e| bad("series.ids", e.to_string()))?;
            parts.push(("series.ids".into(), Dtype::U8, vec![ids.len()], ids));
            let mut push = |name: String, values: &[f64]| {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                parts.push((name, Dtype::F64, vec![values.len()], bytes));
            };
            let mut scaler = |name: &str, s: &SeriesScaler| {
                push(format!("series.{name}.shift"), &s.shift);
                push(format!("series.{name}.scale"), &s.scale);
            };
            scaler("y", &series.scalers.y);
            series.scalers.hist.iter().enumerate().for_each(|(i, s)| scaler(&format!("hist.{i}"), s));
            series.scalers.futr.iter().enumerate().for_each(|(i, s)| scaler(&format!("futr.{i}"), s));
            let stat: Vec<f64> = series.scalers.stat.iter().flat_map(|(shift, scale)| [*shift, *scale]).collect();
            push("series.stat".into(), &stat);
            for (k, values) in series.target.fitted.iter().enumerate() {
                push(target_name(k), values);
            }
        }
        let mut views = Vec::with_capacity(parts.len());
        for (name, dtype, shape, bytes) in &parts {
            let view = TensorView::new(*dtype, shape.clone(), bytes)
                .map_err(|e| bad(name, format!("shape {shape:?}: {e}")))?;
            views.push((name.as_str(), view));
        }
        let manifest = serde_json::to_string(&self.manifest).map_err(|e| bad("manifest", e.to_string()))?;
        let metadata = HashMap::from([(KEY.to_string(), manifest)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| bad("file", e.to_string()))
    }

    /// Writes the bundle to `path`: aside, synced, renamed.
    ///
    /// # Errors
    /// When the file system refuses; the old file is untouched then.
    pub fn save(&self, path: &Path) -> Result<(), BundleError> {
        let bytes = self.to_bytes()?;
        write_atomic(path, |w| w.write_all(&bytes)).map_err(|e| BundleError::Write { detail: e.to_string() })
    }

    /// Reads the bundle at `path`.
    ///
    /// # Errors
    /// See [`BundleError`]; the message names the file, what was found and what was expected.
    pub fn load(path: &Path) -> Result<Self, BundleError> {
        let failed = |source| BundleError::Io { action: "read", path: path.into(), source };
        let mut file = File::open(path).map_err(failed)?;
        let known = file.metadata().map_err(failed)?;
        // What is no file (a pipe) does not know how long it is, and there are no pages for nothing.
        if !known.is_file() || known.len() < LENGTH as u64 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(failed)?;
            return Self::from_bytes(&bytes, path);
        }
        // Room for the whole file, of which only what is written to takes memory: weights go from the file to where they
        // belong. Pages that are not the allocator's go back to the system afterwards.
        let mut pages = MmapMut::map_anon(usize::try_from(known.len()).unwrap_or(usize::MAX)).map_err(failed)?;
        read_header(&mut file, &mut pages).map_err(failed)?;
        // What is wrong with a header is said below.
        if let Ok((header, metadata)) = SafeTensors::read_metadata(&pages) {
            for (name, info) in metadata.tensors().into_iter().filter(|(name, info)| !stays_in_file(name, info.dtype)) {
                let [from, to] = [info.data_offsets.0, info.data_offsets.1].map(|at| LENGTH + header + at);
                let part = pages.get_mut(from..to).ok_or_else(|| BundleError::BadTensor {
                    path: path.into(),
                    name,
                    detail: "lies beyond the file".into(),
                })?;
                file.seek(SeekFrom::Start(from as u64)).and_then(|_| file.read_exact(part)).map_err(failed)?;
            }
        }
        Self::read(&pages, path, Some(&file))
    }

    /// Reads a bundle from the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// See [`Bundle::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, BundleError> {
        Self::read(bytes, path, None)
    }

    /// [`Bundle::from_bytes`], where the bytes of tensors that [stay there](stays_in_file) are still in `file`.
    fn read(bytes: &[u8], path: &Path, file: Option<&File>) -> Result<Self, BundleError> {
        let damaged = |detail: String| BundleError::NotSafetensors { path: path.into(), detail };
        if bytes.len() < LENGTH {
            return Err(damaged(format!("it has {} bytes, the header's length alone takes 8", bytes.len())));
        }
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let text = metadata
            .metadata()
            .as_ref()
            .and_then(|m| m.get(KEY))
            .ok_or_else(|| BundleError::NoManifest { path: path.into() })?;
        let (manifest, model) = read_manifest(text, path)?;
        let reader = Reader { tensors: &tensors, path };
        let integers = reader.integers(&manifest, &model)?;
        let is_integer =
            |name: &str| name.strip_suffix(".weight").is_some_and(|layer| integers.iter().any(|q| q.layer == layer));
        let floats =
            tensors.iter().filter(|(name, _)| !OTHERS.iter().any(|p| name.starts_with(p)) && !is_integer(name));
        // Several at a time: most of the work are fresh pages for them. The first error is told, as if one came after the other.
        let weights: Vec<Result<NamedTensor, BundleError>> = floats
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|(name, view)| {
                Ok(NamedTensor {
                    name: name.to_string(),
                    shape: view.shape().to_vec(),
                    data: match (file, metadata.info(name)) {
                        (Some(file), Some(info)) if stays_in_file(name, info.dtype) => {
                            let failed = |source| BundleError::Io { action: "read", path: path.into(), source };
                            let at = LENGTH + header + info.data_offsets.0;
                            floats_at(file, at as u64, view.data().len() / 4).map_err(failed)?
                        }
                        _ => reader.floats(name, &view)?,
                    },
                })
            })
            .collect();
        let mut weights = weights.into_iter().collect::<Result<Vec<_>, _>>()?;
        weights.sort_by(|a, b| a.name.cmp(&b.name));
        check_weights(&model, &weights, is_integer, path)?;
        let series = tensors.names().contains(&"series.ids").then(|| reader.series(&manifest)).transpose()?;
        Ok(Self { manifest, weights, series, integers })
    }
}

/// Whether a tensor is a weight in f32, which is read from the file to where it belongs.
fn stays_in_file(name: &str, dtype: Dtype) -> bool {
    dtype == Dtype::F32 && !OTHERS.iter().any(|prefix| name.starts_with(prefix))
}

/// Reads the header to the beginning of `pages`, as far as it is one: what is longer than the file is none.
fn read_header(file: &mut File, pages: &mut [u8]) -> std::io::Result<()> {
    file.read_exact(&mut pages[..LENGTH])?;
    let length = pages.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(LENGTH);
    pages.get_mut(LENGTH..end).map_or(Ok(()), |header| file.read_exact(header))
}

/// Reads `n` values in f32 that begin at a byte of a file.
fn floats_at(file: &File, at: u64, n: usize) -> std::io::Result<Vec<f32>> {
    let mut values = vec![0.0; n];
    read_at(file, at, bytemuck::cast_slice_mut(&mut values))?;
    // What was read lies in the file's order, which is little-endian.
    values.iter_mut().for_each(|v: &mut f32| *v = f32::from_bits(u32::from_le(v.to_bits())));
    Ok(values)
}

/// Fills `bytes` from a place in a file that other threads may be reading too.
#[cfg(unix)]
fn read_at(file: &File, at: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// The same, one thread after the other: a file has one position.
#[cfg(not(unix))]
fn read_at(mut file: &File, at: u64, bytes: &mut [u8]) -> std::io::Result<()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

/// The tensor of what step `k` of the target's transforms fitted.
fn target_name(k: usize) -> String {
    format!("series.target.{k}")
}

/// Parses the manifest: the format's number first, so that a newer file is told apart from a damaged one.
fn read_manifest(text: &str, path: &Path) -> Result<(Manifest, Checked), BundleError> {
    let bad = |detail: String| BundleError::BadManifest { path: path.into(), detail };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    let found = value
        .get("format_version")
        .and_then(serde_json::Value::as_u64)
        .ok_or_else(|| bad("`format_version` is missing or not a number".into()))?;
    if found > u64::from(FORMAT_VERSION) {
        return Err(BundleError::Newer { path: path.into(), found, supported: FORMAT_VERSION });
    }
    if found == 0 {
        return Err(bad("`format_version` is 0, the first format is 1".into()));
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
    if manifest.quantization.is_some() && manifest.format_version < QUANTIZED_FORMAT {
        let found = manifest.format_version;
        return Err(bad(format!("`format_version` is {found}, integer weights came with {QUANTIZED_FORMAT}")));
    }
    let model = manifest.model.check().map_err(|e| bad(e.to_string()))?;
    manifest.loss.check().map_err(|e| bad(e.to_string()))?;
    if manifest.makes_columns() && manifest.format_version < MADE_FORMAT {
        return Err(bad(format!(
            "`format_version` is {}, transforms and features came with {MADE_FORMAT}",
            manifest.format_version
        )));
    }
    manifest.target.iter().try_for_each(Step::check).map_err(|e| bad(e.to_string()))?;
    manifest.features.check().map_err(|e| bad(e.to_string()))?;
    let (made, names) = (&manifest.features.columns, &manifest.columns);
    if !names.hist_exog.ends_with(&made.hist_names()) || !names.futr_exog.ends_with(&made.futr_names()) {
        return Err(bad("`columns` does not end with the columns of `features`".into()));
    }
    let columns = &manifest.columns;
    for (what, names, wanted) in [
        ("hist_exog", columns.hist_exog.len(), manifest.model.hist_exog),
        ("futr_exog", columns.futr_exog.len(), manifest.model.futr_exog),
        ("stat_exog", columns.stat_exog.len(), manifest.model.stat_exog),
    ] {
        if names != wanted {
            return Err(bad(format!("`columns.{what}` names {names} columns, the network has {wanted}")));
        }
    }
    let (named, tables) = (&columns.stat_cat, &manifest.model.embeddings);
    if named.len() != tables.len() || named.iter().zip(tables).any(|(c, t)| c.levels.len() != t.categories) {
        return Err(bad(format!(
            "`columns.stat_cat` names {} columns of categories, the network has {} embeddings, of other sizes perhaps",
            named.len(),
            tables.len()
        )));
    }
    if let Some(column) = named.iter().find(|c| !c.levels.is_sorted_by(|a, b| a < b)) {
        return Err(bad(format!("the categories of `{}` are not sorted, or not each there once", column.name)));
    }
    if manifest.loss.n_outputs() != manifest.model.outputs {
        return Err(bad(format!(
            "the loss has {} outputs per step, the network {}",
            manifest.loss.n_outputs(),
            manifest.model.outputs
        )));
    }
    Ok((manifest, model))
}

/// That the file has every weight of the network, in its shape and finite: a network is built from checked weights only.
/// `elsewhere` tells the weights that are no floats, which were checked when they were read.
pub(super) fn check_weights(
    model: &Checked,
    weights: &[NamedTensor],
    elsewhere: impl Fn(&str) -> bool,
    path: &Path,
) -> Result<(), BundleError> {
    let by_name: HashMap<&str, &NamedTensor> = weights.iter().map(|t| (t.name.as_str(), t)).collect();
    let bad = |name: &str, detail: String| BundleError::BadTensor { path: path.into(), name: name.into(), detail };
    for spec in model.tensor_specs().into_iter().filter(|spec| !elsewhere(&spec.name)) {
        let Some(found) = by_name.get(spec.name.as_str()) else {
            // A shared slope may well be there under one name only.
            if spec.same_as.is_some() {
                continue;
            }
            return Err(bad(&spec.name, format!("is missing, expected one of shape {:?}", spec.shape)));
        };
        if found.shape != spec.shape || found.data.len() != spec.shape.iter().product::<usize>() {
            return Err(bad(&spec.name, format!("has shape {:?}, expected {:?}", found.shape, spec.shape)));
        }
        if let Some(at) = first_not_finite(&found.data) {
            return Err(bad(&spec.name, format!("value {at} is {}, expected finite numbers", found.data[at])));
        }
    }
    Ok(())
}

/// Typed access to the tensors of a file.
struct Reader<'a> {
    tensors: &'a SafeTensors<'a>,
    path: &'a Path,
}

impl Reader<'_> {
    fn bad(&self, name: &str, detail: impl Into<String>) -> BundleError {
        BundleError::BadTensor { path: self.path.into(), name: name.into(), detail: detail.into() }
    }

    fn floats(&self, name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, BundleError> {
        if view.dtype() != Dtype::F32 {
            return Err(self.bad(name, format!("has type {:?}, expected F32", view.dtype())));
        }
        // Four bytes each: safetensors checked the length against shape and type.
        Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// The integers of the layers that the manifest names, with their scales.
    fn integers(&self, manifest: &Manifest, model: &Checked) -> Result<Vec<QuantizedLayer>, BundleError> {
        let Some(record) = &manifest.quantization else { return Ok(Vec::new()) };
        let bad = |detail: String| BundleError::BadManifest { path: self.path.into(), detail };
        record.inputs(model).map_err(bad)?;
        record.config.check().map_err(|e| bad(e.to_string()))?;
        let specs = model.tensor_specs();
        let layer = |layer: &String| {
            let name = format!("{layer}.weight");
            // `inputs` refused names that are no layers of the network, and a layer's weight has two dimensions.
            let shape = specs.iter().find(|s| s.name == name).map(|s| s.shape.clone()).unwrap_or_default();
            let bytes = self.signed(&name, &shape)?;
            let (scale_name, zero_name) = (scale_name(layer), zero_name(layer));
            let scales = self.tensors.tensor(&scale_name).map_err(|_| self.bad(&scale_name, "is missing"))?;
            if scales.shape() != [1] && scales.shape() != [shape[0]] {
                let found = scales.shape();
                return Err(self.bad(&scale_name, format!("has shape {found:?}, expected [1] or [{}]", shape[0])));
            }
            let scales = self.floats(&scale_name, &scales)?;
            let zeros = match self.tensors.tensor(&zero_name) {
                Ok(_) => Some(self.signed(&zero_name, &[scales.len()])?),
                Err(_) if record.config.symmetric => None,
                Err(_) => return Err(self.bad(&zero_name, "is missing")),
            };
            let weight = Int8Matrix { outputs: shape[0], inputs: shape[1], values: bytes, scales, zeros };
            weight.check().map_err(|e| {
                let name = match e.field.as_str() {
                    "scale" => &scale_name,
                    "zero_point" => &zero_name,
                    _ => &name,
                };
                self.bad(name, format!("is {}, expected {}", e.value, e.allowed))
            })?;
            Ok(QuantizedLayer { layer: layer.clone(), weight })
        };
        record.layers.iter().map(|l| layer(&l.layer)).collect()
    }

    /// The values of an I8 tensor of a shape.
    fn signed(&self, name: &str, shape: &[usize]) -> Result<Vec<i8>, BundleError> {
        let view = self.tensors.tensor(name).map_err(|_| self.bad(name, "is missing"))?;
        if view.dtype() != Dtype::I8 || view.shape() != shape {
            let detail = format!("is {:?} of shape {:?}, expected I8 of shape {shape:?}", view.dtype(), view.shape());
            return Err(self.bad(name, detail));
        }
        Ok(view.data().iter().map(|b| i8::from_le_bytes([*b])).collect())
    }

    fn doubles(&self, name: &str, length: usize) -> Result<Vec<f64>, BundleError> {
        let view = self.tensors.tensor(name).map_err(|_| self.bad(name, "is missing"))?;
        if view.dtype() != Dtype::F64 || view.shape() != [length] {
            return Err(self.bad(
                name,
                format!("is {:?} of shape {:?}, expected F64 of shape [{length}]", view.dtype(), view.shape()),
            ));
        }
        let values: Vec<f64> =
            view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or([0; 8]))).collect();
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(self.bad(name, format!("value {i} is {}, expected a finite number", values[i]))),
            None => Ok(values),
        }
    }

    fn scaler(&self, name: &str, kind: ScalerKind, n: usize) -> Result<SeriesScaler, BundleError> {
        let shift = self.doubles(&format!("series.{name}.shift"), n)?;
        let scale_name = format!("series.{name}.scale");
        let scale = self.doubles(&scale_name, n)?;
        if let Some(i) = scale.iter().position(|s| *s <= 0.0) {
            return Err(self.bad(&scale_name, format!("value {i} is {}, expected a number > 0", scale[i])));
        }
        Ok(SeriesScaler { kind, shift, scale })
    }

    fn series(&self, manifest: &Manifest) -> Result<SeriesState, BundleError> {
        let view = self.tensors.tensor("series.ids").map_err(|_| self.bad("series.ids", "is missing"))?;
        let ids: Vec<String> = serde_json::from_slice(view.data())
            .map_err(|e| self.bad("series.ids", format!("is not a JSON list of names: {e}")))?;
        let (n, kind) = (ids.len(), manifest.scaler);
        let many = |prefix: &str, count: usize| {
            (0..count).map(|i| self.scaler(&format!("{prefix}.{i}"), kind, n)).collect::<Result<Vec<_>, _>>()
        };
        let stat = self.doubles("series.stat", 2 * manifest.model.stat_exog)?;
        if let Some(scale) = stat.iter().skip(1).step_by(2).find(|s| **s <= 0.0) {
            return Err(self.bad("series.stat", format!("holds a scale of {scale}, expected numbers > 0")));
        }
        let scalers = ColumnScalers {
            y: self.scaler("y", kind, n)?,
            hist: many("hist", manifest.model.hist_exog)?,
            futr: many("futr", manifest.model.futr_exog)?,
            stat: stat.chunks_exact(2).map(|p| (p[0], p[1])).collect(),
            as_is: manifest.features.columns.n_futr(),
        };
        let fitted = manifest.target.iter().enumerate().map(|(k, step)| {
            let name = target_name(k);
            let length = n.checked_mul(step.transform().width()).ok_or_else(|| self.bad(&name, "is too long"))?;
            self.doubles(&name, length)
        });
        let target =
            TargetPipeline { steps: manifest.target.clone(), fitted: fitted.collect::<Result<_, _>>()?, n_series: n };
        target.check(n).map_err(|e| self.bad("series.target", e.to_string()))?;
        Ok(SeriesState { ids, scalers, target })
    }
}
