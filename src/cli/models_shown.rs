//! What `nhits models` says to a person.

use crate::registry::{Checkpoint, Lineage, Model, Note, Stage, Stats, Verified};

/// The day and minute of a time stamp.
fn minute(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// Rows as columns that line up.
fn columns(rows: Vec<Vec<String>>) -> String {
    let n = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n).map(wide).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        cells.join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cells(m: &Model) -> Vec<String> {
    let mae = m.metadata.metrics.get("val_mae").map_or("-".into(), |v| format!("{v:.5}"));
    let tags: Vec<&str> = m.metadata.tags.iter().map(String::as_str).collect();
    vec![
        m.id.clone(),
        m.reference(),
        m.metadata.kind.clone(),
        m.stage.map_or("-", Stage::name).into(),
        mae,
        minute(&m.created),
        tags.join(","),
    ]
}

const HEAD: [&str; 7] = ["id", "model", "type", "stage", "val mae", "filed (UTC)", "tags"];

/// One line per model.
pub(super) fn table(models: &[Model]) -> String {
    if models.is_empty() {
        return "no models".into();
    }
    columns(std::iter::once(HEAD.map(String::from).to_vec()).chain(models.iter().map(cells)).collect())
}

/// One line per model, with a score before it.
pub(super) fn scored(models: &[(f64, &Model)]) -> String {
    if models.is_empty() {
        return "no models".into();
    }
    let head = std::iter::once("score").chain(HEAD).map(String::from).collect();
    let row = |(score, m): &(f64, &Model)| std::iter::once(format!("{score:.4}")).chain(cells(m)).collect();
    columns(std::iter::once(head).chain(models.iter().map(row)).collect())
}

/// Everything about a model.
pub(super) fn model(m: &Model, notes: &[Note]) -> String {
    let d = &m.metadata;
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() && value != "null" {
            rows.push((name.into(), value));
        }
    };
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    add("id", m.id.clone());
    add("type", d.kind.clone());
    add("description", d.description.clone());
    add("stage", m.stage.map(|s| s.to_string()).unwrap_or_default());
    add("tags", d.tags.iter().cloned().collect::<Vec<_>>().join(", "));
    add("filed", m.created.clone());
    add("file", format!("{} bytes, SHA-256 {}", m.size, m.sha256));
    add("input size", number(d.architecture.input_size));
    add("horizon", number(d.architecture.horizon));
    add("parameters", number(d.architecture.parameters));
    for (name, value) in &d.metrics {
        add(name, format!("{value}"));
    }
    add("data", text(&d.data.fingerprint));
    add("data from", text(&d.data.from));
    add("data to", text(&d.data.to));
    add("backend", text(&d.hardware.backend));
    add("device", text(&d.hardware.device));
    add("machine", text(&d.hardware.machine));
    add("seed", number(d.seed));
    add("program", d.program.clone());
    add("parent", text(&d.parent));
    add("fine-tuned from", text(&d.fine_tuned_from));
    add("hyperparameters", d.hyperparameters.to_string());
    for (key, value) in &d.extra {
        add(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    for note in notes {
        add(&format!("note {}", minute(&note.created)), note.text.clone());
    }
    format!("{}\n{}", m.reference(), columns(rows.into_iter().map(|(n, v)| vec![n, v]).collect()))
}

/// Relatives, the nearest first.
pub(super) fn lineage(l: &Lineage) -> String {
    let mut lines = vec![format!("{} ({})", l.reference, l.id)];
    for (title, list) in [("comes from", &l.ancestors), ("led to", &l.descendants), ("same data", &l.same_data)] {
        for r in list {
            lines.push(format!("{title:<10} {} ({}), {:?}, {} away", r.reference, r.id, r.relation, r.distance));
        }
    }
    lines.join("\n")
}

/// One line per checkpoint.
pub(super) fn checkpoints(all: &[Checkpoint]) -> String {
    if all.is_empty() {
        return "no checkpoints".into();
    }
    let head = ["id", "run", "epoch", "step", "MB", "filed (UTC)", "metrics"].map(String::from).to_vec();
    let row = |c: &Checkpoint| {
        let metrics: Vec<String> = c.metrics.iter().map(|(n, v)| format!("{n} {v:.5}")).collect();
        let mb = format!("{:.1}", c.size as f64 / 1e6);
        vec![
            c.id.clone(),
            c.run.clone(),
            c.epoch.to_string(),
            c.step.to_string(),
            mb,
            minute(&c.created),
            metrics.join(", "),
        ]
    };
    columns(std::iter::once(head).chain(all.iter().map(row)).collect())
}

/// What there is.
pub(super) fn stats(s: &Stats) -> String {
    format!(
        "{} models of {} names, {} in production, {} tags\n{} checkpoints of {} runs\n{} files, {:.1} MB ({:.1} MB saved by \
         storing equal content once)\ndatabase {:.1} MB, schema {}",
        s.models,
        s.names,
        s.production,
        s.tags,
        s.checkpoints,
        s.runs,
        s.files,
        s.file_bytes as f64 / 1e6,
        s.content_bytes.saturating_sub(s.file_bytes) as f64 / 1e6,
        s.database_bytes as f64 / 1e6,
        s.schema
    )
}

/// What was found.
pub(super) fn verified(v: &Verified) -> String {
    let mut lines = vec![format!("{} files are as they were saved", v.good)];
    for (title, list) in [("missing", &v.missing), ("damaged", &v.damaged), ("database", &v.database)] {
        lines.extend(list.iter().map(|what| format!("{title}: {what}")));
    }
    if v.orphaned.len() + v.leftovers.len() > 0 {
        let n = v.orphaned.len() + v.leftovers.len();
        lines.push(format!("{n} files that nothing refers to; `nhits models gc` removes them"));
    }
    lines.join("\n")
}
