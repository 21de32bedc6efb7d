//! Several files as one table: `--data 'dir/*.csv'`, one series per file, or parts of one long table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::InvalidSetting;

use super::error::DataError;
use super::layout::IDS;
use super::problems::{Problem, ProblemKind, Problems};
use super::read::message_of;
use super::table::{As, Cells, ColumnKind, Columns, Head, Keys, NO_NAME, Places, Table, join_clock, settled};

/// Files that are read one after the other, share by share.
pub(super) struct FilesTable {
    paths: Vec<PathBuf>,
    /// The name of each file's series, where the files have no id column.
    ids: Option<Vec<String>>,
}

/// The files that a pattern names, sorted; `None` where the path is none.
///
/// # Errors
/// A pattern that is none, or that no file matches.
pub(super) fn matching(path: &Path) -> Result<Option<Vec<PathBuf>>, DataError> {
    let Some(text) = path.to_str().filter(|t| t.contains(['*', '?', '['])) else { return Ok(None) };
    // A file may have such a name.
    if path.exists() {
        return Ok(None);
    }
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let refused = |detail: &str| {
        let allowed = format!("a pattern such as `folder/*.csv` ({detail})");
        DataError::from(InvalidSetting::new("data.path", format!("`{text}`"), allowed, "`*` and `?` stand for letters"))
    };
    let found = glob::glob_with(text, options).map_err(|e| refused(e.msg))?;
    let mut paths: Vec<PathBuf> = found.filter_map(Result::ok).filter(|p| p.is_file()).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(DataError::NoMatch { pattern: text.to_owned() });
    }
    Ok(Some(paths))
}

impl FilesTable {
    /// The columns of the first file, and one for the name of the file where it has no column of names.
    pub(super) fn open(paths: Vec<PathBuf>) -> Result<(Self, Table, Vec<Head>), DataError> {
        let first = Table::open(&paths[0])?;
        let mut heads = first.heads.clone();
        let mut ids = None;
        if !heads.iter().any(|h| IDS.contains(&h.name.as_str())) {
            heads.push(Head { name: IDS[0].to_owned(), kind: ColumnKind::Text });
            ids = Some(names(&paths));
        }
        Ok((Self { paths, ids }, first, heads))
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Reads the `wanted` columns of all files, one file below the other. A file that cannot be read is a problem.
    pub(super) fn read(&self, heads: &[Head], wanted: &[(usize, As)]) -> Result<Columns, DataError> {
        let read: Vec<Result<Columns, DataError>> =
            (0..self.paths.len()).into_par_iter().map(|i| self.read_one(i, heads, wanted)).collect();
        let mut whole = Joined::new(wanted);
        for (path, columns) in self.paths.iter().zip(read) {
            let path: Arc<str> = path.display().to_string().into();
            match columns {
                Ok(columns) => whole.add(&path, columns),
                Err(DataError::Problems { problems, .. }) => whole.problems.append(problems.of_file(&path)),
                Err(error) => {
                    let mut problem = Problem::new(ProblemKind::File, message_of(&error));
                    if !problem.message.starts_with(&*path) {
                        problem.file = Some(path.to_string());
                    }
                    whole.problems.push(problem);
                }
            }
        }
        Ok(whole.finish())
    }

    fn read_one(&self, file: usize, heads: &[Head], wanted: &[(usize, As)]) -> Result<Columns, DataError> {
        let mut table = Table::open(&self.paths[file])?;
        // The column with the file's name is the last one.
        let of_file = |index: usize| self.ids.is_some() && index + 1 == heads.len();
        let mut own = Vec::with_capacity(wanted.len());
        let mut absent = Problems::default();
        for (index, what) in wanted.iter().filter(|(i, _)| !of_file(*i)) {
            let name = &heads[*index].name;
            match table.find(name) {
                Some(i) => own.push((i, *what)),
                None => absent.push(table.absent(name, "the first file has it")),
            }
        }
        if absent.has_errors() {
            return Err(table.place.problems(absent));
        }
        let mut columns = table.read_as_is(&own)?;
        let name = self.ids.as_ref().map(|ids| ids[file].clone());
        for (slot, _) in wanted.iter().enumerate().filter(|(_, (i, _))| of_file(*i)) {
            let names = name.iter().cloned().collect();
            columns.cells.insert(slot, Cells::Keys { codes: vec![0; columns.n_rows], names });
        }
        Ok(columns)
    }
}

/// The name of each file without its ending; with its folder where two would be the same.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        [".gz", ".csv", ".parquet", ".tsv", ".txt"]
            .iter()
            .fold(name, |name, ending| name.strip_suffix(ending).map(str::to_owned).unwrap_or(name))
    };
    let short: Vec<String> = paths.iter().map(stem).collect();
    let mut seen = std::collections::HashSet::new();
    if short.iter().all(|name| seen.insert(name)) {
        return short;
    }
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// The files read so far, one below the other.
struct Joined {
    columns: Vec<Building>,
    n_rows: usize,
    places: Vec<(usize, Arc<str>, Places)>,
    problems: Problems,
    rows_left_out: bool,
}

enum Building {
    Numbers(Vec<f64>),
    Times(Vec<i64>, Option<crate::calendar::Clock>),
    Keys(Keys),
}

impl Joined {
    fn new(wanted: &[(usize, As)]) -> Self {
        let columns = wanted.iter().map(|(_, what)| match what {
            As::Number => Building::Numbers(Vec::new()),
            As::Time => Building::Times(Vec::new(), None),
            As::Key | As::Text => Building::Keys(Keys::default()),
        });
        let columns = columns.collect();
        Self { columns, n_rows: 0, places: Vec::new(), problems: Problems::default(), rows_left_out: false }
    }

    fn add(&mut self, path: &Arc<str>, file: Columns) {
        self.problems.append(file.problems.of_file(path));
        self.places.push((self.n_rows, path.clone(), file.places));
        self.rows_left_out |= file.rows_left_out;
        self.n_rows += file.n_rows;
        for (to, from) in self.columns.iter_mut().zip(file.cells) {
            match (to, from) {
                (Building::Numbers(to), Cells::Numbers(from)) => to.extend(from),
                (Building::Times(to, clock), Cells::Times { values, clock: next }) => {
                    match join_clock(*clock, next) {
                        Ok(joined) => *clock = joined,
                        Err(error) => {
                            let mut problem = Problem::new(ProblemKind::UnparsableTime, error.to_string());
                            problem.file = Some(path.to_string());
                            self.problems.push(problem);
                        }
                    }
                    to.extend(values);
                }
                (Building::Keys(to), Cells::Keys { codes, names }) => {
                    let new: Vec<u32> = names.iter().map(|n| to.code(n.as_bytes())).collect();
                    to.codes.extend(codes.iter().map(|c| if *c == NO_NAME { NO_NAME } else { new[*c as usize] }));
                }
                // Each file was asked for the same kinds.
                _ => {}
            }
        }
    }

    fn finish(self) -> Columns {
        let cells = self.columns.into_iter().map(|column| match column {
            Building::Numbers(values) => Cells::Numbers(values),
            Building::Times(values, clock) => {
                let clock = settled(clock.unwrap_or(crate::calendar::Clock::Date), &values);
                Cells::Times { values, clock }
            }
            Building::Keys(keys) => Cells::Keys { codes: keys.codes, names: keys.names },
        });
        Columns {
            cells: cells.collect(),
            n_rows: self.n_rows,
            places: Places::Files(self.places),
            problems: self.problems,
            rows_left_out: self.rows_left_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Panel, Read, read_panel};
    use super::*;
    use crate::error::Advise;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn config(dir: &tempfile::TempDir, pattern: &str) -> DataConfig {
        DataConfig { path: dir.path().join(pattern), ..Default::default() }
    }

    fn read(files: &[(&str, &str)], pattern: &str) -> Result<Read, DataError> {
        let dir = folder(files);
        read_panel(&config(&dir, pattern))
    }

    fn shape(p: &Panel) -> (String, Vec<usize>, Vec<f64>) {
        (p.ids.join(","), p.offsets.clone(), p.y.clone())
    }

    const A: &str = "ds,y\n2020-01-01,1\n2020-01-02,2\n";
    const B: &str = "y,ds\n5,2020-01-03\n6,2020-01-04\n7,2020-01-05\n";

    #[test]
    fn one_file_per_series_takes_its_name() {
        let p = read(&[("b.csv", B), ("a.csv", A), ("note.txt", "x"), (".hidden.csv", "x")], "*.csv").unwrap().panel;
        assert_eq!(shape(&p), ("a,b".into(), vec![0, 2, 5], vec![1., 2., 5., 6., 7.]));
        let p = read(&[("x/s.csv", A), ("y/s.csv", A)], "*/s.csv").unwrap().panel;
        assert!(p.ids[0].ends_with("x/s.csv") && p.ids[1].ends_with("y/s.csv"), "{:?}", p.ids);
    }

    #[test]
    fn parts_of_a_long_table_are_joined() {
        let first = "unique_id,ds,y\nA,1,1\nB,1,10\n";
        let second = "unique_id,ds,y\nB,2,20\nA,2,2\n";
        let p = read(&[("1.csv", first), ("2.csv", second)], "*.csv").unwrap().panel;
        assert_eq!(shape(&p), ("A,B".into(), vec![0, 2, 4], vec![1., 2., 10., 20.]));
    }

    #[test]
    fn what_is_wrong_names_the_file_and_all_of_it_is_told() {
        let bad = "ds,y\n2020-01-01,1\n2020-01-02,\n2020-01-03,x\n2020-01-04,inf\n";
        let error =
            read(&[("a.csv", A), ("b.csv", bad), ("c.csv", "ds,z\n1,2\n"), ("d.csv", "")], "*.csv").unwrap_err();
        let text = error.to_string();
        for part in [
            "b.csv, line 4, column `y`: `x` is not a number",
            "b.csv, line 5, column `y`: inf is not a finite number",
            "c.csv: there is no column `y` (the first file has it)",
            "d.csv: is empty",
            "b.csv, line 3, series `b`, 2020-01-02, column `y`: the value is missing",
        ] {
            assert!(text.contains(part), "{text}\n{part}");
        }
        assert!(text.contains("*.csv: 5 problems"), "{text}");
        let mixed = read(&[("a.csv", A), ("b.csv", "ds,y\n1,2\n")], "*.csv").unwrap_err().to_string();
        assert!(mixed.contains("b.csv") && mixed.contains("plain integers"), "{mixed}");
    }

    #[test]
    fn patterns_that_match_nothing_are_refused() {
        let dir = folder(&[("a.csv", A)]);
        let error = read_panel(&config(&dir, "*.parquet")).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("no file matches")), ("file-absent", true), "{error}");
        assert!(matches!(read_panel(&config(&dir, "[a.csv")).unwrap_err(), DataError::Setting(_)));
        std::fs::write(dir.path().join("[x].csv"), A).unwrap();
        assert_eq!(read_panel(&config(&dir, "[x].csv")).unwrap().panel.n_rows(), 2, "a file of that name");
    }

    #[test]
    fn several_columns_of_numbers_need_a_target() {
        let two = "ds,open,shut\n2020-01-01,1,2\n2020-01-02,1,2\n";
        let dir = folder(&[("a.csv", two), ("b.csv", two)]);
        let error = read_panel(&config(&dir, "*.csv")).unwrap_err();
        assert!(error.to_string().contains("2 columns hold numbers"), "{error}");
        let one = DataConfig { target: Some("shut".into()), ..config(&dir, "*.csv") };
        assert_eq!(shape(&read_panel(&one).unwrap().panel), ("a,b".into(), vec![0, 2, 4], vec![2.; 4]));
    }
}
