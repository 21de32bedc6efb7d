//! The checklist of a run: what a person would look at first, looked at by the program, with the numbers behind it.

use serde::Serialize;

use crate::bundle::{EpochRecord, StoppedBy};

/// A training loss that has not fallen by this share has not learned.
const LEAST_FALL: f64 = 0.05;
/// A validation loss this much above its best, with the training loss still falling, is overfitting.
const OVERFIT: f64 = 0.05;
/// A validation loss that rises by this much from one validation to the next is a jump.
const JUMP: f64 = 0.25;

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was measured.
    pub measured: String,
    /// What to try; empty where nothing needs to be.
    pub advice: String,
}

/// What the checklist looks at.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// Every epoch.
    pub history: &'a [EpochRecord],
    /// The epoch whose weights were kept.
    pub best: Option<&'a EpochRecord>,
    /// Why the run ended.
    pub stopped_by: Option<StoppedBy>,
    /// Mean absolute error of the last value repeated over the validation windows, on the scale of the run's errors.
    pub naive_mae: Option<f64>,
    /// Training windows.
    pub n_windows: usize,
    /// Weights.
    pub n_parameters: usize,
    /// Steps of the horizon.
    pub horizon: usize,
    /// Rollbacks after losses that were no numbers.
    pub rollbacks: usize,
    /// Warnings of a gradient monitor; `None` where there was none.
    pub gradient_warnings: Option<&'a [String]>,
}

/// Works down the list. A check that the run gives no numbers for is left out.
pub fn diagnose(facts: &Facts<'_>) -> Vec<Check> {
    [falls, beats_naive, overfits, unfinished, jumps, enough_data, numbers, gradients]
        .into_iter()
        .filter_map(|check| check(facts))
        .collect()
}

fn percent(change: f64) -> String {
    format!("{:.1} %", 100.0 * change)
}

fn falls(facts: &Facts<'_>) -> Option<Check> {
    let (first, last) = (facts.history.first()?, facts.history.last()?);
    if facts.history.len() < 2 || first.train_loss <= 0.0 {
        return None;
    }
    let least = facts.history.iter().map(|r| r.train_loss).fold(f64::INFINITY, f64::min);
    let ok = least < first.train_loss * (1.0 - LEAST_FALL) && last.train_loss <= first.train_loss;
    Some(Check {
        name: "the training loss falls",
        ok,
        measured: format!("{:.5} in the first epoch, {:.5} in the last", first.train_loss, last.train_loss),
        advice: if ok {
            String::new()
        } else {
            if last.train_loss > first.train_loss {
                "it ended higher than it began: a smaller --lr, --warmup-steps, --gradient-clip 1".into()
            } else {
                "--find-lr for a rate that learns, less --dropout, a --scaler, or more steps; data without a pattern gives \
                 the same picture"
                    .into()
            }
        },
    })
}

fn beats_naive(facts: &Facts<'_>) -> Option<Check> {
    let (naive, mae) = (facts.naive_mae?, facts.best?.val_mae?);
    let ok = mae < naive;
    let relation = if ok { "below" } else { "not below" };
    Some(Check {
        name: "better than repeating the last value",
        ok,
        measured: format!("validation mae {mae:.5}, {relation} the {naive:.5} of the last value repeated"),
        advice: if ok {
            String::new()
        } else {
            "`nhits evaluate` shows stronger baselines; a longer --input-size, another --window-scaler, or --preset \
             short-series for few rows. Some series (random walks) cannot be forecast any better"
                .into()
        },
    })
}

fn overfits(facts: &Facts<'_>) -> Option<Check> {
    let validated: Vec<&EpochRecord> = facts.history.iter().filter(|r| r.val_loss.is_some()).collect();
    let last = validated.last()?;
    let best = validated.iter().min_by(|a, b| a.val_loss.unwrap_or(0.0).total_cmp(&b.val_loss.unwrap_or(0.0)))?;
    if validated.len() < 3 {
        return None;
    }
    let (at_best, at_end) = (best.val_loss?, last.val_loss?);
    // One bad validation is noise: the better of the last two counts.
    let before = validated[validated.len() - 2].val_loss?;
    let since = validated.iter().filter(|r| r.epoch > best.epoch).count();
    let rise = at_end.min(before) / at_best.max(f64::MIN_POSITIVE) - 1.0;
    let ok = !(since >= 2 && rise > OVERFIT && last.train_loss < best.train_loss);
    Some(Check {
        name: "no overfitting",
        ok,
        measured: format!(
            "validation loss {at_best:.5} at its best (epoch {}), {at_end:.5} at the end (the better of the last two is {} higher); training loss {:.5} \
             and {:.5} there",
            best.epoch,
            percent(rise),
            best.train_loss,
            last.train_loss
        ),
        advice: if ok {
            String::new()
        } else {
            "the best weights are kept unless --keep last; more --dropout or --weight-decay, a smaller --hidden-size, \
             or fewer steps make the network less eager"
                .into()
        },
    })
}

fn unfinished(facts: &Facts<'_>) -> Option<Check> {
    let (best, last) = (facts.best?, facts.history.last()?);
    let before = facts.history.iter().rev().nth(2).and_then(|r| r.val_loss)?;
    let now = last.val_loss?;
    if facts.stopped_by != Some(StoppedBy::Finished) || facts.history.len() < 4 {
        return None;
    }
    let gain = 1.0 - now / before.max(f64::MIN_POSITIVE);
    let ok = !(best.epoch == last.epoch && gain > 0.01);
    Some(Check {
        name: "trained to the end",
        ok,
        measured: format!("the validation loss fell by {} in the last two epochs", percent(gain)),
        advice: if ok { String::new() } else { "it was still learning: give it more --epochs or --max-steps".into() },
    })
}

fn jumps(facts: &Facts<'_>) -> Option<Check> {
    let losses: Vec<f64> = facts.history.iter().filter_map(|r| r.val_loss).collect();
    if losses.len() < 5 {
        return None;
    }
    let jumps = losses.windows(2).filter(|w| w[1] > w[0] * (1.0 + JUMP)).count();
    let ok = jumps * 5 <= losses.len();
    Some(Check {
        name: "the validation loss is steady",
        ok,
        measured: format!("it rose by more than {} {jumps} times in {} validations", percent(JUMP), losses.len()),
        advice: if ok {
            String::new()
        } else {
            "a smaller --lr, --warmup-steps, --ema 0.99, or more windows per step (--batch-size)".into()
        },
    })
}

fn enough_data(facts: &Facts<'_>) -> Option<Check> {
    if facts.n_windows == 0 || facts.n_parameters == 0 {
        return None;
    }
    let targets = facts.n_windows * facts.horizon.max(1);
    let ok = facts.n_parameters < 1000 * targets && facts.n_windows >= 50;
    Some(Check {
        name: "enough windows for the network",
        ok,
        measured: format!("{} weights, {} training windows", facts.n_parameters, facts.n_windows),
        advice: if ok {
            String::new()
        } else {
            "use --preset short-series or a smaller --hidden-size, a shorter --input-size or --horizon, or train on \
             several series together"
                .into()
        },
    })
}

fn numbers(facts: &Facts<'_>) -> Option<Check> {
    facts.history.first()?;
    let ok = facts.rollbacks == 0;
    Some(Check {
        name: "every loss was a number",
        ok,
        measured: match facts.rollbacks {
            0 => "no loss was infinite or NaN".into(),
            n => format!("{n} times a loss was infinite or NaN and the run went back"),
        },
        advice: if ok { String::new() } else { "a smaller --lr, --gradient-clip 1, or a --scaler".into() },
    })
}

fn gradients(facts: &Facts<'_>) -> Option<Check> {
    let warnings = facts.gradient_warnings?;
    let ok = warnings.is_empty();
    Some(Check {
        name: "gradients neither vanish nor explode",
        ok,
        measured: if ok { "no layer's did".into() } else { warnings.join("; ") },
        advice: if ok { String::new() } else { "see the warnings above; --gradient-clip 1 bounds their norm".into() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, train_loss: f64, val_loss: f64) -> EpochRecord {
        EpochRecord {
            epoch,
            step: epoch * 10,
            train_loss,
            train_mae: train_loss,
            train_rmse: train_loss,
            val_loss: Some(val_loss),
            val_mae: Some(val_loss),
            val_rmse: Some(val_loss),
            lr: 1e-3,
            seconds: 1.0,
            windows_per_s: 1.0,
        }
    }

    fn curve(train: &[f64], val: &[f64]) -> Vec<EpochRecord> {
        train.iter().zip(val).enumerate().map(|(i, (t, v))| epoch(i + 1, *t, *v)).collect()
    }

    /// The names of the checks that are not as they should be.
    fn wrong(history: &[EpochRecord], change: impl Fn(&mut Facts<'_>)) -> Vec<&'static str> {
        let best = history.iter().min_by(|a, b| a.val_loss.unwrap().total_cmp(&b.val_loss.unwrap()));
        let mut facts = Facts {
            history,
            best,
            stopped_by: Some(StoppedBy::Finished),
            naive_mae: Some(10.0),
            n_windows: 10_000,
            n_parameters: 100_000,
            horizon: 12,
            rollbacks: 0,
            gradient_warnings: None,
        };
        change(&mut facts);
        let checks = diagnose(&facts);
        assert!(checks.iter().all(|c| c.ok == c.advice.is_empty() && !c.measured.is_empty()), "{checks:?}");
        checks.into_iter().filter(|c| !c.ok).map(|c| c.name).collect()
    }

    #[test]
    fn each_trouble_is_found_and_a_good_run_has_none() {
        let good = curve(&[1.0, 0.6, 0.5, 0.45, 0.44, 0.43], &[1.1, 0.7, 0.6, 0.59, 0.59, 0.6]);
        let none = |_: &mut Facts<'_>| {};
        assert!(wrong(&good, none).is_empty());
        let diverged = curve(&[1.0, 0.5, 30.0, 4e8], &[1.0, 0.6, 40.0, 5e8]);
        assert!(wrong(&diverged, none).contains(&"the training loss falls"));
        let noisy = curve(&[1.0, 0.8, 0.7, 0.6, 0.59], &[1.0, 0.8, 0.7, 0.6, 0.65]);
        assert!(wrong(&noisy, none).is_empty(), "one bad validation is noise");
        let flat = curve(&[1.0, 1.01, 0.99, 1.0], &[1.0, 1.0, 1.0, 1.0]);
        assert_eq!(wrong(&flat, none), ["the training loss falls"]);
        assert_eq!(wrong(&good, |f| f.naive_mae = Some(0.5)), ["better than repeating the last value"]);
        let eager = curve(&[1.0, 0.6, 0.4, 0.3, 0.2], &[1.0, 0.7, 0.75, 0.8, 0.9]);
        assert_eq!(wrong(&eager, none), ["no overfitting"]);
        let short = curve(&[1.0, 0.8, 0.6, 0.5], &[1.0, 0.8, 0.7, 0.6]);
        assert_eq!(wrong(&short, none), ["trained to the end"]);
        assert!(wrong(&short, |f| f.stopped_by = Some(StoppedBy::Interrupted)).is_empty());
        let wild = curve(&[1.0, 0.9, 0.8, 0.9, 0.8, 0.9], &[1.0, 0.5, 0.9, 0.5, 0.9, 0.55]);
        assert_eq!(wrong(&wild, none), ["the validation loss is steady"]);
        assert_eq!(wrong(&good, |f| f.n_windows = 20), ["enough windows for the network"]);
        assert_eq!(wrong(&good, |f| f.rollbacks = 2), ["every loss was a number"]);
        let warnings = ["gradients explode".to_string()];
        let best = good.iter().min_by(|a, b| a.val_loss.unwrap().total_cmp(&b.val_loss.unwrap()));
        let facts = Facts { history: &good, best, gradient_warnings: Some(&warnings), ..Facts::default() };
        assert!(diagnose(&facts).iter().any(|c| !c.ok && c.measured.contains("explode")));
    }
}
