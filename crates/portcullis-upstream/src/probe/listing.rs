//! The complete list of a server's tools: all pages, within bounds, or none at all.

use std::collections::BTreeSet;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::Era;
use portcullis_core::wire::{JsonKind, Kind, Message, View};

use super::{Ask, Probe};

/// Pages of one list. 100: servers page by 50–1000 tools, and agents stop being useful at hundreds.
const MOST_PAGES: usize = 100;
/// Tools of one server. 10,000: two orders above the largest known.
const MOST_TOOLS: usize = 10_000;
/// Bytes of all pages. 32 MiB: 10,000 tools with schemas of 3 KB.
const MOST_BYTES: usize = 32 << 20;

/// Asks for every page; ids count up from `id`.
///
/// # Errors
/// What `server` fails with, an error answer, or a list that breaks a bound or repeats a cursor.
pub(crate) async fn list_tools(server: &mut impl Ask, era: Era, id: i64) -> Result<Catalogue, Fault> {
    let mut pages: Vec<Message> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut cursor: Option<String> = None;
    let mut bytes = 0_usize;
    for id in (id..).take(MOST_PAGES) {
        let page = server.ask(Probe::tools_list(id, era, cursor.as_deref())).await?;
        if page.kind() == Kind::Error {
            // A server without tools need not know the method.
            if page.error_code() == Some(-32601) && pages.is_empty() {
                return catalogue(&pages);
            }
            return Err(bad(format!(
                "`tools/list` answered with error code {}",
                page.error_code().unwrap_or_default()
            )));
        }
        bytes = bytes.saturating_add(page.bytes().len());
        if bytes > MOST_BYTES {
            return Err(Fault::new(FaultKind::TooLarge, format!("the tool list is larger than {MOST_BYTES} bytes")));
        }
        // An empty string is a cursor like any other (D13).
        let next = page.result_member("nextCursor").filter(|next| next.kind() == JsonKind::String);
        let next = next.map(|next| next.text().to_owned());
        pages.push(page);
        match next {
            None => return catalogue(&pages),
            Some(next) if !seen.insert(next.clone()) => return Err(bad("the tool list repeats a cursor".to_owned())),
            Some(next) => cursor = Some(next),
        }
    }
    Err(Fault::new(FaultKind::TooLarge, format!("the tool list has more than {MOST_PAGES} pages")))
}

fn catalogue(pages: &[Message]) -> Result<Catalogue, Fault> {
    let mut tools: Vec<View<'_>> = Vec::new();
    for page in pages {
        let listed = page.result_member("tools").filter(|tools| tools.kind() == JsonKind::Array);
        let listed = listed.ok_or_else(|| bad("a page of the tool list has no `tools`".to_owned()))?;
        tools.extend(listed.elements());
        if tools.len() > MOST_TOOLS {
            return Err(Fault::new(FaultKind::TooLarge, format!("the server lists more than {MOST_TOOLS} tools")));
        }
    }
    Catalogue::from_tools(tools).map_err(|error| bad(error.to_string()))
}

fn bad(detail: String) -> Fault {
    Fault::new(FaultKind::Garbage, detail)
}
