//! `portcullis tools`: what every server offers, what clients of merged servers call it, and what is worth a look: names that could be mistaken, choices that choose nothing.

use std::fmt::Write as _;
use std::sync::Arc;

use portcullis_core::catalogue::{Annotations, Catalogue, Item, Listed};
use portcullis_core::naming::{Names, Offer};
use portcullis_core::own::quoted;
use portcullis_core::version::Era;

use crate::cli::ToolsArgs;
use crate::commands::catalogue::{Answer, answers, config};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::out::{self, BAD, DIM, NAME, STRONG, Styled, escaped};
use crate::plan;

/// The lists, and the word for one and for several of each.
const LISTS: [(Listed, &str, &str); 4] = [
    (Listed::Tools, "tool", "tools"),
    (Listed::Prompts, "prompt", "prompts"),
    (Listed::Resources, "resource", "resources"),
    (Listed::Templates, "template", "templates"),
];

/// Asks the servers and prints what they offer.
pub(crate) fn tools(args: &ToolsArgs) -> Result<Exit, Failure> {
    let config = config(&args.source)?;
    let answers = answers(&args.source, &config)?;
    let known = plan::known(&config, |name| {
        let answer = answers.iter().find(|answer| answer.server == name)?;
        answer.answer.as_ref().ok().cloned()
    });
    let remarks = plan::remarks(&config, &known);
    let shown =
        Shown { names: merged(&config), catalogues: known.into_iter().map(|(_, catalogue)| catalogue).collect() };
    if args.json {
        out::line(document(&config, &answers, &shown, &remarks)?)?;
    } else {
        for answer in &answers {
            list(&config, answer, &shown)?;
        }
        for remark in &remarks {
            out::line(remark)?;
        }
    }
    let all = answers.iter().all(|answer| answer.answer.is_ok());
    Ok(if all { Exit::Success } else { Exit::Failure })
}

/// How clients see names where all servers are merged.
struct Shown<'a> {
    names: Option<&'a Names>,
    /// In the order of the servers.
    catalogues: Vec<Arc<Catalogue>>,
}

/// The path that leads to all servers, if they are merged there.
fn merged(config: &Config) -> Option<&Names> {
    let whole = config.endpoints.iter().filter(|endpoint| endpoint.servers.len() == config.servers.len());
    whole.filter_map(|endpoint| endpoint.names.as_ref()).next()
}

impl Shown<'_> {
    /// `None` where clients see the server's own name; `Some(None)` where they do not see it.
    fn name(&self, config: &Config, server: &str, of: Listed, own: &str) -> Option<Option<String>> {
        let index = config.servers.iter().position(|known| known.name == server)?;
        let offer = match of {
            Listed::Tools => Offer::Tool,
            Listed::Prompts => Offer::Prompt,
            Listed::Resources | Listed::Templates => return None,
        };
        let shown = self.names?.shown_name(index, offer, own, &self.catalogues);
        (shown.as_deref() != Some(own)).then(|| shown.map(|name| name.into_owned()))
    }
}

fn list(config: &Config, answer: &Answer, shown: &Shown<'_>) -> Result<(), Failure> {
    let what = config.server(&answer.server).map(plan::describe_upstream).map(|what| format!(": {what}"));
    let what = what.unwrap_or_default();
    let catalogue = match &answer.answer {
        Ok(catalogue) => catalogue,
        Err(fault) => {
            let fault = escaped(&fault.to_string());
            out::line(format_args!("{}{what}\n  {}\n", Styled(NAME, &answer.server), Styled(BAD, fault)))?;
            return Ok(());
        }
    };
    let era = answer.era.map(|era| format!(", {} era", era.as_str())).unwrap_or_default();
    out::line(format_args!("{} ({}{era}){what}", Styled(NAME, &answer.server), counts(catalogue)))?;
    for (of, _, heading) in LISTS {
        let items = catalogue.list(of).items();
        if items.len() > 0 {
            out::line(format_args!("  {}", Styled(STRONG, heading)))?;
        }
        for item in items {
            out::line(format_args!("    {}", row(config, &answer.server, of, item, catalogue, shown)))?;
        }
    }
    out::line("")?;
    Ok(())
}

fn counts(catalogue: &Catalogue) -> String {
    let count = |(of, one, many): (Listed, &str, &str)| {
        let count = catalogue.list(of).items().len();
        (of == Listed::Tools || count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
    };
    LISTS.into_iter().filter_map(count).collect::<Vec<_>>().join(", ")
}

fn row(config: &Config, server: &str, of: Listed, item: &Item, catalogue: &Catalogue, shown: &Shown<'_>) -> String {
    let mut text = format!("{:<32}", escaped(&item.key));
    if let Some(tool) = catalogue.tool(&item.key).filter(|_| of == Listed::Tools) {
        // Writing to a string cannot fail.
        let _ = write!(text, " {}", Styled(DIM, hints(tool.annotations)));
    }
    match shown.name(config, server, of, &item.key) {
        None => {}
        Some(Some(name)) => {
            let _ = write!(text, " as {}", escaped(&name));
        }
        Some(None) => text.push_str(" hidden: another server has the name"),
    }
    text.trim_end().to_owned()
}

/// What the server says of its tool.
fn hints(said: Annotations) -> String {
    let hints = [
        ("read-only", said.read_only),
        ("destructive", said.destructive),
        ("idempotent", said.idempotent),
        ("open-world", said.open_world),
    ];
    hints.into_iter().filter(|(_, hint)| *hint == Some(true)).map(|(word, _)| word).collect::<Vec<_>>().join(" ")
}

/// One JSON document. Definitions stand in it as the servers wrote them.
fn document(
    config: &Config,
    answers: &[Answer],
    shown: &Shown<'_>,
    remarks: &[crate::finding::Finding],
) -> Result<String, Failure> {
    let servers: Vec<_> = answers.iter().map(|answer| server(config, answer, shown)).collect();
    let remarks = serde_json::to_string(remarks).map_err(|error| Failure::new(error.to_string()))?;
    Ok(format!("{{\"servers\":[\n{}\n],\n\"findings\":{remarks}}}", servers.join(",\n")))
}

fn server(config: &Config, answer: &Answer, shown: &Shown<'_>) -> String {
    let mut text = format!("{{\"name\":{}", quoted(&answer.server));
    match &answer.answer {
        Err(fault) => {
            let (code, why) = (quoted(fault.kind.code()), quoted(&fault.to_string()));
            let _ = write!(text, ",\"reached\":false,\"code\":{code},\"error\":{why}");
        }
        Ok(catalogue) => {
            let era = answer.era.map(Era::as_str).map_or_else(|| "null".to_owned(), quoted);
            let _ = write!(text, ",\"reached\":true,\"era\":{era}");
            for (of, _, name) in LISTS {
                let items: Vec<_> = catalogue
                    .list(of)
                    .items()
                    .map(|item| {
                        let shown = match shown.name(config, &answer.server, of, &item.key) {
                            None => quoted(&item.key),
                            Some(Some(name)) => quoted(&name),
                            Some(None) => "null".to_owned(),
                        };
                        let definition = String::from_utf8_lossy(&item.definition);
                        format!("{{\"shown\":{shown},\"definition\":{definition}}}")
                    })
                    .collect();
                let _ = write!(text, ",\n\"{name}\":[{}]", items.join(",\n"));
            }
        }
    }
    text.push('}');
    text
}
