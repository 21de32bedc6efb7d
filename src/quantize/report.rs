//! The short readable form of what the gate found.

use std::fmt::Write;

use super::gate::{Figures, Gated};

/// Layers and series that a report lists.
const SHOWN: usize = 10;

fn line(name: &str, f: &Figures) -> String {
    format!(
        "{name:<24} {:>10.5} {:>10.5} {:>10.5} {:>10.5} {:>9.3}\n",
        f.before.mse,
        f.after.mse,
        f.before.mae,
        f.after.mae,
        100.0 * f.degradation
    )
}

impl Gated {
    /// What to do about a model that is not within the limit.
    pub fn advice(&self) -> String {
        let qat =
            "train with rounding (`nhits train --quantize qat --from MODEL`), or allow more with --max-degradation";
        match &self.suggestion {
            Some(s) if s.enough => format!(
                "leave these layers in f32: --float-layers {} ({:.3} % worse then); or {qat}",
                s.float_layers.join(","),
                100.0 * s.degradation
            ),
            Some(s) => format!(
                "not even with {} in f32 is it within the limit ({:.3} % worse): {qat}",
                s.float_layers.join(","),
                100.0 * s.degradation
            ),
            None => qat.to_string(),
        }
    }

    /// Both models side by side, by step and by series, and the error that each layer adds.
    pub fn report(&self) -> String {
        let c = &self.comparison;
        let ratio = self.bytes_before as f64 / self.bytes_after.max(1) as f64;
        let mut out = format!(
            "{} validation windows; {} -> {} bytes, {ratio:.2} times smaller\n\n{:<24} {:>10} {:>10} {:>10} {:>10} {:>9}\n",
            c.n_windows,
            self.bytes_before,
            self.bytes_after,
            "",
            "mse f32",
            "mse int8",
            "mae f32",
            "mae int8",
            "worse %"
        );
        out.push_str(&line("all", &c.figures));
        let steps = &c.per_step;
        let mut shown: Vec<usize> = [1, steps.len() / 4, steps.len() / 2, 3 * steps.len() / 4, steps.len()].into();
        shown.retain(|s| *s > 0 && *s <= steps.len());
        shown.dedup();
        shown.iter().for_each(|s| out.push_str(&line(&format!("step {s}"), &steps[s - 1].figures)));
        if c.per_series.len() > 1 {
            let mut series: Vec<_> = c.per_series.iter().collect();
            series.sort_by(|a, b| b.figures.degradation.total_cmp(&a.figures.degradation));
            series.iter().take(SHOWN).for_each(|s| {
                let name: String = s.unique_id.chars().take(24).collect();
                out.push_str(&line(&name, &s.figures));
            });
            if series.len() > SHOWN {
                let _ = writeln!(out, "and {} more series, that lost less", series.len() - SHOWN);
            }
        }
        out.push_str("\nlayer                     precision   weights  signal to noise dB  share of the error\n");
        for l in self.layers.iter().take(SHOWN) {
            let db = if l.sqnr_db.is_finite() { format!("{:.1}", l.sqnr_db) } else { "-".into() };
            let _ = writeln!(
                out,
                "{:<24}  {:<9} {:>9} {db:>19} {:>18.1}%",
                l.layer,
                l.precision,
                l.weights,
                100.0 * l.share
            );
        }
        if self.layers.len() > SHOWN {
            let _ = writeln!(out, "and {} more layers, that add less", self.layers.len() - SHOWN);
        }
        if let Some(path) = &self.output {
            let _ = write!(out, "\nwrote {}", path.display());
        }
        out
    }
}
