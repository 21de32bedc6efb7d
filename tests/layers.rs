//! The floors of the house: a room imports only rooms below it, and only the command line names the backends.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their floors, as in docs/architecture.md. Each folder or file of `src` must be here.
const FLOORS: &[(&str, usize)] = &[
    ("error", 0),
    ("random", 0),
    ("atomic_file", 0),
    ("workers", 0),
    ("kernel", 1),
    ("calendar", 1),
    ("tensorboard", 1),
    ("data", 2),
    ("transform", 2),
    ("metric", 2),
    ("registry", 2),
    ("features", 3),
    ("model", 3),
    ("loss", 3),
    ("window", 4),
    ("bundle", 5),
    ("train", 6),
    ("forecast", 6),
    ("evaluate", 7),
    ("quantize", 8),
    ("experiment", 7),
    ("cli", 9),
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without comments and without what is compiled for tests only: they may look anywhere.
fn product(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().map(|l| l.split("//").next().unwrap());
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // The item that follows: one line that ends in `;` or `}`, or everything to the brace that closes it.
            let first = lines.next().unwrap_or_default();
            let closing = format!("{}}}", &first[..first.len() - first.trim_start().len()]);
            if !first.trim_end().ends_with([';', '}']) {
                lines.by_ref().find(|l| l.starts_with(&closing));
            }
            continue;
        }
        code.push_str(line);
        code.push('\n');
    }
    code
}

/// Rooms named as `crate::room`, also within `use crate::{...}`.
fn imports(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let heads: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => {
                let (mut depth, mut heads, mut start) = (0, Vec::new(), 0);
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            heads.push(&list[start..i]);
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            heads.push(&list[start..i]);
                            start = i + 1;
                        }
                        _ => {}
                    }
                }
                heads
            }
            None => vec![rest],
        };
        for head in heads {
            let word: String = head.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(word);
        }
    }
    rooms
}

#[test]
fn a_room_imports_only_rooms_on_lower_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 40, "found only {} sources", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let room = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if ["lib", "main"].contains(&room) {
            continue;
        }
        let Some(own) = floor(room) else {
            wrong.push(format!("{}: room `{room}` has no floor in tests/layers.rs", relative.display()));
            continue;
        };
        for import in imports(&product(&fs::read_to_string(&file).unwrap())) {
            match floor(&import) {
                Some(other) if import != room && other >= own => {
                    wrong.push(format!("{} (floor {own}) imports `{import}` (floor {other})", relative.display()))
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_names_a_backend() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    for file in files {
        let relative = file.strip_prefix(root).unwrap();
        let code = product(&fs::read_to_string(&file).unwrap());
        if !(relative.starts_with("src/cli") || relative == Path::new("src/main.rs")) {
            assert!(!code.contains("nhits_backends"), "{} names nhits_backends", relative.display());
        }
        for name in ["NdArray", "Flex", "Wgpu", "LibTorch", "burn_ndarray", "burn_flex", "burn_wgpu", "burn_tch"] {
            let named = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name);
            assert!(!named, "{} names the backend type {name}", relative.display());
        }
    }
}

#[test]
fn the_import_reader_sees_every_form() {
    let code = "use crate::{a::X, b::{Y, Z}, c};\nuse crate::d::W; // crate::e\n#[cfg(test)]\nmod tests {\n    use crate::x;\n}\n\
                #[cfg(test)]\nuse crate::y;\nfn f() { crate::g::h() }\n";
    let code = product(code);
    assert_eq!(imports(&code), ["a", "b", "c", "d", "g"]);
}
