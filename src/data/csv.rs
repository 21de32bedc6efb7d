//! Delimited text into columns: one scan over the bytes, in parallel where no field is quoted, no string per field.

mod part;
mod scan;

use std::fs::File;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use self::part::{Column, Part, Partial};
use self::scan::{SHARE_BYTES, Sink, count_lines, read_share, scan, share_lines};
use super::error::{DataError, Place};
use super::number::{is_missing_mark, is_unreadable, parse_number, parse_time};
use super::problems::{Problem, ProblemKind, Problems};
use super::source::{Rest, SAMPLE_ROWS, Text, read_whole};
use super::table::{As, Columns, Guess, Head, Places};

/// Text whose header was read.
pub(super) struct CsvTable {
    text: String,
    /// Lines of a large file beyond `text`.
    rest: Option<Rest>,
    /// Where the rows begin, and the line they begin on.
    body: usize,
    body_line: u64,
    delimiter: u8,
    /// Whether there is a quote in the rows: then a line end may lie inside a field.
    quoted: bool,
}

impl CsvTable {
    /// Reads the header and guesses the kinds of the columns from the first rows.
    pub(super) fn open(text: Text, place: &Place) -> Result<(Self, Vec<Head>), DataError> {
        let Text { start: text, rest } = text;
        let blank = text.len() - text.trim_start_matches(['\n', '\r', ' ', '\t']).len();
        // Tabs and blanks may belong to the header line; only whole blank lines are skipped.
        let start = text[..blank].rfind('\n').map_or(0, |i| i + 1);
        if text[start..].trim().is_empty() {
            return Err(DataError::Empty { path: place.path.clone() });
        }
        let delimiter = guess_delimiter(&text.as_bytes()[start..]);
        let first_line = 1 + count_lines(&text.as_bytes()[..start]);
        let mut header = Header::default();
        let (used, lines) = scan(&text.as_bytes()[start..], delimiter, first_line, &mut header)
            .map_err(|line| unclosed(place, line))?;
        if header.names.len() > 1 && header.names.iter().all(|n| reads_like_data(n)) {
            let line: String = text[start..].lines().next().unwrap_or_default().chars().take(60).collect();
            return Err(DataError::NoHeader { path: place.path.clone(), line });
        }
        let body = start + used;
        let quoted = text.as_bytes()[body..].contains(&b'"');
        let table = Self { text, rest, body, body_line: first_line + lines, delimiter, quoted };
        let mut sample = Sample { rows: 0, guesses: vec![Guess::default(); header.names.len()] };
        scan(table.rows(), delimiter, table.body_line, &mut sample).map_err(|line| unclosed(place, line))?;
        let heads = header
            .names
            .into_iter()
            .zip(&sample.guesses)
            .enumerate()
            .map(|(i, (name, guess))| {
                let name = if name.is_empty() { format!("column_{}", i + 1) } else { name };
                Head { name, kind: guess.kind() }
            })
            .collect();
        Ok((table, heads))
    }

    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    fn rows(&self) -> &[u8] {
        &self.text.as_bytes()[self.body..]
    }

    /// Reads the `wanted` columns.
    pub(super) fn read(&mut self, heads: &[Head], wanted: &[(usize, As)], place: &Place) -> Result<Columns, DataError> {
        let mut plan: Vec<Option<(usize, As)>> = vec![None; heads.len()];
        for (slot, (index, what)) in wanted.iter().enumerate() {
            plan[*index] = Some((slot, *what));
        }
        let new = |bytes: &[u8]| Part::new(heads, &plan, wanted, bytes);
        if let Some(rest) = &self.rest {
            match self.read_large(rest, &new, wanted) {
                Ok(columns) => return Ok(columns),
                Err(Stop::Io(source)) => return Err(DataError::Io { path: place.path.clone(), source }),
                Err(Stop::NotPlain) => self.load(place)?,
            }
        }
        let rows = self.rows();
        let shares = if self.quoted { vec![rows] } else { share_lines(rows) };
        let read = |(): &mut (), share| self.read_share(share, &new);
        let columns = in_waves(shares, self.body_line, wanted, || (), read);
        columns.map_err(|line| unclosed(place, self.body_line + line))
    }

    fn read_share<'a>(&self, share: &[u8], new: &impl Fn(&[u8]) -> Part<'a>) -> Result<(Part<'a>, u64), u64> {
        let mut part = new(share);
        let (_, lines) = scan(share, self.delimiter, 0, &mut part)?;
        Ok((part, lines))
    }

    /// Reads a large file share by share.
    fn read_large<'a>(
        &self,
        rest: &Rest,
        new: &(impl Fn(&[u8]) -> Part<'a> + Sync),
        wanted: &[(usize, As)],
    ) -> Result<Columns, Stop> {
        let n = ((rest.to - rest.from) as usize).div_ceil(SHARE_BYTES);
        let bound = |i: usize| rest.to.min(rest.from + (i * SHARE_BYTES) as u64);
        let start: Vec<Share<'_>> = share_lines(self.rows()).into_iter().map(Share::Memory).collect();
        let shares = start.into_iter().chain((0..n).map(|i| Share::File(bound(i)..bound(i + 1)))).collect::<Vec<_>>();
        let open = || (File::open(&rest.path), Vec::new());
        in_waves(shares, self.body_line, wanted, open, |(file, buffer), share| {
            let share = match share {
                Share::Memory(share) => share,
                Share::File(bytes) => {
                    let file = file.as_mut().map_err(|e| Stop::Io(std::io::Error::new(e.kind(), e.to_string())))?;
                    let lines = read_share(file, rest.from, bytes, rest.to, buffer).map_err(Stop::Io)?;
                    &buffer[lines]
                }
            };
            // Where a line ends within quotes, shares end within them as well: there is a quote in one of them.
            self.read_share(share, &|bytes: &[u8]| new(bytes).of_plain_text()).map_err(|_| Stop::NotPlain)
        })
    }

    /// Gives up reading share by share.
    fn load(&mut self, place: &Place) -> Result<(), DataError> {
        if let Some(rest) = self.rest.take() {
            self.text = read_whole(place, &rest)?;
            self.quoted = self.rows().contains(&b'"');
        }
        Ok(())
    }
}

/// Lines that one task reads.
enum Share<'a> {
    Memory(&'a [u8]),
    File(Range<u64>),
}

/// Why reading a large file share by share ended.
enum Stop {
    Io(std::io::Error),
    /// A share has a quote or is not UTF-8: lines may be cut where none ends.
    NotPlain,
}

/// Shares that are read before they are joined, for each thread: what is read but not joined yet takes memory twice.
const WAVE: usize = 4;

/// Reads the shares on all threads, some of them at a time, and joins them in their order; `line` is the one that the
/// first of them begins on. Every share is read with a state that no other uses meanwhile; there are no more of them than
/// threads, so that what they hold is not asked of the system again for each share.
fn in_waves<'a, S: Send, T: Send, E: Send>(
    shares: Vec<S>,
    line: u64,
    wanted: &[(usize, As)],
    state: impl Fn() -> T + Sync + Send,
    read: impl Fn(&mut T, S) -> Result<(Part<'a>, u64), E> + Sync + Send,
) -> Result<Columns, E> {
    let states = Mutex::new(Vec::new());
    let free = || states.lock().unwrap_or_else(PoisonError::into_inner);
    let read = |share| {
        let free_one = free().pop();
        let mut own = free_one.unwrap_or_else(&state);
        let part = read(&mut own, share);
        free().push(own);
        part
    };
    let n_shares = shares.len();
    let mut joined = Joined::new(line, wanted);
    let mut shares = shares.into_iter();
    let mut done = 0;
    while done < n_shares {
        let wave: Vec<S> = shares.by_ref().take(WAVE * rayon::current_num_threads()).collect();
        done += wave.len();
        let parts = wave.into_par_iter().map(read).collect::<Result<Vec<_>, E>>()?;
        joined.add(parts, done as f64 / n_shares as f64);
    }
    Ok(joined.finish())
}

/// Columns that grow by shares of the rows.
struct Joined {
    columns: Vec<Column>,
    whole: Columns,
    jumps: Vec<(usize, u64)>,
    next_line: Option<u64>,
    line: u64,
}

impl Joined {
    fn new(line: u64, wanted: &[(usize, As)]) -> Self {
        let whole = Columns {
            cells: Vec::new(),
            n_rows: 0,
            places: Places::Lines(Vec::new()),
            problems: Problems::default(),
            rows_left_out: false,
        };
        let columns = wanted.iter().map(|(_, what)| Column::new(*what)).collect();
        Self { columns, whole, jumps: Vec::new(), next_line: None, line }
    }

    /// Adds the next shares, with which `done` of the whole is there.
    fn add(&mut self, parts: Vec<(Part<'_>, u64)>, done: f64) {
        let mut columns: Vec<Vec<Partial>> = self.columns.iter().map(|_| Vec::with_capacity(parts.len())).collect();
        let whole = &mut self.whole;
        for (part, lines) in parts {
            for (column, cells) in columns.iter_mut().zip(part.cells) {
                column.push(cells);
            }
            let (n_rows, line, next) = (whole.n_rows, self.line, self.next_line);
            let own = part.jumps.into_iter().map(|(row, at)| (row + n_rows, at + line));
            self.jumps.extend(own.filter(|(row, at)| *row != n_rows || Some(*at) != next));
            self.next_line = part.next_line.map(|at| at + line).or(next);
            let mut problems = part.problems;
            for problem in &mut problems.list {
                problem.line = problem.line.map(|at| at + line);
            }
            whole.problems.append(problems);
            whole.n_rows += part.n_rows;
            whole.rows_left_out |= part.rows_left_out;
            self.line += lines;
        }
        // A little more than the rows so far foretell: room that is not written to takes no memory.
        let expected = match done < 1.0 {
            true => (1.02 * whole.n_rows as f64 / done) as usize,
            false => whole.n_rows,
        };
        self.columns.par_iter_mut().zip(columns).for_each(|(column, parts)| column.add(parts, expected));
    }

    fn finish(mut self) -> Columns {
        self.whole.places = Places::Lines(self.jumps);
        for (cells, error) in self.columns.into_par_iter().map(Column::finish).collect::<Vec<_>>() {
            self.whole.cells.push(cells);
            if let Some(e) = error {
                self.whole.problems.push(Problem::new(ProblemKind::UnparsableTime, e.to_string()));
            }
        }
        self.whole
    }
}

fn unclosed(place: &Place, line: u64) -> DataError {
    place.damaged(format!("line {line}: a quote is opened and never closed"))
}

fn reads_like_data(name: &str) -> bool {
    !is_missing_mark(name.as_bytes())
        && (!is_unreadable(parse_number(name.as_bytes())) || parse_time(name.as_bytes()).is_ok())
}

/// The one of `,` `;` and tab that occurs most in the header outside quotes.
fn guess_delimiter(text: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &b in text {
        match b {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if !quoted => counts.iter_mut().filter(|(d, _)| *d == b).for_each(|(_, n)| *n += 1),
            _ => {}
        }
    }
    // The first of equals wins, so a header of one name is read with commas.
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(b',', |(d, _)| *d)
}

#[derive(Default)]
struct Header {
    names: Vec<String>,
}

impl Sink for Header {
    fn row_start(&mut self, _: u64) {}
    fn field(&mut self, _: usize, field: &[u8]) {
        self.names.push(String::from_utf8_lossy(field).trim().to_owned());
    }
    fn row_end(&mut self, _: usize) -> bool {
        false
    }
}

struct Sample {
    rows: usize,
    guesses: Vec<Guess>,
}

impl Sink for Sample {
    fn row_start(&mut self, _: u64) {}
    fn field(&mut self, index: usize, field: &[u8]) {
        if let Some(guess) = self.guesses.get_mut(index) {
            guess.add(field);
        }
    }
    fn row_end(&mut self, _: usize) -> bool {
        self.rows += 1;
        self.rows < SAMPLE_ROWS
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Content;
    use super::super::table::{Cells, ColumnKind};
    use super::*;

    fn place() -> Place {
        Place { path: "f".into() }
    }

    fn open(text: &str) -> Result<(CsvTable, Vec<Head>), DataError> {
        CsvTable::open(Text { start: text.to_owned(), rest: None }, &place())
    }

    fn read(text: &str, wanted: &[(usize, As)]) -> Columns {
        let (mut table, heads) = open(text).unwrap();
        table.read(&heads, wanted, &place()).unwrap()
    }

    fn numbers(columns: &Columns, slot: usize) -> Vec<f64> {
        columns.cells[slot].clone().into_numbers()
    }

    #[test]
    fn delimiters_are_found_in_the_header() {
        for (text, delimiter, n) in [
            ("a,b;c\n", b',', 2),
            ("a;b;c,d\n", b';', 3),
            ("a\tb\n", b'\t', 2),
            ("\"x,y\";b\n", b';', 2),
            ("alone\n", b',', 1),
        ] {
            let (table, heads) = open(text).unwrap();
            assert_eq!((table.delimiter, heads.len()), (delimiter, n), "{text}");
        }
    }

    #[test]
    fn quotes_line_ends_and_blank_lines_are_understood() {
        let text = "\n\"the, id\",y\r\n\"a \"\"b\"\"\nc\",1\r\n\r\nplain,2\n\"q\",\"3\"";
        let columns = read(text, &[(0, As::Key), (1, As::Number)]);
        assert!(columns.problems.is_empty(), "{}", columns.problems);
        assert_eq!(numbers(&columns, 1), [1.0, 2.0, 3.0]);
        let Cells::Keys { codes, names } = &columns.cells[0] else { panic!() };
        assert_eq!((codes.as_slice(), names[0].as_str(), names[1].as_str()), (&[0, 1, 2][..], "a \"b\"\nc", "plain"));
        assert_eq!(columns.places, Places::Lines(vec![(0, 3), (1, 6)]));
        let (_, heads) = open(text).unwrap();
        assert_eq!(heads[0].name, "the, id");
    }

    #[test]
    fn a_name_with_a_delimiter_is_known_again_only_where_it_is_quoted() {
        let text = "id,y\n\"a,b\",1\na,b,2\n\"a,b\",3\n\"a\"\"\",4\na\",5\n\"\"\"a\",6\n\"a\nb\",7\na\nb,8\n";
        let columns = read(text, &[(0, As::Key), (1, As::Number)]);
        let Cells::Keys { codes, names } = &columns.cells[0] else { panic!() };
        let found: Vec<&str> = codes.iter().map(|code| names[*code as usize].as_str()).collect();
        assert_eq!(found, ["a,b", "a,b", "a\"", "a\"", "\"a", "a\nb", "b"]);
        assert_eq!(numbers(&columns, 1), [1., 3., 4., 5., 6., 7., 8.]);
        let shown: Vec<String> = columns.problems.list.iter().map(|p| p.to_string()).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert_eq!(shown[0], "line 3: the row has 3 fields, the header has 2");
        assert_eq!(shown[1], "line 10: the row has 1 fields, the header has 2");
    }

    #[test]
    fn ragged_rows_and_bad_fields_are_reported_with_line_column_and_text() {
        let text = "ds,y\n2020-01-01,1\n2020-01-02\n2020-01-03,x,9\nnever,4\n,5\n2020-01-06,x\n17,7\n";
        let columns = read(text, &[(0, As::Time), (1, As::Number)]);
        let shown: Vec<String> = columns.problems.list.iter().map(|p| p.to_string()).collect();
        assert_eq!(shown.len(), 6, "{shown:?}");
        assert_eq!(shown[0], "line 3: the row has 1 fields, the header has 2");
        assert_eq!(shown[1], "line 4: the row has 3 fields, the header has 2");
        assert!(shown[2].starts_with("line 5, column `ds`:") && shown[2].contains("never"), "{}", shown[2]);
        assert_eq!(shown[3], "line 6, column `ds`: the time is missing");
        assert_eq!(shown[4], "line 7, column `y`: `x` is not a number");
        assert!(shown[5].starts_with("line 8, column `ds`: `17`"), "{}", shown[5]);
        assert_eq!(columns.n_rows, 2);
        assert!(columns.rows_left_out);
        assert_eq!(columns.places.of(1), super::super::problems::Position::Line(7));
    }

    #[test]
    fn kinds_are_guessed() {
        let (_, heads) = open("ds;y;c;t;e\n2020-01-01;1;1,5;NW;\n2020-01-02;2.5;2,5;SE;NA\n").unwrap();
        let kinds: Vec<ColumnKind> = heads.iter().map(|h| h.kind).collect();
        use ColumnKind::*;
        assert_eq!(kinds, [Time, Number, DecimalComma, Text, Empty]);
    }

    #[test]
    fn headers_that_are_none_are_refused() {
        assert!(matches!(open(" \n\n").err().unwrap(), DataError::Empty { .. }));
        let error = open("2020-01-01,5.5\n2020-01-02,6\n").err().unwrap();
        assert!(matches!(&error, DataError::NoHeader { line, .. } if line == "2020-01-01,5.5"), "{error}");
        assert!(open("date,0,1\n").is_ok(), "numbers may name columns beside a word");
        let error = open("ds,y\n\"2020,1\n").err().unwrap();
        assert!(error.to_string().contains("line 2: a quote is opened"), "{error}");
        assert_eq!(open(",y\n0,1\n").unwrap().1[0].name, "column_1");
    }

    #[test]
    fn large_files_are_read_share_by_share_and_alike() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.csv");
        let rows = |n: usize, odd: &str| {
            let mut text = String::from("id,ds,y\n");
            for i in 0..n {
                let (d, h) = (1 + i / 24 % 28, i % 24);
                text += &format!("series {},2020-{:02}-{d:02} {h:02}:15:00,{i}.25\n", i / 40_000, 1 + i / 672 % 12);
                if i == n - 10_000 {
                    text += odd;
                }
            }
            text
        };
        let wanted = [(0, As::Key), (1, As::Time), (2, As::Number)];
        for (odd, quoted) in [("\nbad\n", false), ("\"quoted\",2020-01-01,1\n", true)] {
            let text = rows(300_000, odd);
            assert!(text.len() > 10 << 20);
            std::fs::write(&path, &text).unwrap();
            let mut table = super::super::table::Table::open(&path).unwrap();
            let large = table.read(&wanted).unwrap();
            let whole = read(&text, &wanted);
            assert_eq!((&large.cells, &large.places, &large.problems), (&whole.cells, &whole.places, &whole.problems));
            assert_eq!((large.n_rows, large.problems.is_empty()), (300_000 + usize::from(quoted), quoted));
        }
        let mut bytes = rows(300_000, "").into_bytes();
        let at = bytes.len() - 100;
        bytes[at] = 0xff;
        std::fs::write(&path, bytes).unwrap();
        let error = super::super::table::Table::open(&path).unwrap().read(&wanted).unwrap_err();
        assert!(matches!(error, DataError::NotUtf8 { line: 299_998.., .. }), "{error}");
    }

    #[test]
    fn kinds_are_guessed_from_as_many_rows_of_a_wide_large_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wide.csv");
        // Rows of 1.5 KB, and a column that is empty in the first 800 of them.
        let filling = "0.125,".repeat(250);
        let mut text = format!("ds,late,{}\n", (0..251).map(|i| format!("x{i}")).collect::<Vec<_>>().join(","));
        for i in 0..7_000 {
            let late = if i < 800 { String::new() } else { format!("{i}.5") };
            text += &format!("2020-01-01,{late},{filling}1\n");
        }
        std::fs::write(&path, &text).unwrap();
        let Content::Text(start) = super::super::source::open(&path).unwrap().content else { panic!("it is text") };
        assert!(start.rest.is_some(), "it is large");
        let kinds = |heads: Vec<Head>| heads.into_iter().map(|h| h.kind).collect::<Vec<_>>();
        assert_eq!(kinds(CsvTable::open(start, &place()).unwrap().1), kinds(open(&text).unwrap().1));
    }

    #[test]
    fn shares_join_to_the_same_as_one_scan() {
        let mut text = String::from("id,ds,y\n");
        for i in 0..200_000 {
            text += &format!("s{},{},{}.5\n", i / 7 % 1000, i, i);
            if i == 150_000 {
                text += "\nonly,two\n";
            }
        }
        let wanted = [(0, As::Key), (1, As::Time), (2, As::Number)];
        let shared = read(&text, &wanted);
        let (mut table, heads) = open(&text).unwrap();
        table.quoted = true;
        let single = table.read(&heads, &wanted, &place()).unwrap();
        assert!(share_lines(table.rows()).len() > 1);
        assert_eq!((&shared.cells, &shared.places), (&single.cells, &single.places));
        assert_eq!(shared.problems, single.problems);
        assert_eq!(shared.problems.list[0].line, Some(150_004));
        assert_eq!(shared.n_rows, 200_000);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a,;\"\n\r0-9.\\-]{0,60}") {
            if let Ok((mut table, heads)) = open(&text) {
                let wanted: Vec<(usize, As)> =
                    (0..heads.len()).map(|i| (i, [As::Number, As::Time, As::Key, As::Text][i % 4])).collect();
                let columns = table.read(&heads, &wanted, &place());
                if let Ok(columns) = columns {
                    proptest::prop_assert!(columns.cells.iter().all(|c| c.len() == columns.n_rows));
                }
            }
        }
    }
}
