//! One share of the rows read into columns, and the shares joined.

use crate::calendar::{CalendarError, Clock};

use super::super::Severity;
use super::super::number::{
    first_above, is_missing_mark, is_unreadable, number_message, parse_number, parse_time, plain_number, shown, word,
};
use super::super::problems::{Problem, ProblemKind, Problems};
use super::super::table::{As, Cells, Head, Keys, NO_NAME, join_clock, settled};
use super::scan::Sink;

/// One share of the rows, read into columns.
pub(super) struct Part<'a> {
    heads: &'a [Head],
    plan: &'a [Option<(usize, As)>],
    pub(super) cells: Vec<Partial>,
    pub(super) n_rows: usize,
    line: u64,
    pub(super) next_line: Option<u64>,
    pub(super) jumps: Vec<(usize, u64)>,
    /// Problems of the row that is being read: a ragged row has only that one.
    pending: Vec<Problem>,
    row_usable: bool,
    pub(super) rows_left_out: bool,
    pub(super) problems: Problems,
    /// Whether a quote, or what is not UTF-8, is for another way of reading.
    plain_text_only: bool,
}

pub(super) enum Partial {
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
}

/// A column that grows by the shares of the rows, in their order.
pub(super) struct Column {
    cells: Partial,
    error: Option<CalendarError>,
}

/// Room for `more` values; for `expected` of them altogether where that is more.
fn make_room<T>(values: &mut Vec<T>, more: usize, expected: usize) {
    if values.capacity() < values.len() + more {
        values.reserve_exact(more.max(expected.saturating_sub(values.len())));
        have_pages(values.spare_capacity_mut());
    }
}

/// Has the system provide the pages of a large piece of memory that is about to be written, all at once: on demand each would
/// interrupt the writing.
fn have_pages<T>(memory: &mut [std::mem::MaybeUninit<T>]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let from = memory.as_mut_ptr().addr().next_multiple_of(PAGE);
        let to = (memory.as_mut_ptr().addr() + size_of_val(memory)) / PAGE * PAGE;
        if to > from + (1 << 20) {
            let at = memory.as_mut_ptr().cast::<libc::c_void>().with_addr(from);
            // SAFETY: the pages lie within memory that is this caller's alone, and their content does not change. A system that
            // does not know this call refuses it.
            unsafe { libc::madvise(at, to - from, libc::MADV_POPULATE_WRITE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

impl Column {
    pub(super) fn new(what: As) -> Self {
        let cells = match what {
            As::Number => Partial::Numbers(Vec::new()),
            As::Time => Partial::Times(Times::default()),
            As::Key | As::Text => Partial::Keys(Keys::default()),
        };
        Self { cells, error: None }
    }

    /// Adds shares; the whole column is expected to have so many rows.
    pub(super) fn add(&mut self, parts: Vec<Partial>, expected: usize) {
        for part in parts {
            match (&mut self.cells, part) {
                (Partial::Numbers(all), Partial::Numbers(values)) if all.is_empty() && values.len() >= expected => {
                    *all = values;
                }
                (Partial::Numbers(all), Partial::Numbers(values)) => {
                    make_room(all, values.len(), expected);
                    all.extend_from_slice(&values);
                }
                (Partial::Times(all), Partial::Times(part)) => {
                    make_room(&mut all.values, part.values.len(), expected);
                    all.values.extend_from_slice(&part.values);
                    match part.clock.map(|next| join_clock(all.clock, next)) {
                        Some(Ok(joined)) => all.clock = joined,
                        Some(Err(e)) => self.error = Some(e),
                        None => {}
                    }
                }
                (Partial::Keys(all), Partial::Keys(part)) => {
                    let renamed: Vec<u32> = part.names.iter().map(|n| all.code(n.as_bytes())).collect();
                    make_room(&mut all.codes, part.codes.len(), expected);
                    let new = part.codes.iter().map(|c| renamed.get(*c as usize).copied().unwrap_or(NO_NAME));
                    all.codes.extend(new);
                }
                _ => debug_assert!(false, "the parts of a column are read as the column is"),
            }
        }
    }

    /// The column, and why its times do not go together.
    pub(super) fn finish(self) -> (Cells, Option<CalendarError>) {
        let cells = match self.cells {
            Partial::Numbers(numbers) => Cells::Numbers(numbers),
            Partial::Times(times) => {
                Cells::Times { clock: settled(times.clock.unwrap_or(Clock::Date), &times.values), values: times.values }
            }
            Partial::Keys(keys) => Cells::Keys { codes: keys.codes, names: keys.names },
        };
        (cells, self.error)
    }
}

/// Stamps, most of which share their date with the one before.
#[derive(Default)]
pub(super) struct Times {
    values: Vec<i64>,
    clock: Option<Clock>,
    date: [u8; 10],
    midnight: i64,
}

impl Times {
    /// `2016-07-01 00:15:00` where the date is that of the row before and the clock is settled.
    #[inline]
    fn same_day(&self, field: &[u8; 19]) -> Option<i64> {
        if self.clock != Some(Clock::Local) || field[..10] != self.date || !matches!(field[10], b' ' | b'T') {
            return None;
        }
        // A colon is 0 by this, a digit is itself, and whatever does not belong there is more.
        let digits = word(field, 11)? ^ u64::from_le_bytes(*b"00:00:00");
        let all_right = first_above(digits, [9, 9, 0, 9, 9, 0, 9, 9]) == 8;
        let [hour, _, _, minute, _, _, second, _] =
            (digits.wrapping_mul(10).wrapping_add(digits >> 8)).to_le_bytes().map(i64::from);
        let right = all_right && hour < 24 && minute < 60 && second < 60;
        right.then_some(self.midnight + (hour * 3600 + minute * 60 + second) * 1_000_000)
    }

    #[inline]
    fn push(&mut self, field: &[u8]) -> Result<(), String> {
        if let Some(t) = field.try_into().ok().and_then(|field| self.same_day(field)) {
            self.values.push(t);
            return Ok(());
        }
        let stamp = parse_time(field).map_err(|e| e.to_string())?;
        self.clock = join_clock(self.clock, stamp.kind).map_err(|e| format!("`{}`: {e}", shown(field)))?;
        if let (Some(date), 19, Clock::Local | Clock::Date) = (field.first_chunk(), field.len(), stamp.kind) {
            const DAY: i64 = 86_400_000_000;
            self.date = *date;
            self.midnight = stamp.value - stamp.value.rem_euclid(DAY);
        }
        self.values.push(stamp.value);
        Ok(())
    }
}

impl<'a> Part<'a> {
    pub(super) fn new(
        heads: &'a [Head],
        plan: &'a [Option<(usize, As)>],
        wanted: &[(usize, As)],
        bytes: &[u8],
    ) -> Self {
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
            plain_text_only: false,
        }
    }

    /// The same, but the scan ends at a quote and at what is not UTF-8.
    pub(super) fn of_plain_text(self) -> Self {
        Self { plain_text_only: true, ..self }
    }

    #[cold]
    fn complain(&mut self, kind: ProblemKind, index: usize, message: String) {
        let mut problem = Problem::new(kind, message).column(&self.heads[index].name);
        problem.line = Some(self.line);
        self.pending.push(problem);
    }

    #[cold]
    fn report(&mut self) {
        for problem in self.pending.drain(..) {
            self.problems.push_with(problem.kind, Severity::Error, || problem);
        }
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
    fn takes_plain_text_only(&self) -> bool {
        self.plain_text_only
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
    fn plain_field(&mut self, index: usize, text: &[u8], delimiter: u8) -> Option<usize> {
        let Some(Some((slot, _))) = self.plan.get(index) else { return None };
        match &mut self.cells[*slot] {
            Partial::Numbers(values) => {
                let (value, length) = plain_number(text, delimiter)?;
                values.push(value);
                Some(length)
            }
            Partial::Times(times) => {
                let (stamp, rest) = text.split_first_chunk()?;
                if !matches!(rest.first(), Some(b) if *b == delimiter || *b == b'\n') {
                    return None;
                }
                times.values.push(times.same_day(stamp)?);
                Some(stamp.len())
            }
            Partial::Keys(keys) => {
                let length = keys.last_name_begins(text)?;
                let ends = matches!(text.get(length), Some(b) if *b == delimiter || *b == b'\n');
                if ends {
                    keys.again();
                }
                ends.then_some(length)
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
        if !self.pending.is_empty() {
            self.report();
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
    use super::*;

    #[test]
    fn stamps_of_one_day_read_as_each_alone() {
        let good = [
            "2020-01-01 00:00:00",
            "2020-01-01 10:20:30",
            "2020-01-01T23:59:59",
            "2020-01-02 00:00:00",
            "2020-01-02 01:00:00",
        ];
        let mut times = Times::default();
        good.iter().for_each(|text| times.push(text.as_bytes()).unwrap());
        let alone: Vec<i64> = good.iter().map(|text| parse_time(text.as_bytes()).unwrap().value).collect();
        assert_eq!(times.values, alone);
        for bad in [
            "2020-01-02 24:00:00",
            "2020-01-02 01:60:00",
            "2020-01-02 0x:00:00",
            "2020-01-02 01-00:00",
            "2020-01-02 01:00:0:",
            "2020-01-02 0\u{e9}:00:0",
        ] {
            assert!(times.push(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
