//! The picture of the schedules in the guide to training, drawn from the schedules themselves.

use std::fmt::Write as _;
use std::path::PathBuf;

use nhits::train::{CosineRestarts, OneCycle, Plateau, PlateauRules, Schedule, ScheduleConfig as Config};

/// Steps of the run that is drawn, and of its epochs.
const STEPS: usize = 1000;
const EPOCH: usize = 100;
/// Steps between two validations of the plateau chart.
const VALIDATION: usize = 50;

/// Size of one chart, and of the plotting area in it.
const CELL: (f64, f64) = (290.0, 190.0);
const PLOT: (f64, f64, f64, f64) = (38.0, 276.0, 52.0, 160.0);
const COLUMNS: usize = 3;

/// One chart: a run with a highest rate of 1.
struct Chart {
    title: &'static str,
    numbers: &'static str,
    rates: Vec<f64>,
    /// Step and loss of each validation, where the schedule follows it.
    losses: Vec<(usize, f64)>,
}

fn chart(title: &'static str, numbers: &'static str, schedule: &Schedule) -> Chart {
    Chart { title, numbers, rates: (0..STEPS).map(|step| schedule.at(step)).collect(), losses: Vec::new() }
}

fn schedule(config: Config) -> Schedule {
    Schedule::new(config, 1.0, 0, STEPS)
}

/// The plateau schedule beside a validation loss that falls, stays, falls a little and stays.
fn plateau() -> Chart {
    let falling = [0.9, 0.7, 0.55, 0.45, 0.4, 0.4, 0.4, 0.4, 0.4, 0.33];
    let loss = |v: usize| falling.get(v - 1).copied().unwrap_or(0.3);
    let losses: Vec<(usize, f64)> = (1..=STEPS / VALIDATION).map(|v| (v * VALIDATION, loss(v))).collect();
    let (schedule, mut state, mut factor) =
        (schedule(Config::Plateau(PlateauRules::default())), Plateau::default(), 1.0);
    let rate = |step| {
        if let Some((_, loss)) = losses.iter().find(|(at, _)| *at == step) {
            factor = schedule.after_validation(&mut state, *loss, step).expect("it follows the loss").factor;
        }
        schedule.at(step) * factor
    };
    let rates = (0..STEPS).map(rate).collect();
    Chart { title: "plateau", numbers: "patience 3, factor 0.5", rates, losses }
}

fn charts() -> Vec<Chart> {
    let cosine = || Config::Cosine { t_max: None, eta_min: 0.0 };
    let restarts = |t_mult| Config::CosineRestarts(CosineRestarts { t_mult, ..CosineRestarts::default() });
    vec![
        chart("constant", "the default", &schedule(Config::Constant)),
        chart("step", "step_size 333 (a third), gamma 0.5", &schedule(Config::Step { step_size: None, gamma: 0.5 })),
        chart("decays", "num 5", &schedule(Config::Decays { num: 5 })),
        chart("cosine", "t_max 1000 (all), eta_min 0", &schedule(cosine())),
        chart("cosine-restarts", "t_0 334 (three cycles), t_mult 1", &schedule(restarts(1))),
        chart("cosine-restarts", "t_0 143 (three cycles), t_mult 2", &schedule(restarts(2))),
        chart("linear", "t_max 1000 (all), end_factor 0", &schedule(Config::Linear { t_max: None, end_factor: 0.0 })),
        chart("exponential", "1 % of lr in the end", &schedule(Config::Exponential { gamma: None })),
        chart("one-cycle", "pct_start 0.3, div_factor 25", &schedule(Config::OneCycle(OneCycle::default()))),
        plateau(),
        chart("cosine with warm-up", "warmup_steps 150", &Schedule::new(cosine(), 1.0, 150, STEPS)),
        chart("cosine per epoch", "10 epochs of 100 steps", &schedule(cosine()).per_epoch(EPOCH)),
    ]
}

/// Where a value lies in the plotting area.
fn place(step: usize, value: f64) -> (f64, f64) {
    let (left, right, top, bottom) = PLOT;
    (left + step as f64 / (STEPS - 1) as f64 * (right - left), bottom - value * (bottom - top))
}

/// The points that a line needs to be within a fifth of a pixel of all of them (Ramer, Douglas, Peucker).
fn simplified(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let (dx, dy) = (last.0 - first.0, last.1 - first.1);
    let away = |p: &(f64, f64)| ((p.0 - first.0) * dy - (p.1 - first.1) * dx).abs() / dx.hypot(dy).max(1e-9);
    let worst = (1..points.len() - 1).max_by(|a, b| away(&points[*a]).total_cmp(&away(&points[*b])));
    match worst.filter(|i| away(&points[*i]) > 0.2) {
        Some(i) => {
            let mut line = simplified(&points[..=i]);
            line.pop();
            line.extend(simplified(&points[i..]));
            line
        }
        None => vec![*first, *last],
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let path = points.iter().enumerate().fold(String::new(), |mut path, (i, (x, y))| {
        let _ = write!(path, "{}{x:.1} {y:.1} ", if i == 0 { 'M' } else { 'L' });
        path
    });
    path.trim_end().to_string()
}

fn svg() -> String {
    let charts = charts();
    let (width, height) = (CELL.0 * COLUMNS as f64, CELL.1 * charts.len().div_ceil(COLUMNS) as f64);
    let (left, right, top, bottom) = PLOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<title>Schedules of the learning rate over a run of {STEPS} steps</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (i, chart) in charts.iter().enumerate() {
        let (x, y) = (CELL.0 * (i % COLUMNS) as f64, CELL.1 * (i / COLUMNS) as f64);
        let points: Vec<(f64, f64)> = chart.rates.iter().enumerate().map(|(step, rate)| place(step, *rate)).collect();
        let _ = write!(
            svg,
            "<g transform=\"translate({x} {y})\">\n\
             <text x=\"{left}\" y=\"22\" font-size=\"14\" fill=\"#222\">{}</text>\n\
             <text x=\"{left}\" y=\"39\" fill=\"#666\">{}</text>\n\
             <path d=\"M{left} {top} L{left} {bottom} L{right} {bottom}\" fill=\"none\" stroke=\"#bbb\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#666\">lr</text>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#666\">0</text>\n\
             <text x=\"{right}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#666\">{STEPS} steps</text>\n",
            chart.title,
            chart.numbers,
            left - 6.0,
            top + 4.0,
            left - 6.0,
            bottom + 4.0,
            bottom + 15.0,
        );
        for (step, loss) in &chart.losses {
            let (x, y) = place(*step, *loss);
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"#c77700\"/>");
        }
        if !chart.losses.is_empty() {
            let _ = writeln!(
                svg,
                "<text x=\"{right}\" y=\"{:.0}\" text-anchor=\"end\" fill=\"#c77700\">validation loss</text>",
                top + 30.0
            );
        }
        let line = path(&simplified(&points));
        let _ = write!(svg, "<path d=\"{line}\" fill=\"none\" stroke=\"#2962a5\" stroke-width=\"2\"/>\n</g>\n");
    }
    svg + "</svg>\n"
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/images/schedules.svg")
}

/// With `NHITS_REDRAW=1` the picture is drawn anew first.
#[test]
fn the_picture_in_the_guide_is_what_the_schedules_draw() {
    if std::env::var_os("NHITS_REDRAW").is_some() {
        std::fs::write(file(), svg()).unwrap();
    }
    let told = "docs/images/schedules.svg is not what the code draws: `NHITS_REDRAW=1 cargo test --test docs picture`";
    assert!(std::fs::read_to_string(file()).unwrap_or_default() == svg(), "{told}");
}

#[test]
fn every_schedule_is_in_the_picture() {
    let charts = charts();
    for name in Config::NAMES {
        assert!(charts.iter().any(|chart| chart.title == name), "{name}");
    }
    // The captions are numbers that follow from the run.
    assert_eq!(schedule(Config::Step { step_size: None, gamma: 0.5 }).at(333), 0.5);
    for (t_mult, second) in [(1, 334), (2, 143)] {
        let rules = CosineRestarts { t_mult, ..CosineRestarts::default() };
        let restarts = schedule(Config::CosineRestarts(rules));
        assert_eq!((1..STEPS).find(|step| restarts.at(*step) == 1.0), Some(second));
    }
}
