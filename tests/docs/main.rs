//! The guide to training (`docs/training.md`) says what the program does: settings, flags, commands, output, pictures.

mod made;
mod schedules;
mod settings;
mod sights;

use std::path::Path;
use std::process::{Command, Output};

const GUIDE: &str = include_str!("../../docs/training.md");

/// Runs the binary in a folder.
fn run<S: AsRef<std::ffi::OsStr>>(folder: &Path, args: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nhits")).args(args).current_dir(folder).output().unwrap()
}

/// What it prints, both ways; it must succeed.
#[track_caller]
fn printed<S: AsRef<std::ffi::OsStr> + std::fmt::Debug>(folder: &Path, args: &[S]) -> String {
    let output = run(folder, args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "nhits {args:?}\n{text}");
    text
}

/// The rows of the table whose header starts with these cells, each without its bars and blanks.
#[track_caller]
fn table(header: &[&str]) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.trim().trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let mut lines = GUIDE.lines().skip_while(|l| !(l.starts_with('|') && cells(l).starts_with(header)));
    assert!(lines.next().is_some(), "the guide has no table {header:?}");
    lines.skip(1).take_while(|l| l.starts_with('|')).map(cells).collect()
}

/// What stands between a cell's backticks, if nothing stands around them.
fn code(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|c| c.strip_suffix('`')).unwrap_or("")
}

/// The blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    GUIDE.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}
