//! `nhits data inspect` for a person: a report of some lines, and the series drawn in the terminal.

use crate::data::{ColumnReport, Inspection, Portrait, SeriesReport, Stretch};

/// An inspection in words.
pub(super) fn describe(found: &Inspection) -> String {
    let mut lines = vec![format!("{}: {} rows, {} layout", found.path, found.n_rows, found.layout)];
    if let Some(series) = &found.series {
        lines.extend(calendar(series));
    }
    if let Some(time) = &found.time_col {
        lines.push(format!("time column {time}"));
    }
    if !found.target_candidates.is_empty() {
        lines.push(format!("numeric columns {}", found.target_candidates.join(", ")));
    }
    lines.push(String::new());
    let width = found.columns.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    for column in &found.columns {
        lines.push(format!("  {:<width$}  {}", column.name, describe_column(column)));
    }
    if let Some(values) = &found.values {
        lines.push(String::new());
        lines.extend(portrait(values, &found.path));
    }
    lines.extend(found.notes.iter().map(|n| format!("note: {n}")));
    lines.join("\n")
}

fn calendar(series: &SeriesReport) -> Vec<String> {
    let freq = series.freq.as_deref().unwrap_or("none that could be told");
    let length = if series.min_len == series.max_len {
        series.min_len.to_string()
    } else {
        format!("{} to {}", series.min_len, series.max_len)
    };
    let mut lines = vec![format!(
        "{} series of {length} rows, {} to {}, frequency {freq}{}",
        series.n_series,
        series.first,
        series.last,
        if series.irregular > 0 { format!(" ({} irregular steps)", series.irregular) } else { String::new() }
    )];
    if let Some(hole) = &series.longest_hole {
        lines.push(format!(
            "{} holes in the calendar, {} rows absent{}; the longest is {}",
            series.holes,
            series.absent_rows,
            if series.trading { " (a trading calendar: nights, weekends, holidays)" } else { "" },
            stretch(hole, series.n_series > 1)
        ));
    }
    if series.off_grid > 0 {
        lines.push(format!("{} steps are no whole number of `{freq}`", series.off_grid));
    }
    lines
}

fn stretch(stretch: &Stretch, named: bool) -> String {
    let of = if named { format!(" of `{}`", stretch.series) } else { String::new() };
    let rows = if stretch.rows == 1 { "row" } else { "rows" };
    format!("{} {rows}{of}, {} to {}", stretch.rows, stretch.from, stretch.to)
}

fn portrait(values: &Portrait, path: &str) -> Vec<String> {
    let mut lines = vec![format!("target {}: {} to {}", values.target, values.min, values.max)];
    if let Some(longest) = &values.longest_missing {
        let longest = stretch(longest, true);
        lines.push(format!("{} values missing or absent; the longest stretch is {longest}", values.missing));
    }
    if let Some(longest) = &values.longest_constant {
        lines.push(format!(
            "{} stretches of at least {} equal values; the longest is {}, all {}",
            values.constant,
            values.constant_from,
            stretch(longest, true),
            longest.value.unwrap_or(f64::NAN)
        ));
    }
    lines.push(match &values.seasons[..] {
        [] => "no season found".to_owned(),
        seasons => {
            let told = seasons.iter().map(|s| format!("{} rows (autocorrelation {:.2})", s.period, s.strength));
            format!("seasons: {}", told.collect::<Vec<_>>().join(", "))
        }
    });
    if values.level_moves {
        lines.push("the level moves: the last quarter lies elsewhere than the first".to_owned());
    }
    lines.push(draw(values));
    let set = &values.suggested;
    lines.push(format!(
        "to begin with: nhits train --data {path} --horizon {} --input-size {} --scaler {}{}",
        set.horizon,
        set.input_size,
        set.scaler,
        if set.window_scaler == "identity" { String::new() } else { format!(" --window-scaler {}", set.window_scaler) }
    ));
    lines.extend(set.why.iter().map(|why| format!("  {why}")));
    lines
}

/// The longest series, drawn in the terminal.
fn draw(values: &Portrait) -> String {
    use textplots::{Chart, Plot, Shape};
    let (Some(first), Some(last)) = (values.sketch.first(), values.sketch.last()) else { return String::new() };
    if values.sketch.len() < 2 {
        return String::new();
    }
    let line = Shape::Lines(&values.sketch);
    let mut chart = Chart::new(150, 40, first.0, last.0);
    let drawn = chart.lineplot(&line);
    drawn.axis();
    drawn.figures();
    format!("`{}` over its rows\n{drawn}", values.sketched)
}

fn describe_column(column: &ColumnReport) -> String {
    let mut text =
        serde_json::to_value(column.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    if let (Some(min), Some(max)) = (column.min, column.max) {
        text.push_str(&format!("  {min} to {max}"));
    }
    if let (Some(first), Some(last)) = (&column.first, &column.last) {
        text.push_str(&format!("  {first} to {last}"));
    }
    if let Some(distinct) = column.distinct {
        text.push_str(&format!("  {distinct} different"));
    }
    for (count, what) in [(column.missing, "missing"), (column.unreadable, "unreadable"), (column.infinite, "infinite")]
    {
        if count > 0 {
            text.push_str(&format!("  {count} {what}"));
        }
    }
    text
}
