//! Tables for people and JSON for programs.

use std::fmt::Write as _;

use super::figures::{Cell, FIGURES, Sample};
use super::goals::GOALS;
use super::rows::{At, ROWS};
use super::{Gateway, Options, Results, nginx, stand};
use crate::Failure;
use crate::layout::Layout;

const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- measured: written by `cargo xtask bench --write` -->";
const END: &str = "<!-- /measured -->";

/// One line while it runs.
pub(crate) fn short(cell: &Cell) -> String {
    let figure = |figure: fn(&Sample) -> f64| number(cell.median(figure));
    match &cell.failure {
        Some(why) => format!(
            "{:<20}{:>3}  {:<28}{}",
            cell.row,
            cell.connections,
            cell.place,
            why.lines().next().unwrap_or_default()
        ),
        None => format!(
            "{:<20}{:>3}  {:<28}{:>9}/s  p50 {:>8} µs  p99 {:>8} µs  CPU {:>7} µs{}",
            cell.row,
            cell.connections,
            cell.place,
            figure(|sample| sample.rps),
            figure(|sample| sample.p50),
            figure(|sample| sample.p99),
            figure(|sample| sample.cpu),
            spread(cell, |sample| sample.cpu),
        ),
    }
}

/// Three digits are all that such figures are worth.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let (head, tail) = digits.split_at_checked(digits.len().saturating_sub(3)).unwrap_or(("", &digits));
            format!("{head},{tail}")
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Everything, as it goes into the page.
pub(crate) fn markdown(layout: &Layout, options: &Options, results: &Results) -> String {
    let mut text = String::new();
    for (name, value) in machine(layout, options) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "- {name}: {value}");
    }
    goals(&mut text, results);
    for row in ROWS {
        let cells: Vec<&Cell> = results.cells.iter().filter(|cell| cell.row == row.name).collect();
        if !cells.is_empty() {
            let _ = writeln!(text, "\n### {}: {}\n", row.name, row.what);
            table(&mut text, &cells);
        }
    }
    if !results.facts.is_empty() {
        let _ = writeln!(text, "\n### At rest, at start, idle\n\n| | place | |\n|---|---|--:|");
        for fact in &results.facts {
            let _ = writeln!(text, "| {} | {} | {} {} |", fact.what, fact.place, number(fact.value), fact.unit);
        }
    }
    text
}

fn goals(text: &mut String, results: &Results) {
    let found: Vec<_> = GOALS.iter().filter_map(|goal| Some((goal, (goal.reached)(results)?))).collect();
    if found.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n| | must | aim | measured | |\n|---|--:|--:|--:|---|");
    for (goal, value) in found {
        let sign = if goal.rising { "≥" } else { "≤" };
        let unit = goal.unit;
        let _ = writeln!(
            text,
            "| {} | {sign} {} {unit} | {sign} {} {unit} | {} {unit} | {} |",
            goal.what,
            goal.must,
            goal.aim,
            number(value),
            goal.verdict(value)
        );
    }
}

fn table(text: &mut String, cells: &[&Cell]) {
    let _ = write!(text, "| connections | place |");
    for (name, unit, _) in FIGURES {
        let _ = write!(text, " {name} {unit} |");
    }
    let _ = writeln!(text, " CPU × direct | CPU × nginx | req/s × direct | req/s × nginx | p99 × nginx |");
    let _ = writeln!(text, "|--:|---|{}", "--:|".repeat(FIGURES.len() + 5));
    for cell in cells {
        let _ = write!(text, "| {} | {} |", cell.connections, cell.place);
        if let Some(why) = &cell.failure {
            let _ = writeln!(text, " {} |", why.lines().next().unwrap_or_default().replace('|', "/"));
            continue;
        }
        for (_, _, figure) in FIGURES {
            // Nothing streams in most rows.
            let value = Some(cell.median(figure)).filter(|value| *value > 0.0);
            let _ = write!(text, " {}{} |", value.map_or_else(String::new, number), spread(cell, figure));
        }
        let cpu: fn(&Sample) -> f64 = |sample| sample.cpu;
        let rps: fn(&Sample) -> f64 = |sample| sample.rps;
        let compared = [
            (At::Direct, cpu),
            (At::Nginx, cpu),
            (At::Direct, rps),
            (At::Nginx, rps),
            (At::Nginx, |sample| sample.p99),
        ];
        for (at, figure) in compared {
            let other = cells.iter().find(|other| other.connections == cell.connections && other.place == at.name());
            let ratio = other.map(|other| cell.median(figure) / other.median(figure)).filter(|ratio| ratio.is_finite());
            let _ = write!(text, " {} |", ratio.map_or_else(String::new, number));
        }
        text.push('\n');
    }
}

fn spread(cell: &Cell, figure: fn(&Sample) -> f64) -> String {
    let spread = cell.spread(figure);
    if cell.samples.len() > 1 && spread >= 0.005 { format!(" ± {:.0} %", spread * 100.0) } else { String::new() }
}

/// What the figures were measured with.
fn machine(layout: &Layout, options: &Options) -> Vec<(&'static str, String)> {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, name)| name);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let said = |program: &str, arguments: &[&str]| {
        let output = layout.program(program, arguments).output().ok();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed =
        if said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { ", with changes" };
    let unknown = if options.built { ", programs perhaps of an earlier one" } else { "" };
    let program = match options.gateway {
        Gateway::Guided => "guided by a profile, as `cargo xtask release` builds it",
        _ => "plain, as `cargo build --release` builds it",
    };
    vec![
        ("machine", format!("{model}, {} cores, Linux {}", stand::cores(), kernel.trim())),
        ("versions", format!("{}; {}", nginx::version().unwrap_or_default(), said("rustc", &["--version"]))),
        ("commit", format!("{}{changed}{unknown}", said("git", &["rev-parse", "--short", "HEAD"]))),
        ("portcullis", program.to_owned()),
        (
            "run",
            format!(
                "{} rounds of {} s after {} s of warm-up; medians ± half of the distance between least and most; {}",
                options.rounds,
                options.seconds,
                options.warmup,
                if options.split { "load and server on cores of their own" } else { "processes not pinned to cores" }
            ),
        ),
    ]
}

/// The same for programs, every round of it. Times in microseconds, memory in MiB.
pub(crate) fn json(layout: &Layout, options: &Options, results: &Results) -> String {
    let about: Vec<String> =
        machine(layout, options).iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
    let cells: Vec<String> = results.cells.iter().map(cell_json).collect();
    let facts: Vec<String> = results
        .facts
        .iter()
        .map(|fact| {
            let (key, what, place, unit) =
                (quoted(fact.key), quoted(&fact.what), quoted(fact.place), quoted(fact.unit));
            format!(r#"{{"key":{key},"what":{what},"place":{place},"value":{},"unit":{unit}}}"#, fact.value)
        })
        .collect();
    let goals: Vec<String> = GOALS
        .iter()
        .filter_map(|goal| {
            let value = (goal.reached)(results)?;
            Some(format!(
                r#"{{"goal":{},"must":{},"aim":{},"measured":{value}}}"#,
                quoted(goal.what),
                goal.must,
                goal.aim
            ))
        })
        .collect();
    format!(
        r#"{{"about":{{{}}},"rows":[{}],"single":[{}],"goals":[{}]}}"#,
        about.join(","),
        cells.join(","),
        facts.join(","),
        goals.join(",")
    )
}

fn cell_json(cell: &Cell) -> String {
    let figures: Vec<String> = FIGURES
        .iter()
        .map(|(name, _, figure)| {
            let all: Vec<String> = cell.samples.iter().map(|sample| figure(sample).to_string()).collect();
            format!("{}:{{\"median\":{},\"rounds\":[{}]}}", quoted(name), cell.median(*figure), all.join(","))
        })
        .collect();
    let failure = cell.failure.as_deref().map_or_else(|| "null".to_owned(), quoted);
    format!(
        r#"{{"row":{},"connections":{},"place":{},"failure":{failure},{}}}"#,
        quoted(cell.row),
        cell.connections,
        quoted(&cell.place),
        figures.join(",")
    )
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if u32::from(letter) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Puts the tables into the page, between its marks.
pub(crate) fn write(layout: &Layout, text: &str) -> Result<(), Failure> {
    let path = layout.root.join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = placed(&page, text).ok_or_else(|| format!("{PAGE} has no `{BEGIN}` and `{END}`"))?;
    std::fs::write(path, page)?;
    Ok(())
}

fn placed(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, number, placed, quoted};

    #[test]
    fn numbers_have_three_digits_and_thousands_a_comma() {
        let shown = [0.5, 12.34, 456.7, 12_345.6].map(number);
        assert_eq!(shown, ["0.50", "12.3", "457", "12,346"]);
    }

    #[test]
    fn text_in_json_is_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }

    #[test]
    fn the_page_keeps_what_stands_around_the_tables() {
        let page = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let new = placed(&page, "new").unwrap();
        assert!(
            new.starts_with("above\n") && new.ends_with("\nbelow\n") && new.contains("\nnew\n") && !new.contains("old")
        );
        assert_eq!(placed("no marks", "new"), None);
    }
}
