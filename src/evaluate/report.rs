//! The short readable form of an [`Evaluation`].

use std::fmt::Write;

use super::{Evaluation, ScaledMetrics};
use crate::metric::Metrics;

/// The column's title, its value, and whether small is good.
type Figure = (&'static str, fn(&Row<'_>) -> f64, bool);

const FIGURES: [Figure; 8] = [
    ("scaled mse", |r| r.scaled.mse, true),
    ("scaled mae", |r| r.scaled.mae, true),
    ("mae", |r| r.original.mae, true),
    ("rmse", |r| r.original.rmse, true),
    ("smape %", |r| r.original.smape, true),
    ("mase", |r| r.original.mase, true),
    ("r2", |r| r.original.r2.unwrap_or(f64::NAN), false),
    ("skill", |r| r.skill, false),
];

struct Row<'a> {
    name: &'a str,
    scaled: &'a ScaledMetrics,
    original: &'a Metrics,
    skill: f64,
}

impl Evaluation {
    /// A table of the network beside the baselines, the best of each column marked `*`; how the error grows with the
    /// step; intervals where there are any; and the notices.
    pub fn report(&self) -> String {
        let judged = &self.judged;
        let mut rows =
            vec![Row { name: &self.model, scaled: &judged.scaled, original: &judged.original, skill: self.skill }];
        rows.extend(self.baselines.iter().map(|(name, b)| Row {
            name,
            scaled: &b.scaled,
            original: &b.original,
            skill: b.skill,
        }));
        let mut out = format!(
            "{} test windows of {} series, horizon {}, input {}, season {}\n\n",
            judged.n_windows, judged.n_series, self.horizon, self.input_size, self.season
        );
        table(&rows, &mut out);
        out.push_str("\n* best of the column; scaled: each series standardised by its train rows;\n");
        out.push_str("  skill: 1 - scaled mae / scaled mae of seasonal_naive, above 0 is better than it\n");
        self.steps(&mut out);
        self.intervals(&mut out);
        for notice in &self.notices {
            let _ = writeln!(out, "note: {notice}");
        }
        out
    }

    fn steps(&self, out: &mut String) {
        let steps = &self.judged.per_step;
        if steps.len() < 2 {
            return;
        }
        let mut shown: Vec<usize> = [1, steps.len() / 4, steps.len() / 2, 3 * steps.len() / 4, steps.len()].into();
        shown.retain(|s| *s > 0);
        shown.dedup();
        let figures: Vec<String> = shown.iter().map(|s| format!("{s}: {}", number(steps[s - 1].scaled.mae))).collect();
        let _ = writeln!(out, "\nscaled mae by step   {}", figures.join("   "));
    }

    fn intervals(&self, out: &mut String) {
        for i in &self.judged.original.intervals {
            let _ = writeln!(
                out,
                "{} % interval   covers {:.1} %, mean width {}, score {}",
                i.level,
                100.0 * i.coverage,
                number(i.width),
                number(i.score)
            );
        }
    }
}

fn table(rows: &[Row<'_>], out: &mut String) {
    let names = rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0);
    let columns: Vec<Vec<String>> = FIGURES
        .iter()
        .map(|(title, value, small_is_good)| {
            let values: Vec<f64> = rows.iter().map(value).collect();
            let order = |a: &f64, b: &f64| if *small_is_good { a.total_cmp(b) } else { b.total_cmp(a) };
            let best = values.iter().copied().filter(|v| v.is_finite()).min_by(order);
            let cells = values.iter().map(|v| format!("{}{}", number(*v), if Some(*v) == best { '*' } else { ' ' }));
            std::iter::once(format!("{title} ")).chain(cells).collect()
        })
        .collect();
    for line in 0..=rows.len() {
        let _ = write!(out, "{:names$}", if line == 0 { "" } else { rows[line - 1].name });
        for column in &columns {
            let width = column.iter().map(String::len).max().unwrap_or(0);
            let _ = write!(out, "  {:>width$}", column[line]);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
}

/// Four digits after the point for small numbers, fewer for large ones, `-` for an undefined one.
fn number(v: f64) -> String {
    match v.abs() {
        a if a.is_nan() => "-".into(),
        a if a >= 1e7 => format!("{v:.3e}"),
        a if a >= 1000.0 => format!("{v:.1}"),
        a if a >= 100.0 => format!("{v:.2}"),
        a if a > 0.0 && a < 1e-3 => format!("{v:.2e}"),
        _ => format!("{v:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Protocol;
    use crate::evaluate::baseline::Naive;
    use crate::evaluate::protocol::tests::{panel, split};

    #[test]
    fn the_best_is_marked_and_the_undefined_is_a_dash() {
        let saw: Vec<f64> = (0..60).map(|t| f64::from(t % 4)).collect();
        let data = panel(&[&saw]);
        let protocol = Protocol::new(8, 4, 4, vec![split(50, 0, 10)]);
        let report = Evaluation::run(&data, &protocol, &mut Naive::new(4), 5).unwrap().report();
        let line = |name: &str| report.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
        assert!(line("seasonal_naive").contains("0.0000*"), "{report}");
        assert!(!line("naive").contains('*'), "{report}");
        // the seasonal naive is perfect in sample, so nothing has a mase, and a skill against 0 is undefined
        assert!(line("drift").contains(" - "), "{report}");
        assert!(report.contains("scaled mae by step   1: "), "{report}");
    }

    #[test]
    fn numbers_keep_a_readable_width() {
        let shown = [0.26654, 1234.56, 123.456, 0.00001234, f64::NAN, 0.0, 2.5e9].map(number);
        assert_eq!(shown, ["0.2665", "1234.6", "123.46", "1.23e-5", "-", "0.0000", "2.500e9"]);
    }
}
