//! Messages of the sizes that matter, for benchmarks that stop at the message. Every text is one the strict reader accepts.

use std::fmt;
use std::fmt::Write as _;

/// One message and what it is called in the table.
#[derive(Clone, Debug)]
pub struct Input {
    name: &'static str,
    pub text: String,
    /// Whether a server sends it: these are results.
    pub is_result: bool,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them, the smallest first.
#[must_use]
pub fn inputs() -> Vec<Input> {
    let call = |name, arguments: &str| Input { name, text: call(arguments), is_result: false };
    let result = |name, result: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":42,"result":{result}}}"#);
        Input { name, text, is_result: true }
    };
    let text = |length: usize| {
        format!(r#"{{"text":"{}"}}"#, "The quick brown fox jumps over the lazy dog; ".repeat(length / 45))
    };
    let content = |line: &str, length: usize| {
        format!(r#"{{"content":[{{"type":"text","text":"{}"}}],"isError":false}}"#, line.repeat(length / line.len()))
    };
    vec![
        small(),
        call("text_64k", &text(64 << 10)),
        call("lines_64k", &text(64 << 10).replace("dog; ", r"dog;\n")),
        call("structured_64k", &structured(64 << 10)),
        result("tools_100", &tools(100)),
        result("text_1m", &content("A line of what a tool has to say about it. ", 1 << 20)),
        result("structured_1m", &format!(r#"{{"structuredContent":{}}}"#, structured(1 << 20))),
    ]
}

/// The small call: 200 bytes, five arguments, a progress token.
#[must_use]
pub fn small() -> Input {
    let text = concat!(
        r#"{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"search_issues","arguments":"#,
        r#"{"query":"memory leak","state":"open","limit":20,"page":1,"exact":true},"_meta":{"progressToken":"abc-42"}}}"#
    );
    Input { name: "call_200", text: text.to_owned(), is_result: false }
}

/// 64 KiB of small objects.
#[must_use]
pub fn structured_call() -> Input {
    Input { name: "structured_64k", text: call(&structured(64 << 10)), is_result: false }
}

fn call(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{{"name":"search_issues","arguments":{arguments}}}}}"#
    )
}

/// Rows as databases and trackers give them: short keys, short strings, numbers.
fn structured(length: usize) -> String {
    let mut text = String::from(r#"{"rows":["#);
    for row in 0_usize.. {
        let comma = if row == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{comma}{{"id":{},"title":"Row number {row}","score":{}.25,"labels":["bug","ui"],"open":true,"owner":{{"name":"ann","team":null}}}}"#,
            row * 7919,
            row % 100,
        );
        if text.len() >= length {
            break;
        }
    }
    text.push_str("]}");
    text
}

/// A list of tools with the schemas they usually have.
fn tools(count: usize) -> String {
    let tool = |number: usize| {
        format!(
            concat!(
                r#"{{"name":"tool_{number}","title":"Tool {number}","description":"Searches the collection number {number} and gives what fits, the newest first.","#,
                r#""inputSchema":{{"type":"object","properties":{{"query":{{"type":"string","description":"What to look for"}},"#,
                r#""limit":{{"type":"integer","minimum":1,"maximum":100,"default":20}},"state":{{"enum":["open","closed","all"]}}}},"#,
                r#""required":["query"],"additionalProperties":false}},"annotations":{{"readOnlyHint":true,"openWorldHint":false}}}}"#
            ),
            number = number
        )
    };
    let tools: Vec<String> = (0..count).map(tool).collect();
    format!(r#"{{"tools":[{}]}}"#, tools.join(","))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use portcullis_core::wire::{Direction, Limits, Message};

    use super::*;

    #[test]
    fn every_input_is_a_message_of_its_size() {
        for input in inputs() {
            let direction = if input.is_result { Direction::ToClient } else { Direction::ToServer };
            let read = Message::read(Bytes::from(input.text.clone()), direction, &Limits::default());
            assert!(read.is_ok(), "{input}: {read:?}");
        }
        assert_eq!(small().text.len(), 200);
    }
}
