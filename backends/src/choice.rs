//! Which backend and device to take: the user's words, what is compiled in, and the errors between the two.

use std::fmt;
use std::str::FromStr;

/// A backend that this crate knows, compiled in or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendInfo {
    /// The name on the command line, also the cargo feature.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether this build has it.
    pub compiled_in: bool,
    /// Whether two runs of the same seed give the same bits.
    pub deterministic: bool,
}

/// Every backend this crate knows, fastest first: the order in which one is taken without `--backend`.
pub const BACKENDS: &[BackendInfo] = &[
    BackendInfo {
        name: "flex",
        about: "pure-Rust CPU backend with SIMD (AVX-512 where the CPU has it)",
        compiled_in: cfg!(feature = "flex"),
        deterministic: true,
    },
    BackendInfo {
        name: "ndarray",
        about: "CPU backend on the ndarray crate",
        compiled_in: cfg!(feature = "ndarray"),
        deterministic: true,
    },
];

/// The backends of this build, fastest first.
pub fn compiled_in() -> impl Iterator<Item = &'static BackendInfo> {
    BACKENDS.iter().filter(|b| b.compiled_in)
}

/// A device as the user names it: `auto`, `cpu`, `gpu` (the first one), `gpu:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// Whatever the backend has.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of that number.
    Gpu(usize),
}

impl FromStr for Device {
    type Err = BackendError;

    fn from_str(s: &str) -> Result<Self, BackendError> {
        let unknown = || BackendError::UnknownDevice { given: s.to_string() };
        match s.to_ascii_lowercase().as_str() {
            "auto" => Ok(Device::Auto),
            "cpu" => Ok(Device::Cpu),
            "gpu" => Ok(Device::Gpu(0)),
            other => {
                let number = other.strip_prefix("gpu:").ok_or_else(unknown)?;
                number.parse().map(Device::Gpu).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Gpu(n) => write!(f, "gpu:{n}"),
        }
    }
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// `--backend NAME`; without it the fastest usable one is taken.
    pub backend: Option<String>,
    /// `--device`.
    pub device: Device,
}

/// What was taken for a [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The backend's name.
    pub backend: &'static str,
    /// The device; never [`Device::Auto`].
    pub device: Device,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.backend, self.device)
    }
}

/// Why a backend or device cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A name that no backend has.
    #[error("unknown backend `{given}`: expected one of {known}")]
    Unknown {
        /// What was given.
        given: String,
        /// The names there are.
        known: String,
    },
    /// A backend that this build lacks.
    #[error("backend `{name}` is not compiled in: build with `--features {feature}`")]
    NotCompiledIn {
        /// The backend.
        name: String,
        /// The cargo feature that brings it.
        feature: String,
    },
    /// A backend that this version of the project does not have yet.
    #[error("backend `{name}` does not exist in this version: it has {known}", known = known_names())]
    NotInThisVersion {
        /// The backend.
        name: String,
    },
    /// This build has no backend at all.
    #[error("no backend is compiled in: build with the default features, or with `--features ndarray`")]
    None,
    /// A device word that means nothing.
    #[error("unknown device `{given}`: expected auto, cpu, gpu or gpu:N")]
    UnknownDevice {
        /// What was given.
        given: String,
    },
    /// A device that the backend does not have.
    #[error("backend `{backend}` has no device `{device}`: it runs on {has}")]
    NoDevice {
        /// The backend.
        backend: String,
        /// What was asked for.
        device: String,
        /// What it has.
        has: String,
    },
}

impl BackendError {
    /// A stable word for the error.
    pub fn kind(&self) -> &'static str {
        match self {
            BackendError::Unknown { .. } => "unknown-backend",
            BackendError::NotCompiledIn { .. } => "backend-not-compiled-in",
            BackendError::NotInThisVersion { .. } => "backend-not-in-this-version",
            BackendError::None => "no-backend",
            BackendError::UnknownDevice { .. } => "unknown-device",
            BackendError::NoDevice { .. } => "no-such-device",
        }
    }
}

/// The names of all backends, for messages.
fn known_names() -> String {
    BACKENDS.iter().map(|b| b.name).collect::<Vec<_>>().join(", ")
}

/// Names of backends that other builds of the project may have; asking for one is not a typo.
const PLANNED: &[&str] = &["wgpu", "vulkan", "metal", "webgpu", "tch-cpu", "tch-cuda", "cuda"];

/// Takes a backend and a device for `choice`.
///
/// # Errors
/// See [`BackendError`].
pub fn resolve(choice: &Choice) -> Result<Taken, BackendError> {
    let info = match &choice.backend {
        Some(name) => match BACKENDS.iter().find(|b| b.name == name) {
            Some(info) if info.compiled_in => info,
            Some(info) => {
                return Err(BackendError::NotCompiledIn { name: name.clone(), feature: info.name.to_string() });
            }
            None if PLANNED.contains(&name.as_str()) => {
                return Err(BackendError::NotInThisVersion { name: name.clone() });
            }
            None => {
                return Err(BackendError::Unknown { given: name.clone(), known: known_names() });
            }
        },
        None => compiled_in().next().ok_or(BackendError::None)?,
    };
    match choice.device {
        Device::Auto | Device::Cpu => Ok(Taken { backend: info.name, device: Device::Cpu }),
        Device::Gpu(_) => Err(BackendError::NoDevice {
            backend: info.name.to_string(),
            device: choice.device.to_string(),
            has: "the CPU only".to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        assert_eq!("gpu:2".parse(), Ok(Device::Gpu(2)));
        assert_eq!("GPU".parse(), Ok(Device::Gpu(0)));
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert!(matches!("gpu:x".parse::<Device>(), Err(BackendError::UnknownDevice { .. })));
    }

    #[test]
    fn a_gpu_is_refused_not_replaced() {
        let Some(first) = compiled_in().next() else { return };
        let choice = Choice { backend: Some(first.name.to_string()), device: Device::Gpu(0) };
        assert!(matches!(resolve(&choice), Err(BackendError::NoDevice { .. })));
        let taken = resolve(&Choice::default()).unwrap();
        assert_eq!(taken, Taken { backend: first.name, device: Device::Cpu });
    }

    #[test]
    fn absent_backends_are_told_apart() {
        let ask = |name: &str| resolve(&Choice { backend: Some(name.to_string()), device: Device::Auto });
        assert!(matches!(ask("flox"), Err(BackendError::Unknown { .. })));
        assert!(matches!(ask("wgpu"), Err(BackendError::NotInThisVersion { .. })));
        for b in BACKENDS.iter().filter(|b| !b.compiled_in) {
            let error = ask(b.name).unwrap_err().to_string();
            assert!(error.contains(&format!("--features {}", b.name)), "{error}");
        }
    }
}
