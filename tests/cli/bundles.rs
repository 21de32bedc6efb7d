//! Taking a bundle apart and putting it together again with something wrong in it.

use serde_json::{Map, Value, json};

/// A safetensors file in its parts.
#[derive(Clone)]
pub struct Parts {
    /// The header without the metadata.
    pub tensors: Map<String, Value>,
    /// The manifest, if the metadata has one.
    pub manifest: Value,
    /// The bytes behind the header.
    pub data: Vec<u8>,
}

impl Parts {
    pub fn of(bytes: &[u8]) -> Self {
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut tensors: Map<String, Value> = serde_json::from_slice(&bytes[8..8 + n]).unwrap();
        let metadata = tensors.remove("__metadata__").unwrap_or_default();
        let manifest = metadata["nhits"].as_str().map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        Self { tensors, manifest, data: bytes[8 + n..].to_vec() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut header = self.tensors.clone();
        if !self.manifest.is_null() {
            header.insert("__metadata__".into(), json!({"nhits": self.manifest.to_string()}));
        }
        file(&Value::Object(header).to_string(), &self.data)
    }

    /// Where the bytes of a tensor are.
    pub fn range(&self, name: &str) -> std::ops::Range<usize> {
        let offsets = &self.tensors[name]["data_offsets"];
        offsets[0].as_u64().unwrap() as usize..offsets[1].as_u64().unwrap() as usize
    }

    /// The bytes of a tensor.
    pub fn tensor(&self, name: &str) -> &[u8] {
        &self.data[self.range(name)]
    }

    /// Overwrites the first value of a tensor.
    pub fn poke(&mut self, name: &str, value: &[u8]) {
        let at = self.range(name).start;
        self.data[at..at + value.len()].copy_from_slice(value);
    }

    /// Everything that was learned or fitted, by name: the weights and scalers without what describes the run.
    pub fn learned(&self) -> Vec<(&str, &[u8])> {
        self.tensors.keys().map(|name| (name.as_str(), self.tensor(name))).collect()
    }
}

/// A safetensors file with this header, whatever it says.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}
