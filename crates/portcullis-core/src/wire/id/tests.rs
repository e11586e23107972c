//! Which texts are ids, and which ids are the same.

use std::collections::HashSet;

use super::Id;

#[test]
fn strings_and_integers_are_ids() {
    for text in ["1", "0", "-7", "123456789012345678901234567890", "\"\"", "\"a\"", "\"\\u0061 b\"", "\"é\"", "\"1\""]
    {
        assert_eq!(Id::from_text(text).expect(text).raw(), text);
    }
}

/// A34: fractional, null and structured ids are refused; so is everything that peers round differently.
#[test]
fn nothing_else_is_an_id() {
    for text in ["null", "true", "1.0", "1e0", "1E2", "-", "01", "[1]", "{}", "", "1 2", "\"a", "\"\\ud800\"", "a"] {
        assert_eq!(Id::from_text(text), None, "{text}");
    }
}

#[test]
fn ids_are_compared_by_meaning_and_kept_as_written() {
    let plain = Id::from_text("\"a\"").unwrap();
    let escaped = Id::from_text("\"\\u0061\"").unwrap();
    assert_eq!(plain, escaped);
    assert_eq!(escaped.raw(), "\"\\u0061\"");
    assert_eq!(HashSet::from([plain.clone(), escaped.clone()]).len(), 1);
    assert!(plain.cmp(&escaped).is_eq());
    assert_eq!(Id::from_text("-0"), Id::from_text("0"));
    assert_ne!(Id::number(1), Id::string("1"));
    assert_ne!(Id::string("a"), Id::string("A"));
    assert_ne!(Id::from_text("12345678901234567890123"), Id::from_text("12345678901234567890124"));
}

#[test]
fn made_ids_read_back_as_themselves() {
    for value in ["", "a", "with \"quotes\" and \\", "line\n\u{0}\u{1f}", "é😀", &"long".repeat(50)] {
        let id = Id::string(value);
        assert_eq!(Id::from_text(id.raw()), Some(id.clone()));
        let read: String = serde_json::from_str(id.raw()).unwrap();
        assert_eq!(read, value);
    }
    for value in [0, -1, i64::MIN, i64::MAX] {
        assert_eq!(Id::from_text(&value.to_string()), Some(Id::number(value)));
    }
}
