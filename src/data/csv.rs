//! Delimited text into columns: one scan over the bytes, in parallel where no field is quoted, no string per field.

mod scan;

use std::fs::File;

use rayon::prelude::*;

use crate::calendar::{CalendarError, Clock};

use self::scan::{SHARE_BYTES, Sink, count_lines, read_share, scan, share_lines};
use super::Severity;
use super::error::{DataError, Place};
use super::number::{is_missing_mark, is_unreadable, number_message, parse_number, parse_time, shown};
use super::problems::{Problem, ProblemKind, Problems};
use super::source::{Rest, Text, read_whole};
use super::table::{As, Cells, Columns, Guess, Head, Keys, NO_NAME, Places, join_clock, settled};

/// Rows from which the kinds of the columns are guessed.
const SAMPLE_ROWS: usize = 1000;

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
            match self.read_large(rest, &new).map_err(|source| DataError::Io { path: place.path.clone(), source })? {
                Some(parts) => return Ok(join(parts, self.body_line, wanted)),
                None => self.load(place)?,
            }
        }
        let rows = self.rows();
        let shares = if self.quoted { vec![rows] } else { share_lines(rows) };
        let parts = shares.into_par_iter().map(|share| self.read_share(share, &new)).collect::<Result<Vec<_>, u64>>();
        let parts = parts.map_err(|line| unclosed(place, self.body_line + line))?;
        Ok(join(parts, self.body_line, wanted))
    }

    fn read_share<'a>(&self, share: &[u8], new: &impl Fn(&[u8]) -> Part<'a>) -> Result<(Part<'a>, u64), u64> {
        let mut part = new(share);
        let (_, lines) = scan(share, self.delimiter, 0, &mut part)?;
        Ok((part, lines))
    }

    /// Reads a large file share by share; `None` where a share has a quote or is not UTF-8.
    fn read_large<'a>(
        &self,
        rest: &Rest,
        new: &(impl Fn(&[u8]) -> Part<'a> + Sync),
    ) -> std::io::Result<Option<Vec<(Part<'a>, u64)>>> {
        let first = self.read_share(self.rows(), new).ok();
        let n = ((rest.to - rest.from) as usize).div_ceil(SHARE_BYTES);
        let bound = |i: usize| rest.to.min(rest.from + (i * SHARE_BYTES) as u64);
        let parts: std::io::Result<Vec<Option<(Part<'a>, u64)>>> = (0..n)
            .into_par_iter()
            .map_init(
                || (File::open(&rest.path), Vec::new()),
                |(file, buffer), i| {
                    let file = file.as_mut().map_err(|e| std::io::Error::new(e.kind(), e.to_string()))?;
                    let share = read_share(file, rest.from, bound(i)..bound(i + 1), rest.to, buffer)?;
                    let share = &buffer[share];
                    let plain = !share.contains(&b'"') && std::str::from_utf8(share).is_ok();
                    Ok(if plain { self.read_share(share, new).ok() } else { None })
                },
            )
            .collect();
        Ok(std::iter::once(first).chain(parts?).collect())
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

/// Joins the shares in their order; `line` is the one the first of them begins on.
fn join(parts: Vec<(Part<'_>, u64)>, mut line: u64, wanted: &[(usize, As)]) -> Columns {
    let mut columns: Vec<Vec<Partial>> = wanted.iter().map(|_| Vec::with_capacity(parts.len())).collect();
    let mut whole = Columns {
        cells: Vec::new(),
        n_rows: 0,
        places: Places::Lines(Vec::new()),
        problems: Problems::default(),
        rows_left_out: false,
    };
    let mut jumps: Vec<(usize, u64)> = Vec::new();
    let mut next_line = None;
    for (part, lines) in parts {
        for (column, cells) in columns.iter_mut().zip(part.cells) {
            column.push(cells);
        }
        let own = part.jumps.into_iter().map(|(row, at)| (row + whole.n_rows, at + line));
        jumps.extend(own.filter(|(row, at)| *row != whole.n_rows || Some(*at) != next_line));
        next_line = part.next_line.map(|at| at + line).or(next_line);
        let mut problems = part.problems;
        for problem in &mut problems.list {
            problem.line = problem.line.map(|at| at + line);
        }
        whole.problems.append(problems);
        whole.n_rows += part.n_rows;
        whole.rows_left_out |= part.rows_left_out;
        line += lines;
    }
    whole.places = Places::Lines(jumps);
    let n_rows = whole.n_rows;
    let joined: Vec<(Cells, Option<CalendarError>)> =
        columns.into_par_iter().map(|parts| Partial::join(parts, n_rows)).collect();
    for (cells, error) in joined {
        whole.cells.push(cells);
        if let Some(e) = error {
            whole.problems.push(Problem::new(ProblemKind::UnparsableTime, e.to_string()));
        }
    }
    whole
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

/// One share of the rows, read into columns.
struct Part<'a> {
    heads: &'a [Head],
    plan: &'a [Option<(usize, As)>],
    cells: Vec<Partial>,
    n_rows: usize,
    line: u64,
    next_line: Option<u64>,
    jumps: Vec<(usize, u64)>,
    /// Problems of the row that is being read: a ragged row has only that one.
    pending: Vec<Problem>,
    row_usable: bool,
    rows_left_out: bool,
    problems: Problems,
}

enum Partial {
    Numbers(Vec<f64>),
    Times(Times),
    Keys(Keys),
}

impl Partial {
    fn truncate(&mut self, n: usize) {
        match self {
            Partial::Numbers(values) => values.truncate(n),
            Partial::Times(times) => times.values.truncate(n),
            Partial::Keys(keys) => keys.codes.truncate(n),
        }
    }

    /// One column of all shares, and why its times do not go together.
    fn join(parts: Vec<Partial>, n_rows: usize) -> (Cells, Option<CalendarError>) {
        let mut error = None;
        let mut numbers = Vec::new();
        let mut times = Vec::new();
        let mut clock = None;
        let mut keys: Option<Keys> = None;
        for part in parts {
            match part {
                Partial::Numbers(values) if numbers.is_empty() && values.len() == n_rows => numbers = values,
                Partial::Numbers(values) => {
                    numbers.reserve_exact(n_rows - numbers.len());
                    numbers.extend_from_slice(&values);
                }
                Partial::Times(part) => {
                    times.reserve_exact(n_rows - times.len());
                    times.extend_from_slice(&part.values);
                    for next in part.clock {
                        match join_clock(clock, next) {
                            Ok(joined) => clock = joined,
                            Err(e) => error = Some(e),
                        }
                    }
                }
                Partial::Keys(part) => match &mut keys {
                    None => keys = Some(part),
                    Some(keys) => {
                        let renamed: Vec<u32> = part.names.iter().map(|n| keys.code(n.as_bytes())).collect();
                        keys.codes.reserve_exact(n_rows - keys.codes.len());
                        let new = part.codes.iter().map(|c| renamed.get(*c as usize).copied().unwrap_or(NO_NAME));
                        keys.codes.extend(new);
                    }
                },
            }
        }
        let cells = match (keys, clock) {
            (Some(keys), _) => Cells::Keys { codes: keys.codes, names: keys.names },
            (None, Some(clock)) => Cells::Times { clock: settled(clock, &times), values: times },
            (None, None) => Cells::Numbers(numbers),
        };
        (cells, error)
    }
}

/// Stamps, most of which share their date with the one before.
#[derive(Default)]
struct Times {
    values: Vec<i64>,
    clock: Option<Clock>,
    date: [u8; 10],
    midnight: i64,
}

impl Times {
    /// `2016-07-01 00:15:00` where the date is that of the row before and the clock is settled.
    #[inline]
    fn same_day(&self, field: &[u8]) -> Option<i64> {
        let field: &[u8; 19] = field.try_into().ok()?;
        if self.clock != Some(Clock::Local) || field[..10] != self.date || !matches!(field[10], b' ' | b'T') {
            return None;
        }
        let digits = [field[11], field[12], field[14], field[15], field[17], field[18]].map(|b| b.wrapping_sub(b'0'));
        let [h, hh, m, mm, s, ss] = digits.map(i64::from);
        let (hour, minute, second) = (10 * h + hh, 10 * m + mm, 10 * s + ss);
        let right = digits.iter().all(|d| *d < 10)
            && field[13] == b':'
            && field[16] == b':'
            && hour < 24
            && minute < 60
            && second < 60;
        right.then_some(self.midnight + (hour * 3600 + minute * 60 + second) * 1_000_000)
    }

    #[inline]
    fn push(&mut self, field: &[u8]) -> Result<(), String> {
        if let Some(t) = self.same_day(field) {
            self.values.push(t);
            return Ok(());
        }
        let stamp = parse_time(field).map_err(|e| e.to_string())?;
        self.clock = join_clock(self.clock, stamp.kind).map_err(|e| format!("`{}`: {e}", shown(field)))?;
        if let (Some(date), Clock::Local) = (field.first_chunk(), stamp.kind) {
            const DAY: i64 = 86_400_000_000;
            self.date = *date;
            self.midnight = stamp.value - stamp.value.rem_euclid(DAY);
        }
        self.values.push(stamp.value);
        Ok(())
    }
}

impl<'a> Part<'a> {
    fn new(heads: &'a [Head], plan: &'a [Option<(usize, As)>], wanted: &[(usize, As)], bytes: &[u8]) -> Self {
        let line_bytes = bytes.iter().take(4096).position(|b| *b == b'\n').unwrap_or(4096).max(1);
        let rows = bytes.len() / line_bytes + 1;
        let cells = wanted
            .iter()
            .map(|(_, what)| match what {
                As::Number => Partial::Numbers(Vec::with_capacity(rows)),
                As::Time => Partial::Times(Times { values: Vec::with_capacity(rows), ..Times::default() }),
                As::Key | As::Text => Partial::Keys(Keys::default()),
            })
            .collect();
        Self {
            heads,
            plan,
            cells,
            n_rows: 0,
            line: 0,
            next_line: None,
            jumps: Vec::new(),
            pending: Vec::new(),
            row_usable: true,
            rows_left_out: false,
            problems: Problems::default(),
        }
    }

    #[cold]
    fn complain(&mut self, kind: ProblemKind, index: usize, message: String) {
        let mut problem = Problem::new(kind, message).column(&self.heads[index].name);
        problem.line = Some(self.line);
        self.pending.push(problem);
    }

    #[cold]
    fn bad_time(&mut self, index: usize, field: &[u8], error: String) {
        self.row_usable = false;
        let message = match is_missing_mark(field.trim_ascii()) {
            true => "the time is missing".to_owned(),
            false => error,
        };
        self.complain(ProblemKind::UnparsableTime, index, message);
    }
}

impl Sink for Part<'_> {
    #[inline]
    fn row_start(&mut self, line: u64) {
        self.line = line;
    }

    #[inline]
    fn field(&mut self, index: usize, field: &[u8]) {
        let Some(Some((slot, what))) = self.plan.get(index) else { return };
        match &mut self.cells[*slot] {
            Partial::Numbers(values) => {
                let value = parse_number(field);
                values.push(value);
                if value.is_nan() && is_unreadable(value) {
                    self.complain(ProblemKind::UnparsableNumber, index, number_message(field));
                }
            }
            Partial::Times(times) => {
                if let Err(message) = times.push(field) {
                    self.bad_time(index, field, message);
                }
            }
            Partial::Keys(keys) => {
                let name = field.trim_ascii();
                match what {
                    As::Text if is_missing_mark(name) => keys.codes.push(NO_NAME),
                    As::Key if name.is_empty() => {
                        self.row_usable = false;
                        self.complain(ProblemKind::MissingId, index, "the name of the series is missing".to_owned());
                    }
                    _ => {
                        let code = keys.code(name);
                        keys.codes.push(code);
                    }
                }
            }
        }
    }

    #[inline]
    fn row_end(&mut self, fields: usize) -> bool {
        if fields != self.plan.len() {
            self.pending.clear();
            self.row_usable = false;
            let message = format!("the row has {fields} fields, the header has {}", self.plan.len());
            let mut problem = Problem::new(ProblemKind::RaggedRow, message);
            problem.line = Some(self.line);
            self.pending.push(problem);
        }
        for problem in self.pending.drain(..) {
            self.problems.push_with(problem.kind, Severity::Error, || problem);
        }
        if !self.row_usable {
            self.row_usable = true;
            self.rows_left_out = true;
            self.cells.iter_mut().for_each(|cells| cells.truncate(self.n_rows));
            return true;
        }
        if self.next_line != Some(self.line) {
            self.jumps.push((self.n_rows, self.line));
        }
        self.next_line = Some(self.line + 1);
        self.n_rows += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::ColumnKind;
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
