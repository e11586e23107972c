//! What one session has called, and what of that a decision may use. No lock and no order of its own: whoever keeps a [`History`] judges
//! the messages of its session one after the other, or its numbers are not exact.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Calls whose tools are remembered in their order. 16: what leads from one step of an agent to the next lies closer together; for what
/// must never be forgotten there are [`Tally::used_tools`].
pub const LAST_CALLS: usize = 16;
/// Tools with a counter of their own; a session that calls more different names counts the rest together. 1024: servers list tens.
const COUNTED_TOOLS: usize = 1024;

/// What a session has called, as it stands when one of its messages is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// `tools/call` messages cleared so far; one that is being judged counts itself.
    pub calls: u64,
    /// The same for the tool that this message calls; 0 where it calls none.
    pub tool_calls: u64,
    /// Tools of the last [`LAST_CALLS`] calls that were cleared before, oldest first.
    pub last_tools: Vec<Arc<str>>,
    /// Every tool that was called before, in the order of its first call. `None`: more than are remembered.
    pub used_tools: Option<Arc<[Arc<str>]>>,
}

impl Tally {
    /// The tool of the call before this one.
    #[must_use]
    pub fn previous_tool(&self) -> Option<&str> {
        self.last_tools.last().map(AsRef::as_ref)
    }

    /// Whether this message calls a tool that was not called before.
    #[must_use]
    pub const fn is_first_use(&self) -> bool {
        self.tool_calls == 1
    }
}

/// The cleared calls of one session. Names are as long as the reader lets them be.
#[derive(Debug, Default)]
pub struct History {
    calls: u64,
    by_tool: HashMap<Arc<str>, u64>,
    /// Calls of tools that came when [`COUNTED_TOOLS`] were known.
    rest: u64,
    last: VecDeque<Arc<str>>,
    /// The keys of `by_tool`, for all who look until there is another.
    used: Arc<[Arc<str>]>,
}

impl History {
    /// Counts a call that was cleared.
    pub fn count(&mut self, tool: &str) {
        self.calls += 1;
        let known = self.by_tool.get_key_value(tool).map(|(name, _)| Arc::clone(name));
        let name = known.unwrap_or_else(|| self.learn(tool));
        match self.by_tool.get_mut(&name) {
            Some(count) => *count += 1,
            None => self.rest += 1,
        }
        if self.last.len() == LAST_CALLS {
            self.last.pop_front();
        }
        self.last.push_back(name);
    }

    fn learn(&mut self, tool: &str) -> Arc<str> {
        let name: Arc<str> = Arc::from(tool);
        if self.by_tool.len() < COUNTED_TOOLS {
            self.by_tool.insert(Arc::clone(&name), 0);
            self.used = self.used.iter().chain([&name]).cloned().collect();
        }
        name
    }

    /// What was cleared so far. `tool`: the one that a call now under way calls.
    #[must_use]
    pub fn so_far(&self, tool: Option<&str>) -> Tally {
        let of_tool = |tool| self.by_tool.get(tool).copied().unwrap_or(self.rest);
        Tally {
            calls: self.calls,
            tool_calls: tool.map_or(0, of_tool),
            last_tools: self.last.iter().cloned().collect(),
            used_tools: (self.rest == 0).then(|| Arc::clone(&self.used)),
        }
    }

    /// What a message sees that is judged now: what was cleared before and, if it is a call of `tool`, itself.
    #[must_use]
    pub fn seen_by(&self, tool: Option<&str>) -> Tally {
        let so_far = self.so_far(tool);
        let own = u64::from(tool.is_some());
        Tally { calls: so_far.calls + own, tool_calls: so_far.tool_calls + own, ..so_far }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(tools: &[&str]) -> History {
        let mut history = History::default();
        tools.iter().for_each(|tool| history.count(tool));
        history
    }

    fn names(tools: &[Arc<str>]) -> Vec<&str> {
        tools.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn a_call_sees_those_before_it_in_their_order_and_counts_itself() {
        let history = history(&["read", "pay", "read"]);
        let pay = history.seen_by(Some("pay"));
        assert_eq!((pay.calls, pay.tool_calls, pay.is_first_use()), (4, 2, false));
        assert_eq!((names(&pay.last_tools), pay.previous_tool()), (vec!["read", "pay", "read"], Some("read")));
        assert_eq!(names(&pay.used_tools.unwrap()), ["read", "pay"]);
        let send = history.seen_by(Some("send"));
        assert_eq!((send.calls, send.tool_calls, send.is_first_use()), (4, 1, true));
        let list = history.seen_by(None);
        assert_eq!((list.calls, list.tool_calls, list.is_first_use()), (3, 0, false));
        let message_of_the_server = history.so_far(Some("pay"));
        assert_eq!((message_of_the_server.calls, message_of_the_server.tool_calls), (3, 1));
    }

    #[test]
    fn the_last_sixteen_calls_are_in_order_and_an_older_tool_is_still_known_as_used() {
        let mut history = history(&["secret"]);
        let later: Vec<String> = (0..LAST_CALLS).map(|number| format!("t{number}")).collect();
        for (number, tool) in later.iter().enumerate() {
            assert!(history.seen_by(None).last_tools.iter().any(|tool| &**tool == "secret"), "{number} later");
            history.count(tool);
        }
        let tally = history.seen_by(Some("secret"));
        assert_eq!(names(&tally.last_tools), later);
        assert_eq!(&*tally.used_tools.unwrap()[0], "secret");
        assert_eq!(tally.tool_calls, 2, "so it is no first use");
    }

    #[test]
    fn endless_different_names_take_bounded_room_and_nobody_is_told_a_list_that_lacks_some() {
        let mut history = History::default();
        for number in 0..COUNTED_TOOLS {
            history.count(&number.to_string());
        }
        assert_eq!(history.seen_by(None).used_tools.unwrap().len(), COUNTED_TOOLS);
        for number in 0..3 * COUNTED_TOOLS {
            history.count(&format!("more {number}"));
        }
        assert_eq!((history.by_tool.len(), history.last.len()), (COUNTED_TOOLS, LAST_CALLS));
        let tally = history.seen_by(Some("another"));
        assert_eq!(tally.used_tools, None);
        assert_eq!((tally.calls, tally.tool_calls), (4 * 1024 + 1, 3 * 1024 + 1), "the rest counts together");
        assert_eq!(history.seen_by(Some("7")).tool_calls, 2);
    }
}
