//! The policies of the benchmark: ten as somebody would write them for its server, and a thousand of which few matter to a call.

use std::fmt::Write as _;

/// In force wherever a row does not say otherwise.
pub(crate) const TEN: &str = r#"
@id("protocol")
permit (principal, action in [Mcp::Action::"protocol", Mcp::Action::"read", Mcp::Action::"notification"], resource);

@id("read-only-tools")
permit (principal, action in Mcp::Action::"tools/call", resource)
when { context has tool && context.tool has readOnly && context.tool.readOnly };

@id("search")
permit (principal, action == bench::Action::"search", resource)
when { !(context.args has limit && context.args.limit > 50) };

@id("search-not-below-etc")
@reason("Nothing below /etc is anybody's business.")
forbid (principal, action == bench::Action::"search", resource)
when { context.args has path && (context.args.path like "/etc/*" || context.args.path like "*..*") };

@id("write-notes")
permit (principal, action == bench::Action::"write", resource)
when { context.args.path like "/srv/notes/*" };

@id("no-way-out")
@reason("Write the path without `..`.")
forbid (principal, action == bench::Action::"write", resource)
when { context.args.path like "*..*" };

@id("orders-and-streams")
permit (principal, action in [bench::Action::"order", bench::Action::"watch", bench::Action::"follow"], resource);

@id("export-as-csv")
permit (principal, action == bench::Action::"export", resource)
when { context.args.format == "csv" };

@id("lookup-known-tables")
permit (principal, action == bench::Action::"lookup", resource)
when { ["orders", "stock"].contains(context.args.table) };

@id("no-runaway-sessions")
@reason("This session made a billion calls; begin a new one.")
forbid (principal, action in Mcp::Action::"tools/call", resource)
when { context has session && context.session.toolCalls > 1000000000 };
"#;

/// The ten, and 990 about tools that nobody calls.
pub(crate) fn thousand() -> String {
    let mut text = TEN.to_owned();
    for number in 0..990 {
        // The tools that the server lists beside those with answers of their own.
        let tool = 7 + number % 93;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n@id(\"generated-{number}\")\nforbid (principal in Mcp::Group::\"group-{group}\", action == bench::Action::\"tool_{tool:03}\", resource)\nwhen {{ context.args has path && context.args.path like \"/projects/{number}/*\" }};\n",
            group = number % 10,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{TEN, thousand};

    #[test]
    fn there_are_as_many_as_the_names_say() {
        let count = |text: &str| text.matches("@id(").count();
        assert_eq!(count(TEN), 10);
        assert_eq!(count(&thousand()), 1000);
    }
}
