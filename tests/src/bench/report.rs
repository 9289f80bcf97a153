//! Tables of measured rounds.

use super::cpu::Times;
use super::load::Round;

/// One measure in one round.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name of the measurement.
    pub name: &'static str,
    /// Operations per second.
    pub rate: f64,
    /// Latencies, if they were taken.
    pub round: Option<Round>,
    /// Operations in all.
    pub operations: f64,
    /// CPU time that each process spent meanwhile.
    pub cpu: Times,
}

/// The median; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// A line per measure: the rate of each round, their median, latencies, and CPU µs per operation of
/// each process.
pub fn table(samples: &[Sample]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for sample in samples {
        if !names.contains(&sample.name) {
            names.push(sample.name);
        }
    }
    names.iter().map(|name| measure(name, samples)).collect()
}

fn measure(name: &str, samples: &[Sample]) -> String {
    let of: Vec<&Sample> = samples.iter().filter(|sample| sample.name == name).collect();
    let rates: Vec<String> = of.iter().map(|sample| format!("{:.0}", sample.rate)).collect();
    let rate = median(of.iter().map(|sample| sample.rate).collect());
    let mut text = format!("{name}: median {rate:.0}/s  (rounds: {})\n", rates.join(" "));
    let rounds: Vec<&Round> = of.iter().filter_map(|sample| sample.round.as_ref()).collect();
    if !rounds.is_empty() {
        let ms = |f: fn(&Round) -> f64| median(rounds.iter().map(|round| f(round)).collect());
        let p50 = ms(|round| round.p50.as_secs_f64() * 1e3);
        let p99 = ms(|round| round.p99.as_secs_f64() * 1e3);
        text += &format!("    latency p50 {p50:.2} ms, p99 {p99:.2} ms\n");
    }
    let processes = of.first().map(|sample| sample.cpu.keys().cloned().collect::<Vec<_>>());
    let costs = processes.unwrap_or_default().into_iter().filter_map(|process| {
        let micros = median(of.iter().map(|sample| cost(sample, &process)).collect());
        (micros >= 0.05).then(|| format!("{process} {micros:.1}"))
    });
    text + &format!("    CPU µs/op: {}\n", costs.collect::<Vec<_>>().join(", "))
}

fn cost(sample: &Sample, process: &str) -> f64 {
    let spent = sample.cpu.get(process).copied().unwrap_or_default();
    spent.as_secs_f64() * 1e6 / sample.operations.max(1.0)
}

/// The ratio of two measures, round by round: each, and the median.
pub fn ratios(samples: &[Sample], of: &str, to: &str) -> String {
    let rates = |name: &str| -> Vec<f64> {
        samples.iter().filter(|sample| sample.name == name).map(|sample| sample.rate).collect()
    };
    let pairs: Vec<f64> = rates(of).iter().zip(rates(to)).map(|(a, b)| a / b.max(1e-9)).collect();
    if pairs.is_empty() {
        return String::new();
    }
    let each: Vec<String> = pairs.iter().map(|ratio| format!("{ratio:.2}")).collect();
    format!("{of} / {to}: median {:.2}  (rounds: {})\n", median(pairs), each.join(" "))
}
