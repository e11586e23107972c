//! A policy file to start from: a preset, and below it one commented action per tool with its arguments and their types.

use std::fmt::Write as _;

use portcullis_core::catalogue::{Catalogue, Tool};
use portcullis_core::wire::Limits;

use crate::names::{quote, server_group};
use crate::presets::preset;
use crate::schema::{Field, Type, project, type_text};

/// The text of a new policy file. `None` when there is no such preset.
#[must_use]
pub fn init_text<'a>(
    preset_name: &str,
    catalogues: impl IntoIterator<Item = (&'a str, &'a Catalogue)>,
) -> Option<String> {
    let mut out = preset(preset_name)?.trim_end().to_owned();
    out.push('\n');
    let catalogues: Vec<_> = catalogues.into_iter().collect();
    for (server, catalogue) in &catalogues {
        let count = catalogue.tools().len();
        let _ = write!(
            out,
            "\n// ---------------------------------------------------------------------------------------------\n\
             // The {count} tools of `{server}`, each as an action with its arguments. Take the slashes away and edit.\n\
             // `?` marks an argument that may be absent: ask first, `context.args has NAME && …`.\n"
        );
        if let [_, _, ..] = catalogues.as_slice() {
            let all = quote(&server_group(server));
            let _ = writeln!(out, "// All of them at once: `action in Mcp::Action::{all}`.");
        }
        for tool in catalogue.tools() {
            push_tool(&mut out, tool, server, catalogues.len() > 1);
        }
    }
    Some(out)
}

/// `qualified`: the server stands in the `@id` too, since two servers may have tools of one name.
fn push_tool(out: &mut String, tool: &Tool, server: &str, qualified: bool) {
    let action = format!("{server}::Action::{}", quote(&tool.name));
    let _ = write!(out, "\n// {}{}\n", quote(&tool.name), hints(tool));
    let ty = project(tool.input_schema.as_deref(), &Limits::default());
    let mut example = None;
    match &ty {
        Type::Record(record) if record.fields.is_empty() => out.push_str("//   no arguments\n"),
        Type::Record(record) => {
            for (name, field) in &record.fields {
                push_argument(out, name, field);
            }
            example = record.fields.iter().find_map(|(name, field)| example_condition(name, field));
        }
        Type::Opaque(opaque) => {
            let _ = writeln!(out, "//   arguments that policies cannot see: {}", opaque.why());
        }
        _ => out.push_str("//   no arguments that policies can see\n"),
    }
    let condition = example.map(|condition| format!("\n// when {{ {condition} }}")).unwrap_or_default();
    let prefix = if qualified { format!("{server}.") } else { String::new() };
    let id = quote(
        &prefix.chars().chain(tool.name.chars()).filter(|letter| !letter.is_control()).take(100).collect::<String>(),
    );
    let _ = write!(out, "// @id({id})\n// permit (principal, action == {action}, resource){condition};\n");
}

fn hints(tool: &Tool) -> String {
    let hints = [
        ("read-only", tool.annotations.read_only),
        ("destructive", tool.annotations.destructive),
        ("idempotent", tool.annotations.idempotent),
        ("open world", tool.annotations.open_world),
    ];
    let said: Vec<&str> = hints.into_iter().filter(|(_, hint)| *hint == Some(true)).map(|(name, _)| name).collect();
    if said.is_empty() { String::new() } else { format!(" (the server says: {})", said.join(", ")) }
}

fn push_argument(out: &mut String, name: &str, field: &Field) {
    let optional = if field.required { "" } else { "?" };
    let _ = match &field.ty {
        Type::Opaque(opaque) => {
            writeln!(out, "//   {}{optional}: not visible to policies: {}", quote(name), opaque.why())
        }
        ty => writeln!(out, "//   {}{optional}: {}", quote(name), type_text(ty)),
    };
}

/// A condition of the right type on one argument.
fn example_condition(name: &str, field: &Field) -> Option<String> {
    let access = format!("context.args[{}]", quote(name));
    let test = match &field.ty {
        Type::Bool => access,
        Type::Long => format!("{access} <= 100"),
        Type::Decimal => format!("{access}.lessThanOrEqual(decimal(\"100.0\"))"),
        Type::String => format!("{access} like \"*\""),
        Type::Set(item) if **item == Type::String => format!("[\"one\", \"two\"].containsAll({access})"),
        Type::Set(_) | Type::Record(_) | Type::Opaque(_) => return None,
    };
    Some(if field.required { test } else { format!("context.args has {} && {test}", has_name(name)) })
}

/// `has` takes identifiers bare and anything else quoted.
fn has_name(name: &str) -> String {
    let mut letters = name.chars();
    let identifier = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let reserved = ["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"].contains(&name);
    if identifier && !reserved { name.to_owned() } else { quote(name) }
}
