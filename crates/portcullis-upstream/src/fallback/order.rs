//! Which way is tried first: a tool's own order, else what the client asks for where it has a say, else the server's, else the gateway's, else as they
//! are listed.

use std::sync::Arc;

use portcullis_core::call::Call;

use super::Way;
use crate::pattern::Pattern;
use crate::settings::{FallbackSettings, SettingsError, is_meant};

/// Places of the ways, each once.
type Order = Arc<[usize]>;

#[derive(Debug)]
pub(super) struct Preferred {
    usual: Order,
    tools: Vec<(Vec<Pattern>, Order)>,
    clients_choose: bool,
}

impl Preferred {
    pub(super) fn new(ways: &[Way], settings: &FallbackSettings, common: &[String]) -> Result<Self, SettingsError> {
        let listed: Order = (0..ways.len()).collect();
        let words: Vec<_> = ways.iter().map(|way| &*way.word).collect();
        settings.check(&words)?;
        let own = if settings.order.is_empty() { common } else { &settings.order };
        let usual = first(own, ways, &listed);
        let mut tools = Vec::with_capacity(settings.tools.len());
        for written in &settings.tools {
            let patterns = written.tools.iter().map(|pattern| Pattern::new(pattern)).collect();
            tools.push((patterns, first(&written.order, ways, &usual)));
        }
        Ok(Self { usual, tools, clients_choose: settings.clients_choose })
    }

    pub(super) fn usual(&self) -> Order {
        Arc::clone(&self.usual)
    }

    pub(super) fn order(&self, call: &Call, ways: &[Way]) -> Order {
        let tool = call.name().filter(|_| call.method() == "tools/call" && !self.tools.is_empty());
        let fitting = tool
            .and_then(|tool| self.tools.iter().find(|(patterns, _)| patterns.iter().any(|pattern| pattern.fits(tool))));
        match fitting {
            Some((_, order)) => Arc::clone(order),
            None if self.clients_choose && !call.context.transports.is_empty() => {
                first(&call.context.transports, ways, &self.usual)
            }
            None => self.usual(),
        }
    }
}

/// Those that are named, in that order, and then the others as they were.
fn first(words: &[impl AsRef<str>], ways: &[Way], before: &Order) -> Order {
    let mut order: Vec<usize> = Vec::with_capacity(before.len());
    let mut add = |at: usize| {
        if !order.contains(&at) {
            order.push(at);
        }
    };
    for word in words {
        let meant = before.iter().filter(|at| ways.get(**at).is_some_and(|way| is_meant(&way.word, word.as_ref())));
        meant.for_each(|at| add(*at));
    }
    before.iter().for_each(|at| add(*at));
    order.into()
}
