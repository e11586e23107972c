//! Grammar, one rule at a time, and how much work hostile texts can cause.

use super::*;

fn value(text: impl AsRef<[u8]>) -> Result<Outline, Malformed> {
    scan(text.as_ref(), Mode::Value, &Limits::default())
}

fn code(text: impl AsRef<[u8]>) -> &'static str {
    value(text).map_or_else(|flaw| flaw.code(), |_| "accepted")
}

#[test]
fn every_kind_of_value_is_accepted() {
    for text in [
        "null",
        " true ",
        "false",
        "0",
        "-0",
        "-0.5e-7",
        "1E+2",
        "123456789012345678901234567890",
        "1e999",
        "\"\"",
        "\"\\u00e9\\\\\\\"\\/\\b\\f\\n\\r\\t\"",
        "\"\\ud83d\\ude00\"",
        "\"\u{7f}\"",
        "[]",
        "{}",
        " [ ] ",
        "{ }",
        "[1,[2,[3]],{\"a\":{}}]",
        "{\"a\":1,\"b\":[{}],\"\":null}",
        "\t\r\n1\n",
    ] {
        assert_eq!(code(text), "accepted", "{text}");
    }
}

/// I26.
#[test]
fn what_is_not_json_is_a_syntax_error() {
    for text in [
        "",
        " ",
        "nul",
        "nulL",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "-a",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\uD83D\\u12\"",
        "\"\n\"",
        "\"\u{0}\"",
        "\"\u{1f}\"",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\":1]",
        "[1}",
        "]",
        "}",
        ",",
        ":",
        "\u{b}1",
        "/**/1",
    ] {
        assert_eq!(code(text), "syntax", "{text}");
    }
}

#[test]
fn bytes_after_the_value_are_refused() {
    for text in ["1 1", "{}{}", "{} x", "null,", "01", "[]]", "\"a\"b", "1\u{0}"] {
        assert_eq!(code(text), "trailing_bytes", "{text:?}");
    }
}

#[test]
fn invalid_utf8_is_refused_where_it_starts() {
    for bad in [&b"\x80"[..], b"\xC0\x80", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xFF\xFE", b"\xC3"] {
        let text = [b"\"ab", bad, b"\""].concat();
        assert_eq!(value(&text).unwrap_err(), Malformed::NotUtf8 { at: 3 }, "{bad:?}");
    }
    assert_eq!(code(b"\xFF\xFE1\x00"), "not_utf8");
}

#[test]
fn a_byte_order_mark_is_refused() {
    assert_eq!(code("\u{feff}{}"), "byte_order_mark");
    assert_eq!(code("{}\u{feff}"), "trailing_bytes");
    assert_eq!(code("{\u{feff}}"), "syntax");
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for text in
        [r#""\ud800""#, r#""\ud800x""#, r#""\ud800\n""#, r#""\ud800\ud800""#, r#""\udc00""#, r#""\ude00\ud83d""#]
    {
        assert_eq!(code(text), "lone_surrogate", "{text}");
        assert_eq!(code(format!("{{{text}:1}}")), "lone_surrogate", "{text}");
    }
}

#[test]
fn a_duplicate_key_at_any_depth_is_refused() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"b":2,"\u0061":3}"#,
        r#"{"\u0061":1,"a":2}"#,
        r#"[[{"x":{"":1,"":2}}]]"#,
        r#"{"a":{"b":[{"c":1,"d":2,"c":3}]}}"#,
        r#"{"\n":1,"\u000a":2}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
        r#"{"\u0000":1,"\u0000":2}"#,
    ] {
        assert_eq!(code(text), "duplicate_key", "{text}");
    }
    for text in [r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#, r#"[{"a":1},{"a":1}]"#, r#"{"a":1,"A":2,"a ":3,"á":4}"#] {
        assert_eq!(code(text), "accepted", "{text}");
    }
}

#[test]
fn a_duplicate_is_found_among_any_number_of_keys() {
    for count in [2, 3, 15, 16, 17, 18, 100, 1000] {
        let keys: Vec<String> = (0..count).map(|n| format!("\"key{n}\":{{\"key1\":1}}")).collect();
        assert_eq!(code(format!("{{{}}}", keys.join(","))), "accepted");
        for twin in [0, 1, count / 2, count - 1] {
            for spelling in [format!("\"key{twin}\":0"), format!("\"\\u006bey{twin}\":0")] {
                let text = format!("{{{},{spelling}}}", keys.join(","));
                let at = text.rfind(&spelling).unwrap() + 1;
                assert_eq!(value(&text).unwrap_err(), Malformed::DuplicateKey { at }, "{count} {twin}");
            }
        }
    }
}

#[test]
fn every_limit_is_exact() {
    let limits = Limits { bytes: 40, depth: 3, keys: 2, members: 5, ..Limits::default() };
    let code = |text: &str| scan(text.as_bytes(), Mode::Value, &limits).map_or_else(|flaw| flaw.code(), |_| "accepted");
    assert_eq!(code("[[[]]]"), "accepted");
    assert_eq!(code("[[[[]]]]"), "too_deep");
    assert_eq!(code("[[[{}]]]"), "too_deep");
    assert_eq!(code(r#"{"a":1,"b":2}"#), "accepted");
    assert_eq!(code(r#"{"a":1,"b":2,"c":3}"#), "too_many_keys");
    assert_eq!(code("[1,2,3,4]"), "accepted");
    assert_eq!(code("[1,2,3,4,5]"), "too_many_members");
    assert_eq!(code(&format!("{:40}", 1)), "accepted");
    assert_eq!(code(&format!("{:41}", 1)), "too_large");
}

#[test]
fn depth_costs_no_stack() {
    let deep = Limits { depth: usize::MAX, members: usize::MAX, ..Limits::default() };
    let text = [vec![b'['; 1 << 20], vec![b']'; 1 << 20]].concat();
    assert!(scan(&text, Mode::Value, &deep).is_ok());
    assert_eq!(code(&text), "too_deep");
}

#[test]
fn long_strings_are_read_the_same_at_every_length_and_offset() {
    for len in 0..200 {
        // Neighbours of what is looked for: the space is the first plain character, and the quote stands between `!` and `#`.
        let plain: String = " !#x[]\u{7f}".chars().cycle().take(len).collect();
        assert_eq!(code(format!("\"{plain}\"")), "accepted");
        assert_eq!(code(format!("[\"{plain}\",\"{plain}é\\n{plain}\"]")), "accepted");
        for control in '\0'..' ' {
            let text = format!("\"{plain}{control}{plain}\"");
            assert_eq!(value(text).unwrap_err(), Malformed::Syntax { at: len + 1 });
        }
        assert_eq!(value(format!("\"{plain}\\q{plain}\"")).unwrap_err(), Malformed::Syntax { at: len + 2 });
        assert_eq!(code(format!("\"{plain}")), "syntax");
    }
}

struct Units(usize);

impl Work for Units {
    fn spend(&mut self, units: usize) {
        self.0 += units;
    }
}

/// Work per byte and per doubling of the input; it must not grow with the input.
fn cost(text: &str) -> f64 {
    let mut units = Units(0);
    let open = Limits { bytes: 1 << 28, depth: usize::MAX, keys: usize::MAX, members: usize::MAX, ..Limits::default() };
    drop(scan_counting(text.as_bytes(), Mode::Message, &open, &[], &mut Outline::default(), &mut units));
    assert!(units.0 > 0);
    let len = text.len() as f64;
    units.0 as f64 / (len * len.log2())
}

/// Nothing a sender writes makes the reader do more than n·log n work.
#[test]
fn no_input_is_quadratic() {
    type Family = fn(usize) -> String;
    let families: [(&str, Family); 10] = [
        ("many keys", |n| object(n, |i| format!("\"{i}\""))),
        ("keys of one length", |n| object(n, |i| format!("\"{i:08}\""))),
        ("keys alike at both ends", |n| object(n, |i| format!("\"aaaaaaaa{i:08}zzzzzzzz\""))),
        ("keys with escapes", |n| object(n, |i| format!("\"\\u0061{i}\""))),
        ("descending keys", |n| object(n, |i| format!("\"{:08}\"", 99_999_999 - i))),
        ("long keys alike but for the end", |n| object(n / 8, |i| format!("\"{}{i:08}zz\"", "a".repeat(60)))),
        ("objects just under the sorting threshold", |n| {
            let one = object(16, |i| format!("\"aa{}{i:02}aa\"", "b".repeat(40)));
            format!("[{}]", vec![one; n / 16].join(","))
        }),
        ("nested objects", |n| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n))),
        ("nested params", |n| format!("{}1{}", "{\"params\":{\"_meta\":".repeat(n), "}}".repeat(n))),
        ("escapes", |n| format!("\"{}\"", "\\n\\u0061".repeat(n))),
    ];
    for (name, family) in families {
        for size in [1 << 8, 1 << 11, 1 << 15] {
            let cost = cost(&family(size));
            assert!(cost < 2.0, "{name} of {size}: {cost:.2} units for each byte and doubling");
        }
    }
}

fn object(keys: usize, key: impl Fn(usize) -> String) -> String {
    let members: Vec<String> = (0..keys).map(|i| format!("{}:0", key(i))).collect();
    format!("{{{}}}", members.join(","))
}
