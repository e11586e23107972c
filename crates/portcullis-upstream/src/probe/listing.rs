//! The complete lists of a server: all pages of each, within bounds, or none of it at all.

use std::collections::BTreeSet;

use portcullis_core::catalogue::{Caching, Catalogue, Hello, Listed, Listing};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::Era;
use portcullis_core::wire::{JsonKind, Kind, Message, View};

use super::{Ask, Probe, SILENCE};

/// Pages of one list. 100: servers page by 50–1000 items, and agents stop being useful at hundreds.
const MOST_PAGES: usize = 100;
/// Items of one list. 10,000: two orders above the largest known.
const MOST_ITEMS: usize = 10_000;
/// Bytes of all pages of tools. 32 MiB: 10,000 tools with schemas of 3 KB.
const MOST_TOOL_BYTES: usize = 32 << 20;
/// Bytes of all pages of any other list. 8 MiB: 10,000 items without schemas.
const MOST_BYTES: usize = 8 << 20;

/// Asks for everything that the server offers; ids count up from `id`. Tools decide the outcome, because calls are judged by them; another
/// list that cannot be had stays unread, so that no server loses its tools over its prompts.
///
/// # Errors
/// What `server` fails with, an error answer, or a list of tools that breaks a bound or repeats a cursor.
pub(crate) async fn survey(
    server: &mut impl Ask,
    era: Era,
    hello: Option<Hello>,
    mut id: i64,
) -> Result<Catalogue, Fault> {
    // A legacy server without tools need not answer for them; modern ones always had to.
    let has_tools = era == Era::Modern || hello.as_ref().is_none_or(|hello| hello.offers(Listed::Tools));
    let pages = if has_tools { pages(server, Listed::Tools, era, &mut id).await? } else { Vec::new() };
    let (tools, caching) = items(Listed::Tools, &pages)?;
    let tools = Catalogue::from_tools(tools).map_err(|error| bad(error.to_string()))?;
    let mut catalogue = tools.caching_tools(caching);
    let Some(hello) = hello else { return Ok(catalogue) };
    for list in Listed::ALL.into_iter().filter(|list| *list != Listed::Tools && hello.offers(*list)) {
        match tokio::time::timeout(SILENCE, listing(server, list, era, &mut id)).await {
            Ok(Ok(listing)) => catalogue = catalogue.with_list(list, listing),
            Ok(Err(fault)) => tracing::info!(list = list.method(), %fault, "a list of the server cannot be used"),
            Err(_) => tracing::info!(list = list.method(), "a list of the server did not come in time"),
        }
    }
    Ok(catalogue.with_hello(hello))
}

async fn listing(server: &mut impl Ask, list: Listed, era: Era, id: &mut i64) -> Result<Listing, Fault> {
    let pages = pages(server, list, era, id).await?;
    let (items, caching) = items(list, &pages)?;
    Listing::from_items(list, items, caching).map_err(|error| bad(error.to_string()))
}

async fn pages(server: &mut impl Ask, list: Listed, era: Era, id: &mut i64) -> Result<Vec<Message>, Fault> {
    let method = list.method();
    let most_bytes = if list == Listed::Tools { MOST_TOOL_BYTES } else { MOST_BYTES };
    let mut pages: Vec<Message> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut cursor: Option<String> = None;
    let mut bytes = 0_usize;
    while pages.len() < MOST_PAGES {
        let page = server.ask(Probe::list(list, *id, era, cursor.as_deref())).await?;
        *id += 1;
        if page.kind() == Kind::Error {
            // A server without such a list need not know the method.
            if page.error_code() == Some(-32601) && pages.is_empty() {
                return Ok(pages);
            }
            return Err(bad(format!("`{method}` answered with error code {}", page.error_code().unwrap_or_default())));
        }
        bytes = bytes.saturating_add(page.bytes().len());
        if bytes > most_bytes {
            return Err(Fault::new(FaultKind::TooLarge, format!("`{method}` is larger than {most_bytes} bytes")));
        }
        // An empty string is a cursor like any other (D13).
        let next = page.result_member("nextCursor").filter(|next| next.kind() == JsonKind::String);
        let next = next.map(|next| next.text().to_owned());
        pages.push(page);
        match next {
            None => return Ok(pages),
            Some(next) if !seen.insert(next.clone()) => return Err(bad(format!("`{method}` repeats a cursor"))),
            Some(next) => cursor = Some(next),
        }
    }
    Err(Fault::new(FaultKind::TooLarge, format!("`{method}` has more than {MOST_PAGES} pages")))
}

/// The items of all pages, and how long all of them may be kept.
fn items(list: Listed, pages: &[Message]) -> Result<(Vec<View<'_>>, Caching), Fault> {
    let mut items: Vec<View<'_>> = Vec::new();
    for page in pages {
        let listed = page.result_member(list.member()).filter(|items| items.kind() == JsonKind::Array);
        let listed =
            listed.ok_or_else(|| bad(format!("a page of `{}` has no array `{}`", list.method(), list.member())))?;
        items.extend(listed.elements());
        if items.len() > MOST_ITEMS {
            let detail = format!("the server has more than {MOST_ITEMS} items in `{}`", list.method());
            return Err(Fault::new(FaultKind::TooLarge, detail));
        }
    }
    Ok((items, pages.iter().map(Caching::of).reduce(Caching::and).unwrap_or_default()))
}

fn bad(detail: String) -> Fault {
    Fault::new(FaultKind::Garbage, detail)
}
