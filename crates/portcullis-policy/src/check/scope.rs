//! Looks at the actions and servers that policies name: what no catalogue knows gets a warning and a placeholder in the schema, so that
//! the rest of the policy can still be checked.

use super::{Known, Parsed};
use crate::index::Scope;
use crate::mentions::needs_of_policy;
use crate::names::{ACTION, MCP, SERVER, nearest};
use crate::schema::Placeholders;
use crate::source::{Finding, Severity, Source};
use crate::vocabulary::{GROUPS, methods};

/// What the scopes said; one flag per policy.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    pub(super) placeholders: Placeholders,
    /// Names arguments of a tool whose schema is not at hand.
    pub(super) unchecked: Vec<bool>,
}

pub(super) fn look(sources: &[Source], parsed: &[Parsed], known: &Known<'_>, findings: &mut Vec<Finding>) -> Scopes {
    let mut scopes = Scopes::default();
    for policy in parsed {
        let Some(source) = sources.get(policy.file) else { continue };
        let mut look = Look { known, placeholders: &mut scopes.placeholders, missing_tools: false, notes: Vec::new() };
        for literal in policy.policy.entity_literals() {
            look.entity(&literal.type_name().to_string(), literal.id().unescaped());
        }
        look.contradiction(&Scope::of(&policy.tree));
        let missing = look.missing_tools;
        for (message, help) in look.notes {
            findings.push(source.finding(Severity::Warning, policy.start, Some(&policy.id), message).help(help));
        }
        scopes.unchecked.push(missing && needs_of_policy(&policy.tree).mentions_any(&["args"]));
    }
    scopes
}

struct Look<'a> {
    known: &'a Known<'a>,
    placeholders: &'a mut Placeholders,
    missing_tools: bool,
    notes: Vec<(String, String)>,
}

impl Look<'_> {
    fn entity(&mut self, ty: &str, id: &str) {
        if ty == SERVER {
            self.server(id);
        } else if ty == ACTION {
            if let Some(server) = id.strip_prefix("server:") {
                self.placeholders.servers.insert(server.to_owned());
                self.server(server);
            }
        } else if let Some(server) = ty.strip_suffix("::Action")
            && server != MCP
        {
            self.tool(server, id);
        }
    }

    fn server(&mut self, name: &str) {
        if self.known.is_empty() || self.known.iter().any(|(known, _)| *known == name) {
            return;
        }
        let names: Vec<&str> = self.known.iter().map(|(name, _)| *name).collect();
        self.note(format!("no server is called `{name}`"), name, &names, "the servers are");
    }

    fn tool(&mut self, server: &str, tool: &str) {
        let catalogue = self.known.iter().find(|(name, _)| *name == server).map(|(_, catalogue)| *catalogue);
        if catalogue.is_some_and(|catalogue| catalogue.tool(tool).is_some()) {
            return;
        }
        let unread = catalogue.map_or(self.known.is_empty(), |catalogue| !catalogue.is_read());
        self.missing_tools = true;
        self.placeholders.tools.entry(server.to_owned()).or_default().insert(tool.to_owned());
        match catalogue {
            _ if unread => self.notes.push((
                format!("the tool `{tool}` of `{server}` was not checked"),
                "check again with the server's tools: give a saved `tools/list`, or let the server be asked".to_owned(),
            )),
            Some(catalogue) => {
                let names: Vec<&str> = catalogue.tools().map(|tool| tool.name.as_str()).collect();
                self.note(
                    format!("the server `{server}` has no tool `{tool}`, so this can never match"),
                    tool,
                    &names,
                    "its tools are",
                );
            }
            None => {
                let names: Vec<&str> = self.known.iter().map(|(name, _)| *name).collect();
                self.note(
                    format!("no server is called `{server}`, so this can never match"),
                    server,
                    &names,
                    "the servers are",
                );
            }
        }
    }

    /// A tool of one server is never called on another.
    fn contradiction(&mut self, scope: &Scope) {
        let (Some(server), Some(actions)) = (scope.server(), scope.actions()) else { return };
        let elsewhere =
            |(ty, _): &(String, String)| ty != ACTION && ty.strip_suffix("::Action").is_some_and(|own| own != server);
        if !actions.is_empty() && actions.iter().all(elsewhere) {
            self.notes.push((
                format!("the policy can never match: these tools are not of the server `{server}`"),
                "name the tools' own server as the resource, or leave the resource open".to_owned(),
            ));
        }
    }

    fn note(&mut self, message: String, wanted: &str, names: &[&str], list: &str) {
        let near = nearest(wanted, names.iter().copied());
        let help = match near.first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{list} {}", listed(names)),
        };
        self.notes.push((message, help));
    }
}

/// What may have been meant by an action that does not exist. `snippet` is the action as written.
pub(super) fn action_help(snippet: &str) -> String {
    let id = snippet.split_once("Action::\"").and_then(|(_, rest)| rest.strip_suffix('"')).unwrap_or_default();
    match nearest(id, methods().chain(GROUPS.iter().copied())).first() {
        Some(near) => format!("did you mean `Mcp::Action::\"{near}\"`?"),
        None => "actions of methods are `Mcp::Action::\"METHOD\"`, actions of tools are `SERVER::Action::\"TOOL\"`"
            .to_owned(),
    }
}

/// Names for a sentence; at most twelve, because some servers have hundreds of tools.
pub(super) fn listed(names: &[&str]) -> String {
    const MOST: usize = 12;
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}
