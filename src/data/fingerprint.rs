//! The fingerprint of a panel: which data a model was trained on, whatever the format of the file.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::panel::Panel;

/// Values that are hashed by one task; part of the definition of the fingerprint.
const CHUNK: usize = 1 << 16;

/// SHA-256 over the panel's content, in hex: clock, ids, lengths, times, targets and covariates.
///
/// The frequency and the name of the target are not part of it. Each arena is hashed in chunks of 65,536 values, whose
/// hashes are hashed, so that the work is shared by threads; every NaN counts as the same one.
pub fn fingerprint(panel: &Panel) -> String {
    let mut hash = Sha256::new();
    hash.update(b"nhits panel 1\0");
    text(&mut hash, &panel.clock.to_string());
    hash.update((panel.n_series() as u64).to_le_bytes());
    for (s, id) in panel.ids.iter().enumerate() {
        text(&mut hash, id);
        hash.update((panel.len_of(s) as u64).to_le_bytes());
    }
    arena(&mut hash, &panel.time, |_| true, |t| t.to_le_bytes());
    numbers(&mut hash, &panel.y);
    for (role, columns) in [("hist_exog", &panel.hist_exog), ("futr_exog", &panel.futr_exog)] {
        for column in columns {
            text(&mut hash, role);
            text(&mut hash, &column.name);
            numbers(&mut hash, &column.values);
        }
    }
    for column in &panel.stat_exog {
        text(&mut hash, "stat_exog");
        text(&mut hash, &column.name);
        numbers(&mut hash, &column.values);
    }
    for column in &panel.stat_cat {
        text(&mut hash, "stat_cat");
        text(&mut hash, &column.name);
        (0..panel.n_series()).for_each(|s| text(&mut hash, column.text(s).unwrap_or_default()));
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Length before content, so that no two lists of texts look alike.
fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

fn numbers(hash: &mut Sha256, values: &[f64]) {
    arena(hash, values, |v| !v.is_nan(), |v| if v.is_nan() { f64::NAN.to_le_bytes() } else { v.to_le_bytes() });
}

/// Hashes the bytes of each value, which are those in memory where they are `plain` and the processor has the lowest byte first.
fn arena<T: bytemuck::Pod + Sync>(
    hash: &mut Sha256,
    values: &[T],
    plain: impl Fn(T) -> bool + Sync,
    bytes: impl Fn(T) -> [u8; 8] + Sync,
) {
    let digest = |chunk: &[T]| {
        if cfg!(target_endian = "little") && chunk.iter().fold(true, |all, v| all & plain(*v)) {
            return Sha256::digest(bytemuck::cast_slice(chunk));
        }
        let raw: Vec<u8> = chunk.iter().flat_map(|v| bytes(*v)).collect();
        Sha256::digest(&raw)
    };
    let chunks: Vec<_> = values.par_chunks(CHUNK).map(digest).collect();
    hash.update((values.len() as u64).to_le_bytes());
    chunks.iter().for_each(|digest| hash.update(digest));
}

#[cfg(test)]
mod tests {
    use super::super::panel::Column;
    use super::*;
    use crate::calendar::{Clock, Frequency};

    fn panel() -> Panel {
        let ids = vec!["A".to_owned(), "B".to_owned()];
        let freq = Frequency::integer(1).unwrap();
        Panel::new(ids, vec![0, 2, 3], vec![1, 2, 1], Clock::Integer, freq, vec![1.0, f64::NAN, 3.0], "y")
    }

    #[test]
    fn any_change_of_content_changes_it() {
        let of = |change: fn(&mut Panel)| {
            let mut p = panel();
            change(&mut p);
            fingerprint(&p)
        };
        let changes: [fn(&mut Panel); 8] = [
            |_| {},
            |p| p.y[2] = 3.5,
            |p| p.time[0] = 0,
            |p| p.ids[0] = "C".into(),
            |p| p.offsets[1] = 1,
            |p| p.clock = Clock::Utc,
            |p| p.hist_exog.push(Column { name: "x".into(), values: vec![0.0; 3] }),
            |p| p.futr_exog.push(Column { name: "x".into(), values: vec![0.0; 3] }),
        ];
        let prints: std::collections::BTreeSet<String> = changes.iter().map(|c| of(*c)).collect();
        assert_eq!(prints.len(), changes.len());
        assert!(prints.iter().all(|p| p.len() == 64));
    }

    #[test]
    fn the_payload_of_a_nan_the_frequency_and_the_name_do_not_matter() {
        let mut other = panel();
        other.y[1] = f64::from_bits(0x7ff8_0000_0000_0001);
        other.freq = Frequency::integer(2).unwrap();
        other.target = "sales".into();
        assert_eq!(fingerprint(&panel()), fingerprint(&other));
    }
}
