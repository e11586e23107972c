//! The Cedar schema as text: what the checker validates against and what a person reads with `policy schema` are the same words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use portcullis_core::catalogue::{Catalogue, Tool};
use portcullis_core::wire::Limits;

use super::types::{Record, Type, project};
use crate::names::{quote, server_group};
use crate::vocabulary::{GROUPS, Shape, TOOLS_CALL, groups, methods, shape};

/// Names that policies use and no catalogue declares. Declared without arguments, so that the rest of the policy can be checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placeholders {
    /// Tools by server.
    pub(crate) tools: BTreeMap<String, BTreeSet<String>>,
    pub(crate) servers: BTreeSet<String>,
}

const HEAD: &str = r#"namespace Mcp {
  // Who calls. Groups and tags come from the gateway's configuration: its own words, or claims that it maps.
  entity Group;
  entity Caller in [Group] = {
    name: String, proof: String, issuer?: String, client?: String, scopes: Set<String>, spiffe?: String, actors: Set<String>
  } tags Set<String>;
  // The upstream server.
  entity Server = { name: String };

  type Url = { scheme: String, host?: String, port?: Long, path: String };
  // What was called in this session before; the counts include this call.
  type Session = {
    calls: Long, toolCalls: Long, firstUse: Bool, previousTool?: String, lastTools: Set<String>, usedTools: Set<String>
  };
  // Where the request came from, as far as trusted proxies tell.
  type Client = { address?: ipaddr, secure: Bool, host?: String, viaProxy: Bool };
  // A program that acts for the caller; its attributes are written NAME=VALUE.
  type Agent = { name: String, issuer: String, groups: Set<String>, attributes: Set<String> };
  // Who signed the request.
  type Signature = { keyId: String, workload: String, sessionScoped: Bool, ephemeral: Bool };
  // Whose hands it went through. Without any it is verified.
  type Chain = { length: Long, agents: Set<String>, verified: Bool };
  // Hints of the server about itself; absent hints stay absent.
  type Tool = { name: String, readOnly?: Bool, destructive?: Bool, idempotent?: Bool, openWorld?: Bool };

"#;

/// What every message has. Cedar cannot extend a record type, so each shape repeats it.
const BASE: &str = "method: String, direction: String, era: String, version: String, now: datetime, session?: @Session, \
                    client: @Client, agent?: @Agent, signature?: @Signature, chain: @Chain";

/// The same with its types as `namespace` sees them.
fn base(namespace: &str) -> String {
    BASE.replace('@', namespace)
}

/// Contexts of methods, by their names in the schema.
const SHAPES: [(Shape, &str, &str); 6] = [
    (Shape::Plain, "Facts", ""),
    (Shape::Named, "NamedFacts", ", name: String"),
    (Shape::Resource, "ResourceFacts", ", name: String, uri: String, url: Url, host?: String"),
    (Shape::Completion, "CompletionFacts", ", name?: String, uri?: String"),
    (Shape::Elicitation, "ElicitationFacts", ", mode: String, url?: Url, host?: String"),
    (Shape::Tool, "ToolFacts", ", name: String, tool: Tool"),
];

/// The Cedar schema of these servers, for a person to read. Tools and arguments that Cedar cannot express are comments.
#[must_use]
pub fn schema_text<'a>(catalogues: impl IntoIterator<Item = (&'a str, &'a Catalogue)>) -> String {
    schema_source(catalogues, &Placeholders::default())
}

/// The same with names that no catalogue declares.
pub(crate) fn schema_source<'a>(
    catalogues: impl IntoIterator<Item = (&'a str, &'a Catalogue)>,
    placeholders: &Placeholders,
) -> String {
    let catalogues: Vec<_> = catalogues.into_iter().collect();
    let mut out = String::from(HEAD);
    out.push_str("  // What a message's context holds, by its kind.\n");
    for (_, name, extra) in SHAPES {
        let _ = writeln!(out, "  type {name} = {{ {}{extra} }};", base(""));
    }
    out.push_str("\n  // Groups of actions, and one action per method.\n");
    for group in GROUPS {
        let _ = writeln!(out, "  action {};", quote(group));
    }
    let mut servers = placeholders.servers.clone();
    servers.extend(catalogues.iter().map(|(server, _)| (*server).to_owned()));
    servers.extend(placeholders.tools.keys().cloned());
    for server in &servers {
        let _ = writeln!(out, "  // All tools of the server `{server}`.\n  action {};", quote(&server_group(server)));
    }
    out.push('\n');
    for method in methods() {
        let parents: Vec<String> = groups(method).into_iter().map(quote).collect();
        let members = if parents.is_empty() { String::new() } else { format!(" in [{}]", parents.join(", ")) };
        let context = SHAPES.iter().find(|(kind, ..)| *kind == shape(method)).map_or("Facts", |(_, name, _)| name);
        let _ = writeln!(
            out,
            "  action {}{members} appliesTo {{ principal: Caller, resource: Server, context: {context} }};",
            quote(method)
        );
    }
    out.push_str("}\n");
    for server in servers {
        let listed = catalogues.iter().find(|(name, _)| **name == server).map(|(_, catalogue)| *catalogue);
        push_server(&mut out, &server, listed, placeholders.tools.get(&server));
    }
    out
}

fn push_server(out: &mut String, server: &str, catalogue: Option<&Catalogue>, extra: Option<&BTreeSet<String>>) {
    let _ = writeln!(out, "\nnamespace {server} {{");
    for tool in catalogue.into_iter().flat_map(Catalogue::tools) {
        push_tool(out, server, tool);
    }
    for name in extra.into_iter().flatten() {
        push_action(out, server, name, "");
    }
    out.push_str("}\n");
}

fn push_tool(out: &mut String, server: &str, tool: &Tool) {
    match project(tool.input_schema.as_deref(), &Limits::default()) {
        Type::Record(record) => {
            for (name, field) in &record.fields {
                if let Type::Opaque(opaque) = &field.ty {
                    let _ = writeln!(out, "  // {}: no argument {}: {}.", quote(&tool.name), quote(name), opaque.why());
                }
            }
            push_action(out, server, &tool.name, &arguments_text(&record));
        }
        Type::Opaque(opaque) => {
            let _ = writeln!(out, "  // {}: no arguments: {}.", quote(&tool.name), opaque.why());
            push_action(out, server, &tool.name, "");
        }
        // `inputSchema` of a tool that takes no object: such a tool cannot be called by MCP's rules.
        _ => push_action(out, server, &tool.name, ""),
    }
}

/// `args` is a line of the context, or nothing.
fn push_action(out: &mut String, server: &str, tool: &str, args: &str) {
    let _ = writeln!(
        out,
        "  action {} in [Mcp::Action::{}, Mcp::Action::{}] appliesTo {{\n    principal: Mcp::Caller, resource: Mcp::Server,\n    context: {{\n\
         {args}      name: String, tool: Mcp::Tool,\n      {}\n    }}\n  }};",
        quote(tool),
        quote(TOOLS_CALL),
        quote(&server_group(server)),
        base("Mcp::"),
    );
}

/// The arguments, one per line: they are what a reader looks for.
fn arguments_text(record: &Record) -> String {
    let fields = field_texts(record);
    if fields.is_empty() {
        return "      args: {},\n".to_owned();
    }
    format!("      args: {{\n        {}\n      }},\n", fields.join(",\n        "))
}

/// A type in Cedar's words. Opaque types have none; fields with one are left out.
pub(crate) fn type_text(ty: &Type) -> String {
    match ty {
        Type::Bool => "Bool".to_owned(),
        Type::Long => "Long".to_owned(),
        Type::Decimal => "decimal".to_owned(),
        Type::String => "String".to_owned(),
        Type::Set(item) => format!("Set<{}>", type_text(item)),
        Type::Record(record) => record_text(record),
        Type::Opaque(_) => "{}".to_owned(),
    }
}

fn record_text(record: &Record) -> String {
    let fields = field_texts(record);
    if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
}

fn field_texts(record: &Record) -> Vec<String> {
    let visible = record.fields.iter().filter(|(_, field)| !matches!(field.ty, Type::Opaque(_)));
    visible
        .map(|(name, field)| {
            format!("{}{}: {}", quote(name), if field.required { "" } else { "?" }, type_text(&field.ty))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_an_action_with_one_argument_per_line() {
        let tools = r#"[{"name":"pay","inputSchema":{"type":"object","required":["amount"],"properties":{"amount":{"type":"number"},
            "to":{"type":"object","properties":{"iban":{"type":"string"}}},"odd":{"type":"object"}}}}]"#;
        let catalogue = Catalogue::from_saved(tools.as_bytes(), &Limits::default()).unwrap();
        let expected = r#"namespace office {
  // "pay": no argument "odd": its schema is an object without declared `properties`.
  action "pay" in [Mcp::Action::"tools/call", Mcp::Action::"server:office"] appliesTo {
    principal: Mcp::Caller, resource: Mcp::Server,
    context: {
      args: {
        "amount": decimal,
        "to"?: { "iban"?: String }
      },
      name: String, tool: Mcp::Tool,
      method: String, direction: String, era: String, version: String, now: datetime, session?: Mcp::Session, client: Mcp::Client, agent?: Mcp::Agent, signature?: Mcp::Signature, chain: Mcp::Chain
    }
  };
}
"#;
        let text = schema_text([("office", &catalogue)]);
        assert!(text.ends_with(expected), "{text}");
        assert!(text.contains("  action \"ping\" in [\"read\", \"protocol\"] appliesTo { principal: Caller, resource: Server, context: Facts };\n"));
    }
}
