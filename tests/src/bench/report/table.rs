//! Tables of measured rounds.

use std::collections::BTreeSet;

use crate::bench::load::Round;
use crate::bench::machine::{Cost, Storage};

/// One measure in one round.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name of the measure.
    pub name: String,
    /// Operations per second.
    pub rate: f64,
    /// Latencies, if they were taken.
    pub round: Option<Round>,
    /// Operations in all.
    pub operations: f64,
    /// What it took of the machine.
    pub cost: Cost,
}

/// The median of what is a number; not a number of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// A number as a cell: three digits that count, at least; nothing if it is none.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => String::new(),
        size if size >= 100.0 => thousands(value),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rates and latencies, CPU by process, and what became of the WAL and the disk: medians, and the
/// rounds behind them.
pub fn tables(samples: &[Sample]) -> String {
    let measures = by_measure(samples);
    [rates(&measures), costs(&measures), storage(&measures)].concat()
}

/// The samples of each measure, in the order in which it was first taken.
fn by_measure(samples: &[Sample]) -> Vec<(&str, Vec<&Sample>)> {
    let mut measures: Vec<(&str, Vec<&Sample>)> = Vec::new();
    for sample in samples {
        match measures.iter_mut().find(|(name, _)| *name == sample.name) {
            Some((_, of)) => of.push(sample),
            None => measures.push((&sample.name, vec![sample])),
        }
    }
    measures
}

fn rates(measures: &[(&str, Vec<&Sample>)]) -> String {
    let mut text = "| measure | ops/s | rounds | p50 ms | p99 ms | p99.9 ms | failed |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for (name, of) in measures {
        let rounds: Vec<&Round> = of.iter().filter_map(|sample| sample.round.as_ref()).collect();
        let latency = |quantile: f64| number(median(rounds.iter().map(|r| r.latency(quantile))));
        let failed: u64 = rounds.iter().map(|round| round.failed).sum();
        text += &format!(
            "| {name} | {} | {} | {} | {} | {} | {failed} |\n",
            number(median(of.iter().map(|sample| sample.rate))),
            each(of.iter().map(|sample| sample.rate), 0),
            latency(0.5),
            latency(0.99),
            latency(0.999),
        );
    }
    text
}

fn costs(measures: &[(&str, Vec<&Sample>)]) -> String {
    let cost = |of: &[&Sample], process: &str| {
        median(of.iter().map(|sample| {
            let spent = sample.cost.cpu.get(process).copied().unwrap_or_default();
            spent.as_secs_f64() * 1e6 / sample.operations
        }))
    };
    let processes: BTreeSet<&String> = measures
        .iter()
        .flat_map(|(_, of)| of.iter().flat_map(|sample| sample.cost.cpu.keys()))
        .filter(|process| measures.iter().any(|(_, of)| cost(of, process) >= 0.05))
        .collect();
    if processes.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = processes.iter().map(|process| process.as_str()).collect();
    let mut text =
        format!("\nCPU, µs per operation:\n\n| measure | {} | all |\n", names.join(" | "));
    text += &format!("|---|{}---|\n", "---|".repeat(names.len()));
    for (name, of) in measures {
        let costs: Vec<f64> = names.iter().map(|process| cost(of, process)).collect();
        let cells: Vec<String> = costs
            .iter()
            .map(|micros| if *micros < 0.05 { String::new() } else { number(*micros) })
            .collect();
        let all = number(costs.iter().filter(|cost| cost.is_finite()).sum());
        text += &format!("| {name} | {} | {all} |\n", cells.join(" | "));
    }
    text
}

fn storage(measures: &[(&str, Vec<&Sample>)]) -> String {
    let mut text = "\nThe write database and the disk; \"images\" are those of whole pages, which \
                    follow a checkpoint:\n\n\
                    | measure | WAL bytes/op | of them images, rounds | flushes/s | checkpoints, \
                    rounds | pages by them/s | disk MB/s | busy % | flush ms, rounds |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut is_empty = true;
    for (name, of) in measures {
        let with: Vec<(&Sample, Storage)> =
            of.iter().filter_map(|sample| Some((*sample, sample.cost.storage?))).collect();
        if with.is_empty() {
            continue;
        }
        is_empty = false;
        let per_op = |f: fn(&Storage) -> f64| {
            with.iter().map(move |(sample, storage)| f(storage) / sample.operations)
        };
        let per_second = |f: fn(&Sample, &Storage) -> f64| {
            let rates = with.iter().map(|(s, storage)| f(s, storage) / s.cost.took.as_secs_f64());
            number(median(rates))
        };
        let flush = with.iter().map(|(sample, _)| {
            let disk = sample.cost.disk;
            disk.flushing.as_secs_f64() * 1e3 / disk.flushes as f64
        });
        text += &format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            number(median(per_op(|storage| storage.wal))),
            each(per_op(|storage| storage.images), 0),
            per_second(|_, storage| storage.syncs),
            each(with.iter().map(|(_, storage)| storage.checkpoints), 0),
            per_second(|_, storage| storage.checkpoint_pages + storage.session_pages),
            per_second(|sample, _| sample.cost.disk.written as f64 / 1e6),
            per_second(|sample, _| sample.cost.disk.busy.as_secs_f64() * 100.0),
            each(flush, 2),
        );
    }
    if is_empty { String::new() } else { text }
}

fn each(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let cells: Vec<String> = values
        .map(|value| if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() })
        .collect();
    cells.join(" ")
}

/// The ratio of two measures, round by round: the median, and each. Nothing if one of them was not
/// taken.
pub fn ratio_row(samples: &[Sample], of: &str, to: &str, goal: &str) -> String {
    let rates = |name: &str| -> Vec<f64> {
        samples.iter().filter(|sample| sample.name == name).map(|sample| sample.rate).collect()
    };
    let pairs: Vec<f64> = rates(of).iter().zip(rates(to)).map(|(a, b)| a / b).collect();
    if pairs.is_empty() {
        return String::new();
    }
    let row = each(pairs.iter().copied(), 2);
    format!("| {of} / {to} | {} | {row} | {goal} |\n", number(median(pairs)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::load::QUANTILES;

    fn sample(name: &str, rate: f64) -> Sample {
        let took = Duration::from_secs(1);
        let latencies = QUANTILES.iter().map(|quantile| quantile * 10.0).collect();
        let round = Round { done: rate as u64, failed: 1, took, latencies };
        let cpu = [("server".to_owned(), took)].into();
        let storage = Some(Storage { wal: 300.0 * rate, checkpoints: 1.0, ..Storage::default() });
        let cost = Cost { took, cpu, storage, ..Cost::default() };
        Sample { name: name.to_owned(), rate, round: Some(round), operations: rate, cost }
    }

    #[test]
    fn a_measure_is_a_row_of_each_table() {
        let samples = [sample("a", 1_000.0), sample("b", 500.0), sample("a", 3_000.0)];
        let text = tables(&samples);
        for row in [
            "| a | 2,000 | 1000 3000 | 5.00 | 9.90 | 9.99 | 2 |",
            "| b | 2,000 | 2,000 |",
            "| a | 300 | 0 0 | 0.00 | 1 1 |",
        ] {
            assert!(text.contains(row), "{row} in\n{text}");
        }
        assert_eq!(ratio_row(&samples, "a", "b", "≥ 1"), "| a / b | 2.00 | 2.00 | ≥ 1 |\n");
        assert_eq!(ratio_row(&samples, "a", "c", "≥ 1"), "");
    }

    #[test]
    fn a_number_keeps_its_digits_and_nothing_is_empty() {
        let cells = [1_234_567.8, -1_234.0, 123.4, 12.34, 1.234, f64::NAN].map(number);
        assert_eq!(cells, ["1,234,568", "-1,234", "123", "12.3", "1.23", ""]);
        assert!(median([]).is_nan());
    }
}
