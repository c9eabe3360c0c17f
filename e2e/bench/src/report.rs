//! Medians, their spread, and the tables.

use std::fmt::Write;
use std::time::Duration;

use crate::envoy::{Memory, Variant};
use crate::workload::Workload;

/// Everything that was measured.
pub struct Report {
    /// Envoy's own words.
    pub version: String,
    /// CPU time.
    pub lines: Vec<Line>,
    /// Memory.
    pub memory: Vec<MemoryLine>,
    /// How long it took.
    pub took: Duration,
}

/// One workload through one variant.
pub struct Line {
    name: String,
    through: String,
    unit: &'static str,
    /// In microseconds.
    bare: Spread,
    /// In microseconds.
    with: Spread,
    ratio: Spread,
    /// `None` where it is not ours.
    aim: Option<f64>,
}

/// The memory of one variant after so many requests.
pub struct MemoryLine {
    /// Its name.
    pub variant: String,
    /// Numbers of requests, and what the process took after them.
    pub samples: Vec<(usize, Memory)>,
}

impl Report {
    /// The tables, as aligned text or as Markdown.
    pub fn to_text(&self, is_markdown: bool) -> String {
        let mut text = format!("Envoy {}\n", self.version);
        if !self.lines.is_empty() {
            let mut rows = vec![row([
                "CPU time",
                "through",
                "per",
                "bare",
                "with it",
                "ratio",
                "quartiles",
                "aim",
            ])];
            rows.extend(self.lines.iter().map(Line::cells));
            text.push('\n');
            text.push_str(&table(&rows, is_markdown));
        }
        for memory in &self.memory {
            let mut rows = vec![row([
                "requests of 20 MB",
                "resident MiB",
                "linear memory MiB",
            ])];
            rows.extend(memory.samples.iter().map(|(requests, memory)| {
                let linear = memory.linear.map_or("-".to_owned(), mebibytes);
                vec![requests.to_string(), mebibytes(memory.resident), linear]
            }));
            // Writing to a `String` cannot fail.
            _ = writeln!(text, "\n{}", memory.variant);
            text.push_str(&table(&rows, is_markdown));
        }
        _ = writeln!(text, "\nMeasured in {} s.", self.took.as_secs());
        text
    }
}

impl Line {
    /// Summarises the microseconds per unit of every round.
    pub fn new(workload: &Workload, variant: &Variant, bare: &[f64], with: &[f64]) -> Self {
        let ratios: Vec<f64> = with
            .iter()
            .zip(bare)
            .map(|(with, bare)| with / bare)
            .collect();
        Self {
            name: workload.name.clone(),
            through: variant.name(),
            unit: workload.unit(),
            bare: Spread::of(bare),
            with: Spread::of(with),
            ratio: Spread::of(&ratios),
            aim: matches!(variant, Variant::Module(_)).then_some(workload.aim),
        }
    }

    fn cells(&self) -> Vec<String> {
        let Spread { low, high, .. } = self.ratio;
        vec![
            self.name.clone(),
            self.through.clone(),
            self.unit.to_owned(),
            time(self.bare.median),
            time(self.with.median),
            format!("{:.2}", self.ratio.median),
            format!("{low:.2} to {high:.2}"),
            self.aim.map_or("-".to_owned(), |aim| aim.to_string()),
        ]
    }
}

/// The middle of a sample, and of its halves.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    /// Of no values: not a number.
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |quarters: usize| {
            let place = (sorted.len().saturating_sub(1) * quarters) as f64 / 4.0;
            let near = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
            let (below, above) = (near(place.floor()), near(place.ceil()));
            below + (above - below) * place.fract()
        };
        Self {
            low: at(1),
            median: at(2),
            high: at(3),
        }
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Three digits, with their unit.
fn time(microseconds: f64) -> String {
    match microseconds {
        ..10.0 => format!("{microseconds:.1} µs"),
        ..1000.0 => format!("{microseconds:.0} µs"),
        _ => format!("{:.2} ms", microseconds / 1000.0),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// The first row is the head. The first column is text, the others stand right.
fn table(rows: &[Vec<String>], is_markdown: bool) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        if !is_markdown {
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
            continue;
        }
        _ = writeln!(text, "| {} |", cells.join(" | "));
        if number == 0 {
            let rule = (0..columns).map(|column| if column == 0 { "---" } else { "---:" });
            _ = writeln!(text, "| {} |", rule.collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_values() {
        let spread = |low, median, high| Spread { low, median, high };
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), spread(1.5, 2.0, 2.5));
        assert_eq!(Spread::of(&[5.0]), spread(5.0, 5.0, 5.0));
        assert!(Spread::of(&[]).median.is_nan());
    }

    #[test]
    fn tables_are_aligned_or_markdown() {
        let rows = [row(["name", "us"]), row(["a", "10.0"])];
        assert_eq!(table(&rows, false), "name    us\na     10.0\n");
        let expected = "| name |   us |\n| --- | ---: |\n| a    | 10.0 |\n";
        assert_eq!(table(&rows, true), expected);
    }
}
