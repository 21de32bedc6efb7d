//! Rows by series and time: grouping, sorting and duplicates.

use rayon::prelude::*;

use crate::calendar::Clock;

use super::Severity;
use super::config::Duplicates;
use super::number::is_missing;
use super::problems::{Position, Problem, ProblemKind, Problems};
use super::table::{Cells, Places};

/// Rows in order: those of one series together, each in time order. The columns of a wide file share one group.
#[derive(Debug)]
pub(super) struct Frame {
    /// Names of the groups; one empty name in the wide layout.
    pub ids: Vec<String>,
    /// Group `g` has rows `offsets[g]..offsets[g + 1]`.
    pub offsets: Vec<usize>,
    pub time: Vec<i64>,
    pub clock: Clock,
    /// Value columns, the targets first.
    pub columns: Vec<Vec<f64>>,
    /// Names of the value columns.
    pub names: Vec<String>,
    /// How many of the columns are targets.
    pub n_targets: usize,
    /// The file's row of each row where that is not the same number; [`INSERTED`] for rows the file does not have.
    pub file_rows: Option<Vec<u32>>,
    pub places: Places,
}

/// Stands for the file row of an inserted row.
pub(super) const INSERTED: u32 = u32::MAX;

impl Frame {
    /// Orders the rows of a file by series and time; equal times keep the order of the file.
    ///
    /// `keys` are the codes and names of the series in the long layout. A notice and a warning tell of rows out of time
    /// order.
    #[expect(clippy::too_many_arguments, reason = "the parts of a file, each used once")]
    pub(super) fn new(
        keys: Option<Cells>,
        time: Vec<i64>,
        clock: Clock,
        columns: Vec<Vec<f64>>,
        names: Vec<String>,
        n_targets: usize,
        places: Places,
        notices: &mut Vec<String>,
        problems: &mut Problems,
    ) -> Self {
        let (codes, ids) = match keys {
            Some(Cells::Keys { codes, names }) => (Some(codes), names),
            _ => (None, vec![String::new()]),
        };
        let mut frame =
            Self { ids, offsets: Vec::new(), time, clock, columns, names, n_targets, file_rows: None, places };
        let order = frame.order(codes.as_deref(), notices, problems);
        if let Some(order) = order {
            frame.time = order.iter().map(|r| frame.time[*r as usize]).collect();
            frame.columns.par_iter_mut().for_each(|column| {
                *column = order.iter().map(|r| column[*r as usize]).collect();
            });
            frame.file_rows = Some(order);
        }
        frame.drop_empty_groups();
        frame
    }

    /// Sets the offsets and returns the file rows in their new order, `None` if they are in order already.
    fn order(&mut self, codes: Option<&[u32]>, notices: &mut Vec<String>, problems: &mut Problems) -> Option<Vec<u32>> {
        let n = self.time.len();
        let time = &self.time;
        let group = |row: usize| codes.map_or(0, |c| c[row] as usize);
        let mut counts = vec![0usize; self.ids.len()];
        let mut grouped = true;
        let mut unsorted = 0u64;
        let mut first_unsorted = None;
        let mut last: Vec<Option<i64>> = vec![None; self.ids.len()];
        // Run by run: rows of one group mostly lie together.
        let mut row = 0;
        while row < n {
            let g = group(row);
            let end = codes.map_or(n, |c| row + c[row..].iter().take_while(|code| **code == c[row]).count());
            counts[g] += end - row;
            grouped &= row == 0 || group(row - 1) <= g;
            let times = &time[row..end];
            if last[g].is_some_and(|before| times[0] < before) || !times.is_sorted() {
                let mut before = last[g];
                for (i, &t) in times.iter().enumerate() {
                    if before.is_some_and(|before| t < before) {
                        unsorted += 1;
                        first_unsorted.get_or_insert((row + i, g));
                    }
                    before = Some(t);
                }
            }
            last[g] = times.last().copied();
            row = end;
        }
        self.offsets = std::iter::once(0)
            .chain(counts.iter().scan(0, |sum, n| {
                *sum += n;
                Some(*sum)
            }))
            .collect();
        if let Some((row, g)) = first_unsorted {
            notices.push(format!("{unsorted} rows were not in time order: sorted"));
            let problem =
                Problem::new(ProblemKind::UnsortedRows, format!("{unsorted} rows are not in time order, from here on"))
                    .at(self.places.of(row))
                    .time(self.clock.format(time[row]))
                    .count(unsorted)
                    .warning_if(true);
            problems.push(if codes.is_some() { problem.series(&self.ids[g]) } else { problem });
        }
        if grouped && unsorted == 0 {
            return None;
        }
        let mut order = vec![0u32; n];
        let mut next = self.offsets.clone();
        for row in 0..n {
            let g = group(row);
            order[next[g]] = row as u32;
            next[g] += 1;
        }
        if unsorted > 0 {
            for w in self.offsets.windows(2) {
                order[w[0]..w[1]].sort_by_key(|r| time[*r as usize]);
            }
        }
        Some(order)
    }

    /// Groups all of whose rows were unreadable have none.
    fn drop_empty_groups(&mut self) {
        if self.offsets.windows(2).all(|w| w[0] < w[1]) {
            return;
        }
        let full: Vec<bool> = self.offsets.windows(2).map(|w| w[0] < w[1]).collect();
        let mut keep = full.iter();
        self.ids.retain(|_| *keep.next().unwrap_or(&false));
        self.offsets.dedup();
        if self.ids.is_empty() {
            self.offsets = vec![0];
        }
    }

    pub(super) fn n_rows(&self) -> usize {
        self.time.len()
    }

    /// Rows of each group.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.offsets.windows(2).map(|w| w[1] - w[0]).collect()
    }

    pub(super) fn times(&self, group: usize) -> &[i64] {
        &self.time[self.offsets[group]..self.offsets[group + 1]]
    }

    /// The row of the file, `None` for an inserted one.
    pub(super) fn file_row(&self, row: usize) -> Option<usize> {
        match &self.file_rows {
            None => Some(row),
            Some(rows) => (rows[row] != INSERTED).then_some(rows[row] as usize),
        }
    }

    pub(super) fn place(&self, row: usize) -> Option<Position> {
        self.file_row(row).map(|r| self.places.of(r))
    }

    /// A problem at a row: its place, its series in the long layout, its time.
    pub(super) fn problem(&self, kind: ProblemKind, group: usize, row: usize, message: impl Into<String>) -> Problem {
        let mut problem = Problem::new(kind, message).time(self.clock.format(self.time[row]));
        if let Some(place) = self.place(row) {
            problem = problem.at(place);
        }
        match self.ids[group].as_str() {
            "" => problem,
            id => problem.series(id),
        }
    }

    /// Keeps the rows for which `keep` holds.
    fn retain(&mut self, keep: &[bool]) {
        fn kept<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
            values.iter().zip(keep).filter(|(_, k)| **k).map(|(v, _)| *v).collect()
        }
        let rows: Vec<u32> = (0..self.n_rows()).map(|r| self.file_row(r).map_or(INSERTED, |r| r as u32)).collect();
        self.file_rows = Some(kept(&rows, keep));
        self.time = kept(&self.time, keep);
        self.columns.par_iter_mut().for_each(|column| *column = kept(column, keep));
        let before: Vec<usize> = std::iter::once(0)
            .chain(keep.iter().scan(0, |sum, k| {
                *sum += usize::from(*k);
                Some(*sum)
            }))
            .collect();
        self.offsets.iter_mut().for_each(|o| *o = before[*o]);
    }

    /// The runs of equal times in a group: the group, the first row of each and its length.
    fn equal_times(&self, group: usize) -> Vec<(usize, usize, usize)> {
        let (first, times) = (self.offsets[group], self.times(group));
        // One pass without a branch for each row, and the search only where there is something to find.
        if !times.windows(2).fold(false, |any, w| any | (w[0] == w[1])) {
            return Vec::new();
        }
        let runs = times.chunk_by(|a, b| a == b).scan(first, |row, run| {
            *row += run.len();
            Some((group, *row - run.len(), run.len()))
        });
        runs.filter(|(_, _, n)| *n > 1).collect()
    }

    /// Applies the policy for rows with the same series and time.
    pub(super) fn resolve_duplicates(
        &mut self,
        policy: Duplicates,
        notices: &mut Vec<String>,
        problems: &mut Problems,
    ) {
        // Runs of equal times: group, first row and length.
        let runs: Vec<(usize, usize, usize)> =
            (0..self.ids.len()).into_par_iter().flat_map_iter(|g| self.equal_times(g)).collect();
        if runs.is_empty() {
            return;
        }
        let severity = if policy == Duplicates::Error { Severity::Error } else { Severity::Warning };
        for &(g, row, n) in &runs {
            problems.push_with(ProblemKind::Duplicate, severity, || {
                let others: Vec<String> =
                    (row + 1..row + n).take(3).filter_map(|r| self.place(r)).map(|place| place.to_string()).collect();
                let message = format!("{n} rows have this time (again in {})", others.join(", "));
                self.problem(ProblemKind::Duplicate, g, row, message)
                    .count(n as u64)
                    .warning_if(severity == Severity::Warning)
            });
        }
        let extra: usize = runs.iter().map(|(_, _, n)| n - 1).sum();
        let what = match policy {
            Duplicates::Error | Duplicates::First => "kept the first row of each",
            Duplicates::Last => "kept the last row of each",
            Duplicates::Mean => "took the mean of each",
            Duplicates::Keep => "kept all rows as a sequence of observations",
        };
        notices.push(format!("{extra} rows repeat a time of their series: {what}"));
        if policy == Duplicates::Keep {
            return;
        }
        let mut keep = vec![true; self.n_rows()];
        for &(_, row, n) in &runs {
            let kept = if policy == Duplicates::Last { row + n - 1 } else { row };
            keep[row..row + n].iter_mut().for_each(|k| *k = false);
            keep[kept] = true;
            if policy == Duplicates::Mean {
                for column in &mut self.columns {
                    column[kept] = mean(&column[row..row + n]);
                }
            }
        }
        self.retain(&keep);
    }
}

/// The mean of the values that are there, NaN if there is none.
fn mean(values: &[f64]) -> f64 {
    let present: Vec<f64> = values.iter().copied().filter(|v| !is_missing(*v)).collect();
    present.iter().sum::<f64>() / present.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(codes: Option<&[u32]>, time: &[i64], y: &[f64]) -> (Frame, Vec<String>, Problems) {
        let keys = codes.map(|c| Cells::Keys { codes: c.to_vec(), names: vec!["A".into(), "B".into(), "C".into()] });
        let (mut notices, mut problems) = (Vec::new(), Problems::default());
        let places = Places::Lines(vec![(0, 2)]);
        let f = Frame::new(
            keys,
            time.to_vec(),
            Clock::Integer,
            vec![y.to_vec()],
            vec!["y".into()],
            1,
            places,
            &mut notices,
            &mut problems,
        );
        (f, notices, problems)
    }

    #[test]
    fn interleaved_series_are_grouped_without_a_word() {
        let (f, notices, problems) = frame(Some(&[0, 2, 0, 2]), &[1, 1, 2, 2], &[10., 30., 11., 31.]);
        assert_eq!(
            (f.ids.join(","), f.offsets.clone(), f.columns[0].clone()),
            ("A,C".into(), vec![0, 2, 4], vec![10., 11., 30., 31.])
        );
        assert!(notices.is_empty() && problems.is_empty());
        assert_eq!(f.place(1), Some(Position::Line(4)));
    }

    #[test]
    fn unsorted_rows_are_sorted_with_a_notice() {
        let (f, notices, problems) = frame(None, &[1, 3, 2, 4], &[10., 30., 20., 40.]);
        assert_eq!(f.columns[0], [10., 20., 30., 40.]);
        assert_eq!(notices, ["1 rows were not in time order: sorted"]);
        assert!(!problems.has_errors());
        assert_eq!(problems.list[0].to_string(), "line 4, 2: 1 rows are not in time order, from here on");
    }

    #[test]
    fn every_policy_for_duplicates_does_what_it_says() {
        let time = [1, 2, 2, 2, 3];
        let y = [1., 2., 4., f64::NAN, 5.];
        let with = |policy| {
            let (mut f, _, _) = frame(Some(&[0; 5]), &time, &y);
            let (mut notices, mut problems) = (Vec::new(), Problems::default());
            f.resolve_duplicates(policy, &mut notices, &mut problems);
            (f, notices.remove(0), problems)
        };
        let (f, _, problems) = with(Duplicates::Error);
        assert_eq!(
            problems.list[0].to_string(),
            "line 3, series `A`, 2: 3 rows have this time (again in line 4, line 5)"
        );
        assert!(problems.has_errors() && f.n_rows() == 3);
        assert_eq!(with(Duplicates::First).0.columns[0], [1., 2., 5.]);
        let (f, notice, problems) = with(Duplicates::Last);
        assert!(f.columns[0][1].is_nan() && !problems.has_errors());
        assert_eq!(
            (f.place(2), notice.as_str()),
            (Some(Position::Line(6)), "2 rows repeat a time of their series: kept the last row of each")
        );
        let (f, _, _) = with(Duplicates::Mean);
        assert_eq!((f.columns[0].clone(), f.offsets.clone()), (vec![1., 3., 5.], vec![0, 3]));
        let (f, _, _) = with(Duplicates::Keep);
        assert_eq!((f.n_rows(), f.file_row(4)), (5, Some(4)));
    }
}
