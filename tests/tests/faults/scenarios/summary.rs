//! The table that is printed and written at the end: what was done to the cluster, and what became
//! of its clients.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use headwater_tests::harness::binaries;

use super::load::Counts;

const HEADINGS: [&str; 11] = [
    "scenario",
    "faults",
    "operations",
    "acknowledged",
    "lost",
    "doubled",
    "stale",
    "commands, ms",
    "own, ms",
    "any, ms",
    "took, s",
];
const FILE: &str = "fault-scenarios.txt";

/// What became of one scenario.
pub struct Row {
    pub name: &'static str,
    /// Each fault, and when it came; or why there was none.
    pub faults: String,
    pub counts: Counts,
    pub lost: u64,
    pub doubled: u64,
    pub took: Duration,
    /// What should have held and did not.
    pub broken: Vec<String>,
}

/// All rows so far. Printed and written also if a scenario fails the test.
#[derive(Default)]
pub struct Summary {
    pub rows: Vec<Row>,
}

impl Summary {
    /// What should have held and did not, of all scenarios.
    pub fn broken(&self) -> Vec<String> {
        let of = |row: &Row| {
            let name = row.name;
            row.broken.iter().map(|broken| format!("{name}: {broken}")).collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(of).collect()
    }

    fn render(&self) -> String {
        let mut lines = vec![HEADINGS.map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| {
            lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        let mut text = String::from(
            "The last columns but one: the longest that a client was without an answer.\n\n",
        );
        for (number, cells) in lines.iter().enumerate() {
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(text, "| {cell:width$} ");
            }
            text += "|\n";
            if number == 0 {
                text += &widths
                    .iter()
                    .map(|width| format!("|{}", "-".repeat(width + 2)))
                    .collect::<String>();
                text += "|\n";
            }
        }
        text
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let counts = &self.counts;
        let millis = |time: Duration| time.as_millis().to_string();
        vec![
            self.name.to_owned(),
            self.faults.clone(),
            counts.operations.to_string(),
            counts.acknowledged.to_string(),
            self.lost.to_string(),
            self.doubled.to_string(),
            counts.stale.len().to_string(),
            millis(counts.writes.longest),
            millis(counts.own.longest),
            millis(counts.any.longest),
            format!("{:.1}", self.took.as_secs_f64()),
        ]
    }
}

impl Drop for Summary {
    fn drop(&mut self) {
        let text = self.render();
        println!("{text}");
        // target/<profile>
        let folder = binaries().ok().and_then(|folder| folder.parent().map(PathBuf::from));
        if let Some(folder) = folder
            && let Err(error) = std::fs::write(folder.join(FILE), text)
        {
            eprintln!("the table was not written: {error}");
        }
    }
}
