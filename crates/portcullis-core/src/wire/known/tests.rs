//! Knowing a list changes what reading costs, and nothing else.

use bytes::Bytes;

use super::{LEAST, MOST, MOST_BYTES, MOST_LISTS, Seen};
use crate::wire::{Direction, Known, Limits, Malformed, Message, view_json};

/// A list of at least `bytes` bytes, told from others by `name`.
fn list(name: &str, bytes: usize) -> String {
    format!(r#"[{{"name":"{name}","tags":[[],{{}},"\u0061",-1.5e3]}}, "{}"]"#, "x".repeat(bytes))
}

fn answer(id: u32, member: &str, list: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"ttlMs":{id},"{member}":{list},"_meta":{{}}}}}}"#)
}

fn read(seen: &Seen, text: &str) -> Message {
    seen.read(Bytes::from(text.to_owned()), Direction::ToClient, &Limits::default()).unwrap()
}

fn known(text: &str) -> Known {
    Known::of(view_json(text.as_bytes(), &Limits::default()).unwrap()).unwrap()
}

fn knows(message: &Message) -> bool {
    message.known_result_member("tools").is_some()
}

#[test]
fn a_list_is_known_when_it_comes_for_the_third_time() {
    let (seen, list) = (Seen::default(), list("a", LEAST));
    let came: Vec<bool> = (1..=4).map(|id| knows(&read(&seen, &answer(id, "tools", &list)))).collect();
    assert_eq!(came, [false, false, true, true]);
    let message = read(&seen, &answer(5, "tools", &list));
    assert_eq!(message.known_result_member("tools").unwrap().text(), &list);
    assert!(message.known_result_member("ttlMs").is_none() && message.known_result_member("prompts").is_none());
    assert_eq!(message.result_member("_meta").unwrap().text(), "{}", "what stands behind it is read");
}

#[test]
fn a_list_that_differs_in_one_byte_is_not_known() {
    let (seen, list) = (Seen::default(), list("a", LEAST));
    for id in 1..=3 {
        read(&seen, &answer(id, "tools", &list));
    }
    assert!(knows(&read(&seen, &answer(4, "tools", &list))));
    for (from, to) in [("xx", "xy"), ("-1.5e3", "-1.6e3"), ("[[],", "[[] ,"), ("x\"]", "x\" ]"), ("[{", "[ {")] {
        let other = list.replacen(from, to, 1);
        assert_ne!(other, list);
        assert!(!knows(&read(&seen, &answer(5, "tools", &other))), "{from}");
    }
    // Nor where only its beginning stands, however well known that is.
    let half = answer(6, "tools", list.get(..list.len() - 1).unwrap());
    let refused = seen.read(Bytes::from(half.clone()), Direction::ToClient, &Limits::default());
    assert_eq!(
        refused.unwrap_err(),
        Message::read(Bytes::from(half), Direction::ToClient, &Limits::default()).unwrap_err()
    );
}

#[test]
fn only_lists_of_mcp_of_a_size_worth_it_are_kept() {
    for (member, bytes) in [("content", LEAST), ("tools", 10), ("tools", MOST)] {
        let (seen, list) = (Seen::default(), list("a", bytes));
        for id in 1..=4 {
            let message = read(&seen, &answer(id, member, &list));
            assert!(message.known_result_member(member).is_none(), "{member} {bytes}");
        }
    }
}

#[test]
fn lists_that_differ_each_time_are_never_kept() {
    let seen = Seen::default();
    for id in 0..200 {
        read(&seen, &answer(id, "tools", &list(&format!("n{id}"), LEAST)));
    }
    assert_eq!(seen.known().len(), 0);
    assert!(seen.lock().once.len() <= super::MOST_ONCE);
}

#[test]
fn the_newest_lists_stay_within_number_and_bytes() {
    for bytes in [LEAST, MOST - 100] {
        let seen = Seen::default();
        for id in 0..40 {
            let list = list(&format!("n{id}"), bytes);
            read(&seen, &answer(id, "tools", &list));
            read(&seen, &answer(id, "tools", &list));
            assert!(knows(&read(&seen, &answer(id, "tools", &list))));
        }
        let kept = seen.known();
        let total: usize = kept.iter().map(|known| known.text().len()).sum();
        assert!(kept.len() <= MOST_LISTS && total <= MOST_BYTES);
        assert!(kept.len() == MOST_LISTS || total + MOST > MOST_BYTES, "no room is left unused");
        assert!(!knows(&read(&seen, &answer(99, "tools", &list("n0", bytes)))));
    }
}

/// What a known list takes of the limits is taken, to the last value, key and level.
#[test]
fn limits_hold_for_what_is_known_as_for_what_is_read() {
    let list = r#"[{"a":1,"b":[[{"c":null}]],"d":{}},[],"e",[1,2,3]]"#;
    let known = [known(list)];
    let text = Bytes::from(answer(1, "tools", list));
    let mut refusals = 0;
    for most in 0..40 {
        let open = Limits::default();
        for limits in [
            Limits { depth: most, ..open },
            Limits { keys: most, ..open },
            Limits { members: most, ..open },
            Limits { bytes: text.len() - 20 + most, ..open },
        ] {
            let plain = Message::read(text.clone(), Direction::ToClient, &limits);
            let knowing = Message::read_knowing(text.clone(), Direction::ToClient, &limits, &known);
            assert_eq!(knowing.is_ok_and(|message| knows(&message)), plain.is_ok(), "{limits:?}");
            let knowing = Message::read_knowing(text.clone(), Direction::ToClient, &limits, &known);
            assert_eq!(knowing.err(), plain.as_ref().err().cloned(), "{limits:?}");
            refusals += usize::from(plain.is_err());
        }
    }
    assert!(refusals > 30);
}

/// Elsewhere it is read, because there the reader looks for more than grammar.
#[test]
fn a_known_array_is_known_in_a_result_only() {
    let list = list("a", LEAST);
    let known = [known(&list)];
    let deep = answer(1, "x", &format!(r#"{{"tools":{list}}}"#));
    let asks = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"n","tools":{list}}}}}"#);
    for (text, direction) in [(deep, Direction::ToClient), (asks, Direction::ToServer)] {
        let message = Message::read_knowing(Bytes::from(text), direction, &Limits::default(), &known).unwrap();
        assert!(message.outline().known.is_none());
    }
    assert!(Known::of(view_json(br#"{"a":[]}"#, &Limits::default()).unwrap()).is_none());
}

#[test]
fn what_stands_around_a_known_list_is_read_as_strictly_as_ever() {
    let list = list("a", LEAST);
    let known = [known(&list)];
    let read = |text: String| {
        Message::read_knowing(Bytes::from(text), Direction::ToClient, &Limits::default(), &known).map(drop).unwrap_err()
    };
    let twice = answer(1, "tools", &format!(r#"{list},"tools":{list}"#));
    assert!(matches!(read(twice), Malformed::DuplicateKey { .. }));
    assert!(matches!(read(answer(1, "tools", &format!("{list}]"))), Malformed::Syntax { .. }));
    assert!(matches!(read(answer(1, "tools", &format!("{list}1"))), Malformed::Syntax { .. }));
    assert!(matches!(read(answer(1, "tools", &format!(r#"{list},"_META":1"#))), Malformed::CaseVariantKey { .. }));
}

#[test]
fn an_edit_leaves_known_what_it_does_not_touch_and_puts_what_it_is_given() {
    let (seen, list, limits) = (Seen::default(), list("a", LEAST), Limits::default());
    for id in 1..=3 {
        read(&seen, &answer(id, "tools", &list));
    }
    let message = read(&seen, &answer(4, "tools", &list));
    let tools = message.result_member("tools").unwrap();
    let kept = message.edit().set_meta("k", "1").apply(&limits).unwrap();
    assert!(kept.known_result_member("tools").unwrap().is(message.known_result_member("tools").unwrap()));
    let cut = message.edit().remove_elements(tools, &|index| index > 0).apply(&limits).unwrap();
    assert!(!knows(&cut));
    let other = known(&self::list("b", 1));
    let put = message.edit().replace_by_known(tools, &other).apply(&limits).unwrap();
    assert!(put.known_result_member("tools").unwrap().is(&other));
    assert_eq!(put.bytes(), &answer(4, "tools", std::str::from_utf8(other.text()).unwrap()));
    let foreign = cut.result_member("tools").unwrap();
    let refused = message.edit().replace_by_known(foreign, &other).apply(&limits);
    assert_eq!(refused.unwrap_err(), Malformed::EditRefused);
}
