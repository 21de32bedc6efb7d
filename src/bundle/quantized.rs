//! The 8-bit part of a bundle: which layers are integers, their scales, and how they came about.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::QUANTIZED_FORMAT;
use super::{Bundle, BundleError, Manifest};
use crate::error::InvalidSetting;
use crate::kernel::{Int8Input, Int8Matrix};
use crate::model::{Checked, LayerInput, ModelError, NamedTensor, Quantization, QuantizationConfig};

/// How a model came to its integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuantizedBy {
    /// A trained model was rounded.
    PostTraining,
    /// It was trained with rounding in its forward pass.
    Qat,
}

impl QuantizedBy {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PostTraining => "post-training",
            Self::Qat => "qat",
        }
    }
}

/// A layer whose weights are integers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizedInput {
    /// Its name: that of its weight without the ending, `blocks.0.layers.0`.
    pub layer: String,
    /// How its input is laid on integers.
    pub input: LayerInput,
}

/// What a manifest says of a quantized model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizationRecord {
    /// How it came about.
    pub method: QuantizedBy,
    /// The settings.
    pub config: QuantizationConfig,
    /// SHA-256 of the file of the float model that it was made from; none where there was none.
    pub float_parent: Option<String>,
    /// The layers whose weights are integers, in their order.
    pub layers: Vec<QuantizedInput>,
}

impl QuantizationRecord {
    /// The inputs of all layers of a network, in their order; an error names a layer that cannot be.
    pub(super) fn inputs(&self, network: &Checked) -> Result<Vec<Option<LayerInput>>, String> {
        let names = network.layer_names();
        let mut inputs = vec![None; names.len()];
        if self.layers.is_empty() {
            return Err("`quantization.layers` is empty, expected at least one layer".into());
        }
        for QuantizedInput { layer, input } in &self.layers {
            let at = names.iter().position(|n| n == layer);
            let at = at.ok_or_else(|| format!("`quantization.layers` names `{layer}`, which the network lacks"))?;
            if inputs[at].replace(*input).is_some() {
                return Err(format!("`quantization.layers` names `{layer}` twice"));
            }
            match input {
                LayerInput::Fixed { scale, .. } if !(scale.is_finite() && *scale > 0.0) => {
                    return Err(format!("the input of `{layer}` has scale {scale}, expected a finite number > 0"));
                }
                LayerInput::Learned { .. } => {
                    return Err(format!(
                        "the range of the input of `{layer}` is to be learned, expected a settled one"
                    ));
                }
                _ => {}
            }
        }
        Ok(inputs)
    }
}

/// The integers of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLayer {
    /// Its name, as in [`QuantizedInput::layer`].
    pub layer: String,
    /// Its weights.
    pub weight: Int8Matrix,
}

impl Bundle {
    /// The network's settings, with what is quantized.
    ///
    /// # Errors
    /// When the settings of the network are not allowed.
    pub fn network(&self) -> Result<Checked, ModelError> {
        let network = self.manifest.model.check()?;
        let Some(record) = &self.manifest.quantization else { return Ok(network) };
        let invalid =
            |detail| InvalidSetting::new("quantization", "the manifest's", detail, "quantize the model again");
        let layers = record.inputs(&network).map_err(invalid)?;
        Ok(network.with_quantization(Quantization { layers, rounding: None }))
    }

    /// `float32`, or `int8` where layers are integers.
    pub fn precision(&self) -> &'static str {
        if self.manifest.quantization.is_some() { "int8" } else { "float32" }
    }

    /// SHA-256 of the bundle's bytes, in hex: what a quantized model calls its float parent.
    ///
    /// # Errors
    /// See [`Bundle::to_bytes`].
    pub fn sha256(&self) -> Result<String, BundleError> {
        Ok(Sha256::digest(self.to_bytes()?).iter().map(|b| format!("{b:02x}")).collect())
    }

    /// This model with the weights of layers as integers: `inputs` holds how the input of each layer is treated, in the
    /// order of [`Checked::layer_names`], and nothing for a layer that stays in f32.
    ///
    /// # Errors
    /// A setting that is not allowed, or a model that is quantized already.
    pub fn quantized(
        &self,
        config: &QuantizationConfig,
        inputs: &[Option<LayerInput>],
        method: QuantizedBy,
        float_parent: Option<String>,
    ) -> Result<Self, ModelError> {
        let network = self.manifest.model.check()?;
        config.check_for(&network)?;
        if self.manifest.quantization.is_some() {
            let remedy = "quantize the float model that it was made from";
            return Err(InvalidSetting::new("model", "an int8 model", "a float model", remedy).into());
        }
        let mut weights = self.weights.clone();
        let (mut layers, mut integers) = (Vec::new(), Vec::new());
        for (layer, input) in network.layer_names().into_iter().zip(inputs) {
            let Some(input) = *input else { continue };
            let name = format!("{layer}.weight");
            let found = weights.iter().position(|t| t.name == name);
            let found = found.ok_or_else(|| ModelError::MissingTensor { name: name.clone(), expected: vec![] })?;
            let weight = weights.remove(found);
            let [outputs, inputs] = weight.shape[..] else {
                let (found, values) = (weight.shape.clone(), weight.data.len());
                return Err(ModelError::TensorShape { name, expected: vec![0, 0], found, values });
            };
            let matrix = Int8Matrix::from_floats(&weight.data, outputs, inputs, config.scheme());
            integers.push(QuantizedLayer { layer: layer.clone(), weight: matrix });
            layers.push(QuantizedInput { layer, input });
        }
        let record = QuantizationRecord { method, config: config.clone(), float_parent, layers };
        record
            .inputs(&network)
            .map_err(|detail| InvalidSetting::new("quantize", "these layers", detail, "leave fewer layers in f32"))?;
        let manifest =
            Manifest { format_version: QUANTIZED_FORMAT, quantization: Some(record), ..self.manifest.clone() };
        Ok(Self { manifest, weights, series: self.series.clone(), integers })
    }

    /// The weights that integers stand for, of the layers whose input is treated as `wanted` wants it.
    pub fn unpacked(&self, wanted: impl Fn(LayerInput) -> bool) -> Vec<NamedTensor> {
        let layers = self.manifest.quantization.iter().flat_map(|record| &record.layers);
        let layers =
            layers.filter(|l| wanted(l.input)).filter_map(|l| self.integers.iter().find(|q| q.layer == l.layer));
        let unpacked = layers.map(|QuantizedLayer { layer, weight }| NamedTensor {
            name: format!("{layer}.weight"),
            shape: vec![weight.outputs, weight.inputs],
            data: weight.to_floats(),
        });
        unpacked.collect()
    }

    /// How the input of a layer is treated, and its integers; nothing for a layer in f32.
    pub fn quantized_layer(&self, layer: &str) -> Option<(LayerInput, &Int8Matrix)> {
        let record = self.manifest.quantization.as_ref()?;
        let input = record.layers.iter().find(|l| l.layer == layer)?.input;
        Some((input, &self.integers.iter().find(|l| l.layer == layer)?.weight))
    }
}

/// The range that a settled input has.
pub fn settled(input: LayerInput) -> Option<Int8Input> {
    match input {
        LayerInput::Fixed { scale, zero } => Some(Int8Input { scale, zero }),
        _ => None,
    }
}

/// Names of the tensors beside a layer's integers.
pub(super) fn scale_name(layer: &str) -> String {
    format!("quantized.{layer}.weight.scale")
}

/// See [`scale_name`].
pub(super) fn zero_name(layer: &str) -> String {
    format!("quantized.{layer}.weight.zero_point")
}
