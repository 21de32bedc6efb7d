//! From ordered rows to the panel: missing values of targets and covariates by their policy, one series at a time.

use std::ops::Range;

use rayon::prelude::*;

use crate::calendar::Frequency;

use super::Severity;
use super::config::{Missing, Unusable};
use super::frame::Frame;
use super::number::is_missing;
use super::panel::{Column, Panel};
use super::problems::{Problem, ProblemKind, Problems};

/// What was done, for the notices and the report per series.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    filled: u64,
    /// Those of `filled` that are values of the target.
    pub of_target: u64,
    masked: u64,
    pub dropped: u64,
    pub ends: u64,
    carried: u64,
    led: u64,
}

/// The rows of a series that stay.
enum Kept {
    Range(Range<usize>),
    List(Vec<usize>),
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Kept::Range(range) => range.len(),
            Kept::List(rows) => rows.len(),
        }
    }

    fn take<T: Copy>(&self, values: &[T], out: &mut Vec<T>) {
        match self {
            Kept::Range(range) => out.extend_from_slice(&values[range.clone()]),
            Kept::List(rows) => out.extend(rows.iter().map(|r| values[*r])),
        }
    }
}

/// Makes the panel; `n_hist` of the covariates are historical, the others known ahead. The second value is what was done
/// to each series, nothing at all where it is empty.
///
/// Problems are errors under `missing = "error"` and warnings under the other policies; a series without any value is
/// an error unless such series are left out afterwards.
pub(super) fn into_panel(
    mut frame: Frame,
    freq: Frequency,
    (policy, unusable): (Missing, Unusable),
    n_hist: usize,
    notices: &mut Vec<String>,
    problems: &mut Problems,
) -> (Panel, Vec<Done>) {
    let long = frame.ids.first().is_some_and(|id| !id.is_empty());
    let n_targets = frame.n_targets;
    let target = if n_targets == 1 { frame.names[0].clone() } else { "value".to_owned() };
    let series: Vec<(usize, usize)> = (0..n_targets).flat_map(|t| (0..frame.ids.len()).map(move |g| (g, t))).collect();
    let ids: Vec<String> = match long {
        true => frame.ids.clone(),
        false => frame.names[..n_targets].to_vec(),
    };
    let clean = frame.columns.par_iter().all(|c| !c.iter().fold(false, |any, v| any | v.is_nan()));
    let (time, y, offsets, exog);
    let mut by_series = Vec::new();
    if clean && n_targets == 1 {
        // The usual case: nothing is copied.
        exog = frame.columns.split_off(1);
        y = std::mem::take(&mut frame.columns[0]);
        time = std::mem::take(&mut frame.time);
        offsets = std::mem::take(&mut frame.offsets);
    } else if clean {
        // Every series has the rows of its group: one copy, shared by all threads.
        let n = frame.n_rows();
        let mut values = Vec::new();
        std::mem::swap(&mut values, &mut frame.columns);
        exog = values.split_off(n_targets).iter().map(|column| repeated(column, n_targets)).collect();
        time = repeated(&frame.time, n_targets);
        let mut joined = vec![0.0; n * n_targets];
        // A column is given back as soon as it is copied: a wide file would not fit twice.
        joined.par_chunks_mut(n.max(1)).zip(values).for_each(|(to, column)| to.copy_from_slice(&column));
        y = joined;
        offsets = std::iter::once(0)
            .chain((0..n_targets).flat_map(|t| frame.offsets[1..].iter().map(move |end| t * n + end)))
            .collect();
    } else {
        let mut all = Done::default();
        let rows = frame.n_rows() * n_targets;
        let (mut t, mut v) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut e: Vec<Vec<f64>> = vec![Vec::with_capacity(rows); frame.columns.len() - n_targets];
        let mut o = vec![0];
        for (&(g, target), id) in series.iter().zip(&ids) {
            // Covariates of a wide file are told once, with its first series.
            report(&frame, g, target, id, target == 0, (policy, unusable), problems);
            let mut done = Done::default();
            add_series(&frame, g, target, policy, &mut t, &mut v, &mut e, &mut done);
            all.add(&done);
            by_series.push(done);
            o.push(v.len());
        }
        all.tell(policy, notices);
        (time, y, offsets, exog) = (t, v, o, e);
    }
    let mut panel = Panel::new(ids, offsets, time, frame.clock, freq, y, target);
    let mut columns = frame.names[n_targets..].iter().cloned().zip(exog).map(|(name, values)| Column { name, values });
    panel.hist_exog = columns.by_ref().take(n_hist).collect();
    panel.futr_exog = columns.collect();
    (panel, by_series)
}

/// So many copies of a column, one after the other.
fn repeated<T: Copy + Default + Send + Sync>(column: &[T], times: usize) -> Vec<T> {
    let mut out = vec![T::default(); column.len() * times];
    out.par_chunks_mut(column.len().max(1)).for_each(|to| to.copy_from_slice(column));
    out
}

/// Lists the runs of missing values of a series.
fn report(
    frame: &Frame,
    g: usize,
    target: usize,
    id: &str,
    covariates: bool,
    (policy, unusable): (Missing, Unusable),
    problems: &mut Problems,
) {
    let rows = frame.offsets[g]..frame.offsets[g + 1];
    let severity = if policy == Missing::Error { Severity::Error } else { Severity::Warning };
    let exog = if covariates { frame.n_targets..frame.columns.len() } else { 0..0 };
    for c in std::iter::once(target).chain(exog) {
        let values = &frame.columns[c];
        let missing = |r: usize| is_missing(values[r]) && frame.file_row(r).is_some();
        if rows.clone().all(|r| values[r].is_nan()) {
            let problem = frame.problem(ProblemKind::NoObservations, g, rows.start, "there is not a single value");
            // A covariate without a value is nothing that leaving out a series would cure.
            let skipped = c == target && unusable == Unusable::Skip;
            problems.push(problem.series(id).column(&frame.names[c]).warning_if(skipped));
            continue;
        }
        let mut row = rows.start;
        while row < rows.end {
            if !missing(row) {
                row += 1;
                continue;
            }
            let end = (row..rows.end).find(|r| !missing(*r)).unwrap_or(rows.end);
            problems.push_with(ProblemKind::MissingValue, severity, || {
                let message = match end - row {
                    1 => "the value is missing".to_owned(),
                    n => format!("{n} values are missing, up to {}", frame.clock.format(frame.time[end - 1])),
                };
                let problem = frame.problem(ProblemKind::MissingValue, g, row, message);
                let problem = if c == target { problem.series(id) } else { problem };
                problem.column(&frame.names[c]).count((end - row) as u64).warning_if(severity == Severity::Warning)
            });
            row = end;
        }
    }
}

/// Appends one series to the arenas.
#[expect(clippy::too_many_arguments, reason = "the arenas of a panel")]
fn add_series(
    frame: &Frame,
    g: usize,
    target: usize,
    policy: Missing,
    time: &mut Vec<i64>,
    y: &mut Vec<f64>,
    exog: &mut [Vec<f64>],
    done: &mut Done,
) {
    let rows = frame.offsets[g]..frame.offsets[g + 1];
    let mut values = frame.columns[target][rows.clone()].to_vec();
    let inserted = |r: usize| frame.file_row(rows.start + r).is_none();
    let missing = values.iter().enumerate().filter(|(r, v)| is_missing(**v) && !inserted(*r)).count() as u64;
    let n = values.len();
    let first = values.iter().position(|v| !is_missing(*v)).unwrap_or(n);
    let last = values.iter().rposition(|v| !is_missing(*v)).map_or(first, |r| r + 1);
    let covariates = &frame.columns[frame.n_targets..];
    let kept = match policy {
        Missing::Error => Kept::Range(0..n),
        Missing::Mask => {
            done.masked += missing;
            Kept::Range(0..n)
        }
        Missing::Drop => {
            let absent = |r: usize| {
                !inserted(r) && (is_missing(values[r]) || covariates.iter().any(|c| is_missing(c[rows.start + r])))
            };
            let stay: Vec<usize> = (0..n).filter(|r| !absent(*r)).collect();
            done.dropped += (n - stay.len()) as u64;
            if stay.len() == n { Kept::Range(0..n) } else { Kept::List(stay) }
        }
        // Rows that were inserted with a mask stay masked.
        Missing::Ffill => {
            done.ends += first as u64;
            done.filled += missing - (0..first).filter(|r| !inserted(*r)).count() as u64;
            let mut known = f64::NAN;
            for (r, value) in values.iter_mut().enumerate().skip(first) {
                if !is_missing(*value) {
                    known = *value;
                } else if !inserted(r) {
                    *value = known;
                }
            }
            Kept::Range(first..n)
        }
        Missing::Interpolate => {
            let ends = first + (n - last);
            done.ends += ends as u64;
            done.filled += interpolate(&mut values[first..last], |r| inserted(first + r));
            Kept::Range(first..last)
        }
    };
    done.of_target = done.filled;
    kept.take(&frame.time[rows.clone()], time);
    kept.take(&values, y);
    for (column, out) in covariates.iter().zip(exog) {
        let start = out.len();
        kept.take(&column[rows.clone()], out);
        let part = &mut out[start..];
        if part.iter().any(|v| v.is_nan()) {
            fill_covariate(part, policy, done);
        }
    }
    debug_assert_eq!(time.len(), y.len());
    debug_assert!(kept.len() <= n);
}

/// Straight lines over the missing values between others, but for those that are to stay; returns how many were filled.
fn interpolate(values: &mut [f64], stays: impl Fn(usize) -> bool) -> u64 {
    let mut filled = 0;
    let mut row = 0;
    while row < values.len() {
        if !is_missing(values[row]) {
            row += 1;
            continue;
        }
        let end = (row..values.len()).find(|r| !is_missing(values[*r])).unwrap_or(values.len());
        if row > 0 && end < values.len() {
            let (a, from, to) = (row - 1, values[row - 1], values[end]);
            for (r, value) in values.iter_mut().enumerate().take(end).skip(row) {
                if !stays(r) {
                    *value = from + (to - from) * (r - a) as f64 / (end - a) as f64;
                    filled += 1;
                }
            }
        }
        row = end;
    }
    filled
}

/// Covariates are never masked, so each missing one gets a value (but under `error`, which has reported it).
fn fill_covariate(values: &mut [f64], policy: Missing, done: &mut Done) {
    if policy == Missing::Error {
        return;
    }
    if policy == Missing::Interpolate {
        done.filled += interpolate(values, |_| false);
    }
    let first = values.iter().position(|v| !is_missing(*v)).unwrap_or(values.len());
    for r in first + 1..values.len() {
        if is_missing(values[r]) {
            values[r] = values[r - 1];
            done.carried += 1;
        }
    }
    if first < values.len() {
        let value = values[first];
        values[..first].fill(value);
        done.led += first as u64;
    }
}

impl Done {
    fn add(&mut self, other: &Done) {
        self.filled += other.filled;
        self.of_target += other.of_target;
        self.masked += other.masked;
        self.dropped += other.dropped;
        self.ends += other.ends;
        self.carried += other.carried;
        self.led += other.led;
    }

    fn tell(&self, policy: Missing, notices: &mut Vec<String>) {
        let Done { filled, masked, dropped, ends, carried, led, of_target: _ } = *self;
        let mut say = |n: u64, text: String| {
            if n > 0 {
                notices.push(text);
            }
        };
        let how = if policy == Missing::Interpolate { "a straight line" } else { "the last value before them" };
        say(filled, format!("{filled} missing values filled with {how}"));
        say(masked, format!("{masked} missing values masked"));
        say(
            dropped,
            format!("{dropped} rows with missing values left out; the rest is taken as a sequence of observations"),
        );
        let where_ =
            if policy == Missing::Interpolate { "before the first or after the last" } else { "before the first" };
        say(ends, format!("{ends} rows {where_} value of their series left out"));
        say(carried, format!("{carried} missing values of covariates filled with the last value before them"));
        say(led, format!("{led} missing values of covariates before their first value filled with that one"));
    }
}

/// What merely looks odd about the series of a panel: constant and very short ones.
pub(super) fn oddities(panel: &Panel, problems: &mut Problems) {
    for s in 0..panel.n_series() {
        let values: Vec<f64> = panel.series(s).iter().copied().filter(|v| !v.is_nan()).collect();
        match values[..] {
            [] => {}
            [_] => problems.push_with(ProblemKind::ShortSeries, Severity::Warning, || {
                Problem::new(ProblemKind::ShortSeries, "the series has one value")
                    .series(&panel.ids[s])
                    .warning_if(true)
            }),
            [first, ref rest @ ..] if rest.iter().all(|v| *v == first) => {
                problems.push_with(ProblemKind::ConstantSeries, Severity::Warning, || {
                    let message = format!("all {} values are {first}", values.len());
                    Problem::new(ProblemKind::ConstantSeries, message).series(&panel.ids[s]).warning_if(true)
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Cells, Places};
    use super::*;
    use crate::calendar::Clock;

    const NAN: f64 = f64::NAN;

    fn frame(targets: &[&[f64]], exog: &[&[f64]]) -> Frame {
        let n = targets[0].len();
        let names =
            ["p", "q"][..targets.len()].iter().chain(&["x", "z"][..exog.len()]).map(|n| n.to_string()).collect();
        Frame::new(
            None,
            (1..=n as i64).collect(),
            Clock::Integer,
            targets.iter().chain(exog).map(|c| c.to_vec()).collect(),
            names,
            targets.len(),
            Places::Lines(vec![(0, 2)]),
            &mut Vec::new(),
            &mut Problems::default(),
        )
    }

    fn run(frame: Frame, policy: Missing) -> (Panel, Vec<String>, Problems) {
        let (mut notices, mut problems) = (Vec::new(), Problems::default());
        let freq = Frequency::integer(1).unwrap();
        let (panel, _) = into_panel(frame, freq, (policy, Unusable::Error), 1, &mut notices, &mut problems);
        (panel, notices, problems)
    }

    /// Equality that takes NaN for itself.
    fn same(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x == y || x.is_nan() && y.is_nan())
    }

    const HOLED: &[f64] = &[NAN, 1., NAN, NAN, 4., NAN];

    #[test]
    fn missing_values_are_listed_by_run() {
        let (_, _, problems) = run(frame(&[HOLED], &[]), Missing::Error);
        let shown: Vec<String> = problems.list.iter().map(|p| p.to_string()).collect();
        assert_eq!(shown[0], "line 2, series `p`, 1, column `p`: the value is missing");
        assert_eq!(shown[1], "line 4, series `p`, 3, column `p`: 2 values are missing, up to 4");
        assert_eq!((problems.errors, problems.list[1].count), (3, 2));
    }

    #[test]
    fn each_policy_does_what_it_says() {
        let with = |policy| {
            let (panel, notices, problems) = run(frame(&[HOLED], &[]), policy);
            assert!(!problems.has_errors() && problems.total == 3);
            (panel, notices.join("; "))
        };
        let (panel, notices) = with(Missing::Drop);
        assert_eq!((panel.y, panel.time), (vec![1., 4.], vec![2, 5]));
        assert_eq!(notices, "4 rows with missing values left out; the rest is taken as a sequence of observations");
        let (panel, notices) = with(Missing::Ffill);
        assert_eq!((panel.y, panel.time[0]), (vec![1., 1., 1., 4., 4.], 2));
        assert_eq!(
            notices,
            "3 missing values filled with the last value before them; 1 rows before the first value of their series left out"
        );
        let (panel, notices) = with(Missing::Interpolate);
        assert_eq!((panel.y, panel.time), (vec![1., 2., 3., 4.], vec![2, 3, 4, 5]));
        assert!(notices.contains("2 missing values filled with a straight line") && notices.contains("2 rows before"));
        let (panel, notices) = with(Missing::Mask);
        assert!(same(&panel.y, HOLED));
        assert_eq!(notices, "4 missing values masked");
    }

    #[test]
    fn covariates_are_filled_and_never_masked() {
        let x: &[f64] = &[NAN, 10., NAN, 30.];
        let y: &[f64] = &[1., 2., 3., 4.];
        let (panel, notices, _) = run(frame(&[y], &[x, x]), Missing::Mask);
        assert_eq!(
            (&panel.hist_exog[0].values[..], panel.futr_exog[0].name.as_str()),
            (&[10., 10., 10., 30.][..], "z")
        );
        assert_eq!(notices.len(), 2, "{notices:?}");
        let (panel, _, _) = run(frame(&[y], &[x]), Missing::Interpolate);
        assert_eq!(panel.hist_exog[0].values, [10., 10., 20., 30.]);
        let (panel, _, _) = run(frame(&[y], &[x]), Missing::Drop);
        assert_eq!((panel.y, panel.hist_exog[0].values.clone()), (vec![2., 4.], vec![10., 30.]));
        let (_, _, problems) = run(frame(&[y], &[x]), Missing::Error);
        assert_eq!(problems.list[0].to_string(), "line 2, 1, column `x`: the value is missing");
    }

    #[test]
    fn wide_columns_become_series_of_their_own_length() {
        let (panel, _, _) = run(frame(&[&[1., 2., 3.], &[NAN, 5., 6.]], &[&[7., 8., 9.]]), Missing::Interpolate);
        assert_eq!(
            (panel.ids.join(","), panel.offsets.clone(), panel.target.as_str()),
            ("p,q".into(), vec![0, 3, 5], "value")
        );
        assert_eq!((panel.time.clone(), panel.y.clone()), (vec![1, 2, 3, 2, 3], vec![1., 2., 3., 5., 6.]));
        assert_eq!(panel.hist_exog[0].values, [7., 8., 9., 8., 9.]);
    }

    #[test]
    fn a_series_without_values_is_an_error_under_every_policy() {
        let keys = Cells::Keys { codes: vec![0, 0, 1], names: vec!["A".into(), "B".into()] };
        let frame = Frame::new(
            Some(keys),
            vec![1, 2, 1],
            Clock::Integer,
            vec![vec![1., 2., NAN]],
            vec!["y".into()],
            1,
            Places::Rows { left_out: vec![] },
            &mut Vec::new(),
            &mut Problems::default(),
        );
        let (_, _, problems) = run(frame, Missing::Mask);
        assert_eq!(problems.to_string(), "row 3, series `B`, 1, column `y`: there is not a single value");
        assert!(problems.has_errors());
    }

    #[test]
    fn constant_and_short_series_are_warnings() {
        let mut problems = Problems::default();
        let (panel, _, _) = run(frame(&[&[5., 5., 5.], &[1., 2., 3.]], &[]), Missing::Error);
        oddities(&panel, &mut problems);
        assert_eq!(problems.to_string(), "series `p`: all 3 values are 5");
        let (panel, _, _) = run(frame(&[&[5.]], &[]), Missing::Error);
        oddities(&panel, &mut problems);
        assert!(problems.list[1].to_string().contains("one value") && !problems.has_errors());
    }
}
