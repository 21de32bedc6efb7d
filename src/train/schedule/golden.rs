//! Schedules against sequences of PyTorch 2.15: the rate of each optimizer step, `scheduler.step()` after each.

use super::*;

/// Compares the rates of a schedule that starts at 1e-3 with PyTorch's. PyTorch multiplies from step to step, so the last
/// digits of the two differ.
#[track_caller]
fn same(schedule: &Schedule, want: &[f64]) {
    for (step, want) in want.iter().enumerate() {
        let got = schedule.at(step);
        assert!((got / want - 1.0).abs() < 1e-12, "step {step}: {got}, PyTorch has {want}");
    }
}

fn of(config: ScheduleConfig, total_steps: usize) -> Schedule {
    Schedule::new(config, 1e-3, 0, total_steps)
}

#[test]
fn step_and_decays_are_step_lr() {
    // StepLR(step_size=3, gamma=0.3)
    same(
        &of(ScheduleConfig::Step { step_size: Some(3), gamma: 0.3 }, 10),
        &[1e-3, 1e-3, 1e-3, 3e-4, 3e-4, 3e-4, 9e-5, 9e-5, 9e-5, 2.6999999999999996e-05],
    );
    // StepLR(step_size=max(10 // 3, 1), gamma=0.5), which is num_lr_decays=3 with max_steps=10
    let halved = [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 5e-4, 2.5e-4, 2.5e-4, 2.5e-4, 1.25e-4];
    same(&of(ScheduleConfig::Decays { num: 3 }, 10), &halved);
    same(&of(ScheduleConfig::Step { step_size: None, gamma: 0.5 }, 10), &halved);
    // StepLR(step_size=max(4 // 7, 1), gamma=0.5)
    same(&of(ScheduleConfig::Decays { num: 7 }, 4), &[1e-3, 5e-4, 2.5e-4, 1.25e-4]);
}

#[test]
fn cosine_is_cosine_annealing_lr_up_to_its_minimum() {
    // CosineAnnealingLR(T_max=8, eta_min=1e-5)
    let want = [
        0.001,
        0.000962320368593087,
        0.000855017856687341,
        0.0006944282990207195,
        0.000505,
        0.0003155717009792806,
        0.00015498214331265898,
        4.7679631406913064e-05,
        1e-05,
    ];
    same(&of(ScheduleConfig::Cosine { t_max: Some(8), eta_min: 1e-5 }, 100), &want);
    same(&of(ScheduleConfig::Cosine { t_max: None, eta_min: 1e-5 }, 8), &want);
}

#[test]
fn cosine_restarts_is_cosine_annealing_warm_restarts() {
    // CosineAnnealingWarmRestarts(T_0=3, T_mult=1, eta_min=1e-5)
    let (high, low) = (0.0007525, 0.00025750000000000013);
    same(
        &of(ScheduleConfig::CosineRestarts(CosineRestarts { t_0: Some(3), t_mult: 1, eta_min: 1e-5 }), 8),
        &[1e-3, high, low, 1e-3, high, low, 1e-3, high],
    );
    // CosineAnnealingWarmRestarts(T_0=2, T_mult=3)
    same(
        &of(ScheduleConfig::CosineRestarts(CosineRestarts { t_0: Some(2), t_mult: 3, eta_min: 0.0 }), 12),
        &[
            0.001,
            0.0005,
            0.001,
            0.0009330127018922195,
            0.00075,
            0.0005,
            0.0002500000000000001,
            6.698729810778065e-05,
            0.001,
            0.000992403876506104,
            0.0009698463103929542,
            0.0009330127018922195,
        ],
    );
}

#[test]
fn linear_is_linear_lr() {
    // LinearLR(start_factor=1.0, end_factor=0.25, total_iters=5)
    let want = [1e-3, 8.5e-4, 7e-4, 5.5e-4, 4e-4, 2.5e-4, 2.5e-4, 2.5e-4];
    same(&of(ScheduleConfig::Linear { t_max: Some(5), end_factor: 0.25 }, 8), &want);
    same(&of(ScheduleConfig::Linear { t_max: None, end_factor: 0.25 }, 5), &want);
}

#[test]
fn exponential_is_exponential_lr() {
    // ExponentialLR(gamma=0.9)
    same(
        &of(ScheduleConfig::Exponential { gamma: Some(0.9) }, 8),
        &[1e-3, 9e-4, 8.1e-4, 7.29e-4, 6.561e-4, 5.9049e-4, 5.31441e-4, 4.782969e-4],
    );
}

#[test]
fn one_cycle_is_one_cycle_lr() {
    let cycle = |pct_start, div_factor, final_div_factor, total| {
        of(ScheduleConfig::OneCycle(OneCycle { pct_start, div_factor, final_div_factor }), total)
    };
    // OneCycleLR(max_lr=1e-3, total_steps=10)
    let usual = [
        3.9999999999999996e-05,
        0.0005200000000000001,
        0.001,
        0.0009504846320134736,
        0.000811745653949763,
        0.0006112620219362892,
        0.00038874197806371076,
        0.00018825834605023698,
        4.9519367986526286e-05,
        4e-09,
    ];
    same(&of(ScheduleConfig::named("one-cycle").unwrap(), 10), &usual);
    // OneCycleLR(max_lr=1e-3, total_steps=12, pct_start=0.45, div_factor=10, final_div_factor=100)
    same(
        &cycle(0.45, 10.0, 100.0, 12),
        &[
            0.00010000000000000005,
            0.00020991269154058373,
            0.0004859583227770217,
            0.0007932883678550188,
            0.0009817718381265237,
            0.0009797667403204414,
            0.0008620051520334827,
            0.0006638704476770523,
            0.0004294137382824942,
            0.0002107615736691866,
            5.6526693396865784e-05,
            1e-06,
        ],
    );
    // OneCycleLR(max_lr=1e-3, total_steps=5, pct_start=0.0), and with pct_start=1.0
    same(
        &cycle(0.0, 25.0, 1e4, 5),
        &[0.0009045088791534849, 0.0006545098791534849, 0.0003454941208465151, 9.549512084651507e-05, 4e-09],
    );
    same(
        &cycle(1.0, 25.0, 1e4, 5),
        &[3.9999999999999996e-05, 0.00018058874503045722, 0.0005200000000000001, 0.0008594112549695428, 0.001],
    );
}

#[test]
fn warm_up_is_a_chained_linear_lr() {
    // ChainedScheduler([LinearLR(start_factor=0.25, total_iters=3), StepLR(step_size=3, gamma=0.5)])
    let step = ScheduleConfig::Step { step_size: Some(3), gamma: 0.5 };
    same(&Schedule::new(step, 1e-3, 4, 9), &[2.5e-4, 5e-4, 7.5e-4, 5e-4, 5e-4, 5e-4, 2.5e-4, 2.5e-4, 2.5e-4]);
    // ChainedScheduler([LinearLR(start_factor=0.25, total_iters=3), ExponentialLR(gamma=0.9)])
    same(
        &Schedule::new(ScheduleConfig::Exponential { gamma: Some(0.9) }, 1e-3, 4, 7),
        &[2.5e-4, 4.5e-4, 6.075e-4, 7.29e-4, 6.561e-4, 5.9049e-4, 5.31441e-4],
    );
}

/// Validation losses with plateaus, a better one inside a cooldown, and improvements below the threshold.
const LOSSES: [f64; 24] = [
    1.0, 0.9, 0.8999, 0.9, 0.95, 0.91, 0.9, 0.8, 0.81, 0.8, 0.82, 0.83, 0.8, 0.79999, 0.79, 0.79, 0.79, 0.79, 0.79,
    0.79, 0.79, 0.79, 0.79, 0.79,
];

#[test]
fn plateau_is_reduce_lr_on_plateau() {
    // ReduceLROnPlateau(factor=0.5, patience=1, threshold=1e-3, cooldown=2, min_lr=1e-4): the rate after each loss
    let (a, b, c, d, e) = (1e-3, 5e-4, 2.5e-4, 1.25e-4, 1e-4);
    let want = [a, a, a, b, b, b, b, b, b, c, c, c, c, d, d, d, d, e, e, e, e, e, e, e];
    let rules = PlateauRules { patience: 1, factor: 0.5, min_lr: 1e-4, threshold: 1e-3, cooldown: 2 };
    follow(rules, &want);
    // ReduceLROnPlateau(factor=0.1, patience=0, threshold=0, cooldown=0): at 1e-8 the reductions are too small to be made
    let mut want = [1e-8; 24];
    want[..8].copy_from_slice(&[1e-3, 1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-7]);
    follow(PlateauRules { patience: 0, factor: 0.1, min_lr: 0.0, threshold: 0.0, cooldown: 0 }, &want);
}

/// Validates after every step, as the training loop does, and compares the rate that comes next.
#[track_caller]
fn follow(rules: PlateauRules, want: &[f64]) {
    let mut schedule = of(ScheduleConfig::Plateau(rules), LOSSES.len());
    let mut state = Plateau::default();
    for (i, (loss, want)) in LOSSES.iter().zip(want).enumerate() {
        schedule.step();
        schedule.at = schedule.after_validation(&mut state, *loss, i + 1).unwrap();
        let got = schedule.clone().step();
        assert!((got / want - 1.0).abs() < 1e-12, "validation {i}: {got}, PyTorch has {want}");
    }
}
