//! What goes where: results on stdout, everything else on stderr, one JSON object with `--json`.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::error::CliError;

/// How a command talks.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub json: bool,
    pub quiet: bool,
}

/// Refuses a path to write to that is a folder, or that lies in a file, before any work is done.
pub(super) fn check_file(path: &Path) -> Result<(), CliError> {
    if path.is_dir() {
        let message = format!("{} is a folder, expected a file name", path.display());
        return Err(CliError::input("output", message).hint("give --output the name of a file"));
    }
    if let Some(file) = path.ancestors().skip(1).find(|a| a.exists() && !a.is_dir()) {
        let message = format!("cannot write {}: {} is a file, expected a folder", path.display(), file.display());
        return Err(CliError::input("output", message).hint("give --output a name in a folder"));
    }
    Ok(())
}

impl Output {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// A line for a person, on stderr.
    pub fn note(&self, line: impl Display) {
        if !self.quiet {
            // A closed stderr is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// The result: `report` for a person, or `value` as the one JSON object.
    pub fn result(&self, report: impl Display, value: &impl Serialize) -> Result<(), CliError> {
        let text = if self.json {
            serde_json::to_string(value).map_err(|e| CliError::program("output", format!("cannot write JSON: {e}")))?
        } else {
            report.to_string()
        };
        self.print(&text)
    }

    /// Raw text on stdout.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            // `nhits ... | head` closes the pipe: what was wanted is printed.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(e) => Err(CliError::program("output", format!("cannot write to stdout: {e}"))),
        }
    }

    /// Ends the program with an error.
    pub fn failed(&self, error: &CliError) -> ExitCode {
        if self.json {
            let mut value = json!({"error": {"kind": error.kind, "message": error.message, "hint": error.hint}});
            if let Some(report) = &error.report {
                value["report"] = (**report).clone();
            }
            let _ = writeln!(std::io::stdout(), "{value}");
        } else {
            let _ = writeln!(std::io::stderr(), "error: {}", error.message);
            if let Some(hint) = &error.hint {
                let _ = writeln!(std::io::stderr(), "hint: {hint}");
            }
        }
        ExitCode::from(error.code())
    }

    /// Ends the program where the flags were refused, or `--help` and `--version` were asked for.
    pub fn refused(&self, error: &clap::Error) -> ExitCode {
        if error.use_stderr() && self.json {
            let text = error.render().to_string();
            // Up to the first blank line: the flags that a message is about may stand below it, one in a line.
            let lines: Vec<&str> = text.lines().map(str::trim).take_while(|l| !l.is_empty()).collect();
            let message = lines.join(" ").trim_start_matches("error: ").to_string();
            let hint = text.lines().find_map(|l| l.trim().strip_prefix("tip: ")).map(str::to_string);
            return self.failed(&CliError { hint, ..CliError::input("usage", message) });
        }
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { 2 } else { 0 })
    }
}
