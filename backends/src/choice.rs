//! Which backend and device to take: the user's words, what is compiled in, and the errors between the two.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::kind::{BackendInfo, DeviceInfo, Missing};
use crate::{BACKENDS, compiled_in};

/// A device as the user names it: `auto`, `cpu`, `gpu` (the first one), `gpu:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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

/// A backend that would have come first, and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name.
    pub backend: &'static str,
    /// What is missing, and the remedy.
    pub missing: Missing,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backend, self.missing.reason)
    }
}

/// Why a backend or device cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A name that no backend has.
    #[error("unknown backend `{given}`: expected one of {known}", known = known_names())]
    Unknown {
        /// What was given.
        given: String,
    },
    /// A backend that this build lacks.
    #[error("backend `{name}` is not compiled in: build with `--features {feature}`")]
    NotCompiledIn {
        /// The backend.
        name: String,
        /// The cargo feature that brings it.
        feature: String,
    },
    /// This build has no backend at all.
    #[error("no backend is compiled in: build with the default features, or with `--features ndarray`")]
    None,
    /// No backend of this build has a device.
    #[error("no backend of this program has a usable device: {why}")]
    NoneUsable {
        /// What each of them says.
        why: String,
    },
    /// A backend without a device on this machine.
    #[error("backend `{backend}` has no usable device: {reason}")]
    Missing {
        /// The backend.
        backend: String,
        /// What is missing.
        reason: String,
        /// What would help.
        remedy: String,
    },
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
    /// A device that no backend of this program has.
    #[error("no backend of this program has a device `{device}`: {why}")]
    NoSuchDevice {
        /// What was asked for.
        device: String,
        /// What each backend has.
        why: String,
    },
    /// A device named twice.
    #[error("device `{device}` is named twice")]
    Twice {
        /// The device.
        device: String,
    },
}

impl BackendError {
    /// A stable word for the error.
    pub fn kind(&self) -> &'static str {
        match self {
            BackendError::Unknown { .. } => "unknown-backend",
            BackendError::NotCompiledIn { .. } => "backend-not-compiled-in",
            BackendError::None => "no-backend",
            BackendError::NoneUsable { .. } | BackendError::Missing { .. } => "device-missing",
            BackendError::UnknownDevice { .. } => "unknown-device",
            BackendError::NoDevice { .. } | BackendError::NoSuchDevice { .. } => "no-such-device",
            BackendError::Twice { .. } => "device-twice",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            BackendError::Missing { remedy, .. } => remedy.clone(),
            BackendError::Twice { .. } => "name each device once".into(),
            BackendError::NoneUsable { .. } => {
                "build with the default features, which have a CPU backend; `nhits backends` says what each one lacks"
                    .into()
            }
            _ => "`nhits backends` lists what this build has".into(),
        }
    }
}

/// The names of all backends, for messages.
fn known_names() -> String {
    BACKENDS.iter().map(|b| b.name).collect::<Vec<_>>().join(", ")
}

/// The devices of a backend that also compute, each tried once per process: the GPUs with a sum, which takes their
/// driver to work; the CPU as it is.
fn usable(info: &'static BackendInfo) -> Result<Vec<DeviceInfo>, Missing> {
    type Known = HashMap<&'static str, Result<Vec<DeviceInfo>, Missing>>;
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(info.name).or_insert_with(|| info.devices()).clone()
}

/// Whether a device computes; found out once per process.
fn works(info: &'static BackendInfo, device: &DeviceInfo) -> Result<(), Missing> {
    type Tried = HashMap<(&'static str, Device), Result<(), String>>;
    static TRIED: OnceLock<Mutex<Tried>> = OnceLock::new();
    if device.device == Device::Cpu && !device.software {
        return Ok(());
    }
    let mut tried = TRIED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let result = tried.entry((info.name, device.device)).or_insert_with(|| (info.touch)(device)).clone();
    result.map_err(|detail| {
        Missing::new(
            format!("{} ({}) is there and does not compute: {detail}", device.device, device.name),
            "update its driver, or take another backend with --backend",
        )
    })
}

/// The device of one backend that a word names, tried.
fn device_of(info: &'static BackendInfo, word: Device) -> Result<DeviceInfo, BackendError> {
    let missing = |m: Missing| BackendError::Missing { backend: info.name.into(), reason: m.reason, remedy: m.remedy };
    let devices = usable(info).map_err(missing)?;
    let found = match word {
        Device::Auto => devices.first(),
        named => devices.iter().find(|d| d.device == named),
    };
    let Some(found) = found else {
        return Err(BackendError::NoDevice {
            backend: info.name.into(),
            device: word.to_string(),
            has: listed(&devices),
        });
    };
    works(info, found).map_err(missing)?;
    Ok(found.clone())
}

/// Devices for a message.
fn listed(devices: &[DeviceInfo]) -> String {
    match devices {
        [one] if one.device == Device::Cpu => "the CPU only".into(),
        many => many.iter().map(|d| format!("{} ({})", d.device, d.name)).collect::<Vec<_>>().join(", "),
    }
}

/// A backend that is compiled in, by name.
fn named(name: &str) -> Result<&'static BackendInfo, BackendError> {
    match BACKENDS.iter().find(|b| b.name == name) {
        Some(info) if info.compiled_in => Ok(info),
        Some(info) => Err(BackendError::NotCompiledIn { name: name.into(), feature: info.feature.into() }),
        None => Err(BackendError::Unknown { given: name.into() }),
    }
}

/// What was found for a [`Choice`].
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub taken: Taken,
    pub device: DeviceInfo,
    pub passed_over: Vec<PassedOver>,
}

/// Takes a backend and a device for `choice`.
///
/// With a backend named, it or an error. Without, the first of [`BACKENDS`] that has the device which is asked for; and
/// if none is asked for, the first with a usable one, where devices that only imitate a GPU on the CPU come last of all.
pub(crate) fn find(choice: &Choice) -> Result<Found, BackendError> {
    let found = |info: &'static BackendInfo, device: DeviceInfo, passed_over| {
        let taken = Taken { backend: info.name, device: device.device };
        Found { taken, device, passed_over }
    };
    if let Some(name) = &choice.backend {
        let info = named(name)?;
        return Ok(found(info, device_of(info, choice.device)?, Vec::new()));
    }
    let mut passed_over = Vec::new();
    let mut software = None;
    let mut others = Vec::new();
    for info in compiled_in() {
        match device_of(info, choice.device) {
            Ok(device) if device.software => {
                let name = &device.name;
                let missing = Missing::new(
                    format!("it has no GPU, only {name}, which computes on the CPU"),
                    format!("--backend {} takes it all the same", info.name),
                );
                passed_over.push(PassedOver { backend: info.name, missing });
                software = software.or(Some((info, device)));
            }
            Ok(device) => return Ok(found(info, device, passed_over)),
            Err(BackendError::Missing { reason, remedy, .. }) => {
                passed_over.push(PassedOver { backend: info.name, missing: Missing { reason, remedy } });
            }
            Err(BackendError::NoDevice { has, .. }) => others.push(format!("{} runs on {has}", info.name)),
            Err(other) => return Err(other),
        }
    }
    if let Some((info, device)) = software {
        return Ok(found(info, device, Vec::new()));
    }
    let why: Vec<String> = passed_over.iter().map(ToString::to_string).chain(others).collect();
    let why = why.join("; ");
    match choice.device {
        _ if why.is_empty() => Err(BackendError::None),
        Device::Auto => Err(BackendError::NoneUsable { why }),
        device => Err(BackendError::NoSuchDevice { device: device.to_string(), why }),
    }
}

/// Takes a backend and a device for `choice`: see [`BACKENDS`] for the order.
///
/// # Errors
/// See [`BackendError`].
pub fn resolve(choice: &Choice) -> Result<Taken, BackendError> {
    find(choice).map(|found| found.taken)
}

/// The device that `choice` comes to.
///
/// # Errors
/// See [`BackendError`].
pub fn device_info(choice: &Choice) -> Result<DeviceInfo, BackendError> {
    find(choice).map(|found| found.device)
}

/// The backends that `choice` would have taken first, and what each of them lacks; empty where a backend is named, or the
/// CPU is asked for, which no one falls back to then.
pub fn passed_over(choice: &Choice) -> Vec<PassedOver> {
    if choice.device == Device::Cpu {
        return Vec::new();
    }
    find(choice).map(|found| found.passed_over).unwrap_or_default()
}

/// Takes several devices of one backend, the first usable one that has the first of them; the device of `choice` where none is named.
///
/// # Errors
/// See [`BackendError`]; also when a device is named twice.
pub fn resolve_all(choice: &Choice, devices: &[Device]) -> Result<(Taken, Vec<DeviceInfo>), BackendError> {
    let mut infos: Vec<DeviceInfo> = Vec::new();
    let mut taken = None;
    for device in devices {
        // The first one decides on the backend.
        let backend = taken.map_or_else(|| choice.backend.clone(), |t: Taken| Some(t.backend.to_string()));
        let found = find(&Choice { backend, device: *device })?;
        if infos.iter().any(|i| i.device == found.device.device) {
            return Err(BackendError::Twice { device: found.device.device.to_string() });
        }
        taken = taken.or(Some(found.taken));
        infos.push(found.device);
    }
    match taken {
        Some(taken) => Ok((taken, infos)),
        None => find(choice).map(|found| (found.taken, vec![found.device])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu_backends() -> impl Iterator<Item = &'static BackendInfo> {
        compiled_in().filter(|b| ["flex", "ndarray", "tch-cpu"].contains(&b.name))
    }

    #[test]
    fn devices_are_read() {
        assert_eq!("gpu:2".parse(), Ok(Device::Gpu(2)));
        assert_eq!("GPU".parse(), Ok(Device::Gpu(0)));
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert!(matches!("gpu:x".parse::<Device>(), Err(BackendError::UnknownDevice { .. })));
    }

    #[test]
    fn a_gpu_is_refused_not_replaced() {
        for info in cpu_backends() {
            let choice = Choice { backend: Some(info.name.to_string()), device: Device::Gpu(0) };
            assert!(matches!(resolve(&choice), Err(BackendError::NoDevice { .. })), "{}", info.name);
            let taken = resolve(&Choice { device: Device::Auto, ..choice }).unwrap();
            assert_eq!(taken, Taken { backend: info.name, device: Device::Cpu });
        }
        // No machine has so many.
        let choice = Choice { backend: None, device: Device::Gpu(9999) };
        let error = resolve(&choice).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("`gpu:9999`")), ("no-such-device", true), "{error}");
    }

    #[test]
    fn absent_backends_are_told_apart() {
        let ask = |name: &str| resolve(&Choice { backend: Some(name.to_string()), device: Device::Auto });
        let error = ask("flox").unwrap_err();
        assert!(matches!(error, BackendError::Unknown { .. }) && error.to_string().contains("tch-cuda"), "{error}");
        for b in BACKENDS.iter().filter(|b| !b.compiled_in) {
            let error = ask(b.name).unwrap_err().to_string();
            assert!(error.contains(&format!("--features {}", b.feature)), "{error}");
        }
    }

    #[test]
    fn a_missing_driver_is_an_error_with_a_remedy() {
        for info in compiled_in() {
            let choice = Choice { backend: Some(info.name.to_string()), device: Device::Auto };
            match (info.devices(), resolve(&choice)) {
                (Ok(devices), Ok(taken)) => assert!(devices.iter().any(|d| d.device == taken.device)),
                (Err(missing), Err(error)) => {
                    assert_eq!(error.kind(), "device-missing");
                    assert!(error.to_string().contains(&missing.reason), "{error}");
                    assert!(!error.hint().is_empty());
                }
                (Ok(devices), Err(error)) => {
                    assert!(error.to_string().contains("does not compute"), "{devices:?}: {error}")
                }
                (Err(missing), Ok(taken)) => panic!("{taken} although {missing:?}"),
            }
        }
    }

    #[test]
    fn without_a_name_the_first_usable_backend_is_taken_and_the_others_say_why_not() {
        let choice = Choice::default();
        let Ok(taken) = resolve(&choice) else { return };
        let before: Vec<&str> = compiled_in().map(|b| b.name).take_while(|n| *n != taken.backend).collect();
        let passed: Vec<&str> = passed_over(&choice).iter().map(|p| p.backend).collect();
        if cpu_backends().next().is_some() {
            assert_eq!(passed, before);
        }
        assert!(passed_over(&choice).iter().all(|p| !p.missing.reason.is_empty() && !p.missing.remedy.is_empty()));
        // A name is never passed over.
        assert!(passed_over(&Choice { backend: Some(taken.backend.into()), device: Device::Auto }).is_empty());
    }

    #[test]
    fn several_devices_are_of_one_backend_and_named_once() {
        let Ok(taken) = resolve(&Choice::default()) else { return };
        let (all, infos) = resolve_all(&Choice::default(), &[taken.device]).unwrap();
        assert_eq!((all, infos.len()), (taken, 1));
        let twice = resolve_all(&Choice::default(), &[taken.device, taken.device]);
        assert!(matches!(twice, Err(BackendError::Twice { .. })), "{twice:?}");
    }
}
