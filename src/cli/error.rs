//! The one error that ends the program: what, why, what to do, and with which exit code.

use crate::error::Advise;

/// Whose fault it is, which is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The input is wrong: 2.
    Input,
    /// The program could not do its work: 1.
    Program,
}

/// Ends a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CliError {
    pub kind: String,
    pub message: String,
    pub hint: Option<String>,
    /// What was found on the way, beside the error in the JSON.
    pub report: Option<Box<serde_json::Value>>,
    pub fault: Fault,
}

impl CliError {
    /// The user's input is wrong.
    pub fn input(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), hint: None, report: None, fault: Fault::Input }
    }

    /// The program could not do its work.
    pub fn program(kind: &str, message: impl Into<String>) -> Self {
        Self { fault: Fault::Program, ..Self::input(kind, message) }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what was found on the way.
    pub fn report(mut self, report: serde_json::Value) -> Self {
        self.report = Some(Box::new(report));
        self
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self.fault {
            Fault::Input => 2,
            Fault::Program => 1,
        }
    }
}

/// Kinds that are not the input's fault.
const PROGRAM_KINDS: [&str; 13] = [
    "accuracy-gate",
    "threads",
    "non-finite-loss",
    "non-finite-gradient",
    "killed",
    "bundle-write",
    "registry-io",
    "registry-damaged",
    "registry-busy",
    "registry-database",
    "registry-file-missing",
    "registry-file-damaged",
    "disk-full",
];

impl<E: Advise> From<E> for CliError {
    fn from(error: E) -> Self {
        let fault = if PROGRAM_KINDS.contains(&error.kind()) { Fault::Program } else { Fault::Input };
        let (message, hint) = (error.to_string(), error.hint());
        Self { kind: error.kind().to_string(), message, hint, report: None, fault }
    }
}

/// A backend's error knows no [`Advise`]: its crate stands below this one.
pub(super) fn backend(error: nhits_backends::BackendError) -> CliError {
    CliError::input(error.kind(), error.to_string()).hint("`nhits backends` lists what this build has")
}
