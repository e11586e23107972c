//! One measurement as `bench-load` prints it, and the median and spread of several.

use crate::Failure;
use crate::bench::rows::Row;

/// One measurement. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) rps: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Until the first event; 0 where there is no stream.
    pub(crate) first: f64,
    /// Processor time per request of all processes of the place.
    pub(crate) cpu: f64,
    /// MiB, at the end.
    pub(crate) resident: f64,
}

/// Name, unit and place of every figure.
pub(crate) type Figure = (&'static str, &'static str, fn(&Sample) -> f64);

pub(crate) const FIGURES: [Figure; 7] = [
    ("requests", "/s", |sample| sample.rps),
    ("p50", "µs", |sample| sample.p50),
    ("p99", "µs", |sample| sample.p99),
    ("p99.9", "µs", |sample| sample.p999),
    ("first event", "µs", |sample| sample.first),
    ("CPU", "µs", |sample| sample.cpu),
    ("RSS", "MiB", |sample| sample.resident),
];

impl Sample {
    /// One value of a line of `name=value`.
    pub(crate) fn figure(line: &str, name: &str) -> Result<f64, Failure> {
        let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Ok(value.ok_or_else(|| format!("no `{name}` in what the load says: {line}"))?.parse()?)
    }

    /// Reads such a line.
    pub(crate) fn parse(line: &str) -> Result<Self, Failure> {
        let figure = |name| Self::figure(line, name);
        let requests = figure("requests")?;
        if requests < 1.0 {
            return Err(format!("no request ended in the window: {line}").into());
        }
        Ok(Self {
            rps: requests / figure("seconds")?,
            p50: figure("p50")? / 1e3,
            p99: figure("p99")? / 1e3,
            p999: figure("p999")? / 1e3,
            first: figure("first50")? / 1e3,
            cpu: figure("processor")? / 1e3 / requests,
            resident: figure("resident")? / f64::from(1 << 20),
        })
    }
}

/// All rounds of one row at one place.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) row: &'static str,
    pub(crate) connections: u32,
    pub(crate) place: String,
    pub(crate) samples: Vec<Sample>,
    /// Why there are no more.
    pub(crate) failure: Option<String>,
}

impl Cell {
    pub(crate) fn new(row: &Row, connections: u32, place: &str) -> Self {
        Self { row: row.name, connections, place: place.to_owned(), samples: Vec::new(), failure: None }
    }

    pub(crate) fn median(&self, figure: fn(&Sample) -> f64) -> f64 {
        median(&self.samples.iter().map(figure).collect::<Vec<_>>())
    }

    /// Half of the distance between the largest and the smallest, as a part of the median.
    pub(crate) fn spread(&self, figure: fn(&Sample) -> f64) -> f64 {
        let values: Vec<f64> = self.samples.iter().map(figure).collect();
        let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), v| (least.min(*v), most.max(*v)));
        let middle = median(&values);
        if middle > 0.0 { (most - least) / 2.0 / middle } else { 0.0 }
    }
}

/// The middle value, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Sample, median};

    const LINE: &str = "seconds=2.0 requests=1000 p50=100000 p99=200000 p999=300000 first50=0 first99=0 processor=17000000 resident=2097152";

    #[test]
    fn a_line_of_the_load_is_read_and_a_broken_one_is_refused() {
        let sample = Sample::parse(LINE).unwrap();
        assert_eq!((sample.rps, sample.p50, sample.cpu, sample.resident), (500.0, 100.0, 17.0, 2.0));
        assert!(Sample::parse("requests=0 seconds=1").is_err());
        assert!(Sample::parse(&LINE.replace("p99=", "p98=")).is_err());
    }

    #[test]
    fn the_median_ignores_order_and_outliers_and_the_spread_does_not() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 100.0]) - 3.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
        let sample = |rps| Sample { rps, ..Sample::parse(LINE).unwrap() };
        let cell = Cell {
            row: "r",
            connections: 1,
            place: "p".to_owned(),
            samples: vec![sample(90.0), sample(100.0), sample(130.0)],
            failure: None,
        };
        assert!((cell.median(|sample| sample.rps) - 100.0).abs() < 1e-9);
        assert!((cell.spread(|sample| sample.rps) - 0.2).abs() < 1e-9);
    }
}
