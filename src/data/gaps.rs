//! Holes in a calendar: which frequency the rows follow, which rows are absent, and what the policy makes of them.

use rayon::prelude::*;

use crate::calendar::{Frequency, infer};
use crate::error::InvalidSetting;

use super::Severity;
use super::config::Gaps;
use super::error::{DataError, Place};
use super::frame::{Frame, INSERTED};
use super::number::is_missing;
use super::problems::{Problem, ProblemKind, Problems};
use super::trading;

/// Rows that may be inserted: a wrong frequency or a stray stamp must not fill the memory.
const MOST_INSERTED: usize = 1_000_000;

/// What follows a row is not the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hole {
    /// So many rows are absent after row `after`.
    Absent { after: usize, rows: i64 },
    /// The stamp after row `after` is not on the grid through it.
    OffGrid { after: usize },
}

/// The frequency of the rows: the one that was set, or the one that most steps follow.
///
/// # Errors
/// A frequency that does not go with the stamps, or none that describes them.
pub(super) fn frequency(frame: &Frame, set: Option<Frequency>, place: &Place) -> Result<Frequency, DataError> {
    match set {
        Some(freq) if freq.fits(frame.clock) => Ok(freq),
        Some(freq) => Err(InvalidSetting::new(
            "data.freq",
            freq,
            format!("a frequency for a time column of {}", frame.clock),
            "leave out --freq, or name another --time-col",
        )
        .into()),
        None => infer((0..frame.ids.len()).map(|g| frame.times(g)), frame.clock)
            .map(|inferred| inferred.freq)
            .map_err(|e| place.calendar(e)),
    }
}

/// The holes of one group. Equal stamps (`--duplicates keep`) are none.
pub(super) fn holes(frame: &Frame, group: usize, freq: Frequency) -> Vec<Hole> {
    let first = frame.offsets[group];
    let mut found = Vec::new();
    // Most data has steps of one length and no hole: one pass that the compiler can vectorise says so.
    if let Some(step) = freq.fixed_step()
        && frame.times(group).windows(2).fold(true, |all, w| all & (w[1].wrapping_sub(w[0]) == step))
        && frame.times(group).is_sorted()
    {
        return found;
    }
    for (i, pair) in frame.times(group).windows(2).enumerate() {
        if freq.advance(pair[0], 1) == Some(pair[1]) || pair[0] == pair[1] {
            continue;
        }
        let after = first + i;
        found.push(match freq.steps_between(pair[0], pair[1]) {
            Some(steps) if steps > 1 => Hole::Absent { after, rows: steps - 1 },
            _ => Hole::OffGrid { after },
        });
    }
    found
}

/// Applies the policy to all groups.
pub(super) fn resolve(
    frame: &mut Frame,
    freq: Frequency,
    policy: Gaps,
    notices: &mut Vec<String>,
    problems: &mut Problems,
) {
    if policy == Gaps::Observed {
        return;
    }
    let mut trading = 0;
    let mut session_holes = 0;
    let mut to_fill: Vec<(usize, Vec<Hole>)> = Vec::new();
    let with_holes: Vec<(usize, Vec<Hole>)> = (0..frame.ids.len())
        .into_par_iter()
        .map(|g| (g, holes(frame, g, freq)))
        .filter(|(_, holes)| !holes.is_empty())
        .collect();
    for (g, holes) in with_holes {
        if policy == Gaps::Auto
            && let Some(absent) = trading::absent_rows(frame.times(g), frame.offsets[g], &holes, freq, frame.clock)
        {
            trading += 1;
            session_holes += absent;
            continue;
        }
        report(frame, g, freq, policy, &holes, problems);
        if matches!(policy, Gaps::Fill | Gaps::Mask) {
            to_fill.push((g, holes));
        }
    }
    if trading > 0 {
        let what = if freq.is_sub_daily() { "sessions" } else { "business days" };
        let whose = if frame.ids.len() > 1 { format!(" ({trading} series)") } else { String::new() };
        notices.push(format!(
            "trading calendar{whose}: {what}, {session_holes} steps of `{freq}` without a row; the rows are taken as the sequence \
             of observations they are"
        ));
    }
    if !to_fill.is_empty() && !problems.has_errors() {
        insert(frame, freq, policy, &to_fill, notices, problems);
    }
}

fn report(frame: &Frame, g: usize, freq: Frequency, policy: Gaps, holes: &[Hole], problems: &mut Problems) {
    let filled = matches!(policy, Gaps::Fill | Gaps::Mask);
    for hole in holes {
        match *hole {
            Hole::Absent { after, rows } => {
                let severity = if filled { Severity::Warning } else { Severity::Error };
                problems.push_with(ProblemKind::Gap, severity, || {
                    let message = match rows {
                        1 => format!("1 row of `{freq}` is absent before it, after {}", before(frame, after)),
                        n => format!("{n} rows of `{freq}` are absent before it, after {}", before(frame, after)),
                    };
                    frame.problem(ProblemKind::Gap, g, after + 1, message).count(rows as u64).warning_if(filled)
                });
            }
            Hole::OffGrid { after } => problems.push_with(ProblemKind::OffGrid, Severity::Error, || {
                let message = format!("not a whole number of `{freq}` steps after {}", before(frame, after));
                frame.problem(ProblemKind::OffGrid, g, after + 1, message)
            }),
        }
    }
}

fn before(frame: &Frame, row: usize) -> String {
    frame.clock.format(frame.time[row])
}

/// Inserts the absent rows; `to_fill` has groups in ascending order.
fn insert(
    frame: &mut Frame,
    freq: Frequency,
    policy: Gaps,
    to_fill: &[(usize, Vec<Hole>)],
    notices: &mut Vec<String>,
    problems: &mut Problems,
) {
    let all = || {
        to_fill.iter().flat_map(|(_, holes)| holes).filter_map(|hole| match hole {
            Hole::Absent { after, rows } => Some((*after, usize::try_from(*rows).unwrap_or(usize::MAX))),
            Hole::OffGrid { .. } => None,
        })
    };
    let total = all().fold(0usize, |sum, (_, rows)| sum.saturating_add(rows));
    let most = MOST_INSERTED.max(10 * frame.n_rows());
    if total > most {
        let message =
            format!("{total} rows of `{freq}` would have to be inserted, more than {most}: is the frequency right?");
        problems.push(Problem::new(ProblemKind::Gap, message));
        return;
    }
    // Where each row comes from: a row of the frame, or a time that is inserted.
    let n = frame.n_rows() + total;
    let mut time = Vec::with_capacity(n);
    let mut from: Vec<usize> = Vec::with_capacity(n);
    let mut holes = all().peekable();
    let mut offsets = vec![0];
    for g in 0..frame.ids.len() {
        for row in frame.offsets[g]..frame.offsets[g + 1] {
            time.push(frame.time[row]);
            from.push(row);
            if let Some((_, rows)) = holes.next_if(|(after, _)| *after == row) {
                for step in 1..=rows as i64 {
                    // The steps lie between two stamps that exist, so none can fail.
                    time.push(freq.advance(frame.time[row], step).unwrap_or(frame.time[row]));
                    from.push(usize::MAX);
                }
            }
        }
        offsets.push(time.len());
    }
    for (c, column) in frame.columns.iter_mut().enumerate() {
        let mut longer: Vec<f64> = from.iter().map(|r| column.get(*r).copied().unwrap_or(f64::NAN)).collect();
        for w in offsets.windows(2) {
            let (values, from) = (&mut longer[w[0]..w[1]], &from[w[0]..w[1]]);
            match policy {
                Gaps::Fill => fill_inserted(values, from),
                _ if c >= frame.n_targets => repeat_last(values, from),
                _ => {}
            }
        }
        *column = longer;
    }
    frame.file_rows = Some(
        from.iter()
            .map(|r| if *r == usize::MAX { INSERTED } else { frame.file_row(*r).map_or(INSERTED, |r| r as u32) })
            .collect(),
    );
    frame.time = time;
    frame.offsets = offsets;
    let how = if policy == Gaps::Fill { "filled with a straight line" } else { "masked" };
    notices.push(format!("{total} absent rows inserted, {how}"));
}

/// A straight line over the inserted rows between the values around them.
fn fill_inserted(values: &mut [f64], from: &[usize]) {
    let mut last: Option<usize> = None;
    let mut row = 0;
    while row < values.len() {
        if !is_missing(values[row]) {
            last = Some(row);
            row += 1;
            continue;
        }
        let end = (row..values.len()).find(|r| !is_missing(values[*r])).unwrap_or(values.len());
        if let (Some(a), true) = (last, end < values.len()) {
            let (from_value, to_value) = (values[a], values[end]);
            for r in row..end {
                if from[r] == usize::MAX {
                    values[r] = from_value + (to_value - from_value) * (r - a) as f64 / (end - a) as f64;
                }
            }
        }
        row = end;
    }
}

/// The last value before each inserted row.
fn repeat_last(values: &mut [f64], from: &[usize]) {
    for r in 1..values.len() {
        if from[r] == usize::MAX {
            values[r] = values[r - 1];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Places;
    use super::*;
    use crate::calendar::{Clock, parse_stamp};

    fn frame(stamps: &[&str], columns: &[&[f64]]) -> Frame {
        let stamps: Vec<_> = stamps.iter().map(|s| parse_stamp(s).unwrap()).collect();
        let clock = crate::calendar::join(stamps.iter().map(|s| s.kind)).unwrap();
        Frame::new(
            None,
            stamps.iter().map(|s| s.value).collect(),
            clock,
            columns.iter().map(|c| c.to_vec()).collect(),
            vec!["y".into(), "x".into()],
            1,
            Places::Lines(vec![(0, 2)]),
            &mut Vec::new(),
            &mut Problems::default(),
        )
    }

    fn holed() -> Frame {
        frame(
            &["2020-01-01", "2020-01-02", "2020-01-05", "2020-01-06", "2020-01-07"],
            &[&[1., 2., 5., 6., 7.], &[10., 20., 50., 60., 70.]],
        )
    }

    fn run(frame: &mut Frame, policy: Gaps) -> (Vec<String>, Problems) {
        let place = Place { path: "f".into() };
        let (mut notices, mut problems) = (Vec::new(), Problems::default());
        let freq = frequency(frame, None, &place).unwrap();
        resolve(frame, freq, policy, &mut notices, &mut problems);
        (notices, problems)
    }

    #[test]
    fn a_hole_in_a_regular_calendar_is_an_error_that_lists_it() {
        for policy in [Gaps::Auto, Gaps::Error] {
            let (_, problems) = run(&mut holed(), policy);
            assert_eq!(problems.errors, 1);
            assert_eq!(
                problems.to_string(),
                "line 4, 2020-01-05: 2 rows of `D` are absent before it, after 2020-01-02"
            );
        }
        let (notices, problems) = run(&mut holed(), Gaps::Observed);
        assert!(notices.is_empty() && problems.is_empty());
    }

    #[test]
    fn fill_draws_a_line_and_mask_leaves_the_target_open() {
        let mut filled = holed();
        let (notices, problems) = run(&mut filled, Gaps::Fill);
        assert_eq!(notices, ["2 absent rows inserted, filled with a straight line"]);
        assert!(!problems.has_errors());
        assert_eq!(filled.columns[0], [1., 2., 3., 4., 5., 6., 7.]);
        assert_eq!(filled.columns[1], [10., 20., 30., 40., 50., 60., 70.]);
        assert_eq!(filled.offsets, [0, 7]);
        assert_eq!((filled.file_row(3), filled.file_row(4)), (None, Some(2)));
        assert_eq!(filled.clock.format(filled.time[3]), "2020-01-04");

        let mut masked = holed();
        let (notices, _) = run(&mut masked, Gaps::Mask);
        assert_eq!(notices, ["2 absent rows inserted, masked"]);
        assert!(masked.columns[0][2].is_nan() && masked.columns[0][3].is_nan() && masked.columns[0][4] == 5.0);
        assert_eq!(masked.columns[1], [10., 20., 20., 20., 50., 60., 70.]);
    }

    #[test]
    fn a_stamp_beside_the_grid_is_an_error_of_its_own() {
        let stamps =
            ["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00", "2020-01-01 03:20", "2020-01-01 04:20"];
        let mut f = frame(&stamps, &[&[1.; 5], &[1.; 5]]);
        let (_, problems) = run(&mut f, Gaps::Fill);
        assert_eq!(
            problems.to_string(),
            "line 5, 2020-01-01 03:20:00: not a whole number of `h` steps after 2020-01-01 02:00:00"
        );
    }

    #[test]
    fn a_frequency_that_does_not_fit_the_stamps_is_refused() {
        let place = Place { path: "f".into() };
        let f = holed();
        let error = frequency(&f, Some("3".parse().unwrap()), &place).unwrap_err();
        assert!(error.to_string().contains("data.freq = 3") && error.to_string().contains("dates"), "{error}");
        assert_eq!(frequency(&f, Some("W".parse().unwrap()), &place).unwrap().to_string(), "W-SUN");
        assert_eq!(f.clock, Clock::Date);
    }

    #[test]
    fn a_stray_stamp_does_not_fill_the_memory() {
        let mut f = frame(&["1", "2", "3", "999999999999"], &[&[1.; 4], &[1.; 4]]);
        let (_, problems) = run(&mut f, Gaps::Fill);
        assert!(problems.list[0].message.contains("absent") || problems.list[0].message.contains("inserted"));
        assert!(problems.to_string().contains("is the frequency right?"), "{problems}");
        assert_eq!(f.n_rows(), 4);
    }
}
