//! The cursor, over text with space in every place that allows it.

use super::*;

const TEXT: &str = r#" { "a" : [ 1 , -2.5e3 , "x\n\u00e9" , { } , [ ] ] , "\u0062" : { "c" : { "d" : true } } ,"n":null, "big":9223372036854775808 } "#;

fn view(text: &str) -> View<'_> {
    view_json(text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn values_are_found_by_name_and_path() {
    let root = view(TEXT);
    assert_eq!(root.path(&["b", "c", "d"]).and_then(View::as_bool), Some(true));
    assert!(root.get("n").unwrap().is_null());
    assert!(root.get("A").is_none());
    assert!(root.path(&["a", "c"]).is_none());
    assert!(root.path(&[]).is_some());
    assert_eq!(root.get("a").unwrap().text(), r#"[ 1 , -2.5e3 , "x\n\u00e9" , { } , [ ] ]"#);
}

#[test]
fn numbers_are_never_converted_unless_they_are_plain_integers() {
    let root = view(TEXT);
    let items: Vec<_> = root.get("a").unwrap().elements().collect();
    assert_eq!(items[0].as_i64(), Some(1));
    assert_eq!((items[1].as_i64(), items[1].number()), (None, Some("-2.5e3")));
    assert_eq!(root.get("big").unwrap().as_i64(), None);
    assert_eq!(root.get("big").unwrap().number(), Some("9223372036854775808"));
    assert_eq!(view("1.0").as_i64(), None);
    assert_eq!(view("\"1\"").as_i64(), None);
}

#[test]
fn the_end_of_a_string_is_found_at_any_length_behind_any_escape() {
    for plain in 0..200 {
        let plain = "x".repeat(plain);
        for body in
            [plain.clone(), format!("{plain}\\\\"), format!("{plain}\\\"{plain}"), format!("\\\\{plain}é\\u0022")]
        {
            let text = format!("[\"{body}\",\"next\"]");
            let raw: Vec<_> = view(&text).elements().map(View::text).collect();
            assert_eq!(raw, [format!("\"{body}\""), "\"next\"".to_owned()]);
            let said: String = serde_json::from_str(&format!("\"{body}\"")).unwrap();
            let text = format!("{{\"{body}\":\"{body}\",\"next\":1}}");
            let root = view(&text);
            assert_eq!(root.get(&said).and_then(View::as_str).as_deref(), Some(&*said));
            assert!(root.get("next").is_some() && root.get("nex").is_none());
            assert!(matches!(root.tokens().nth(1), Some(Token::Key(key)) if *key == *said));
            assert!(matches!(root.tokens().nth(2), Some(Token::Scalar(value)) if value.as_str().unwrap() == *said));
            assert_eq!(root.members().next().map(|(key, _)| key.into_owned()), Some(said));
        }
    }
}

#[test]
fn strings_are_borrowed_unless_they_have_escapes() {
    assert!(matches!(view("\"plain é\"").as_str(), Some(Cow::Borrowed("plain é"))));
    assert!(matches!(view(r#""a\"b\\\ud83d\ude00""#).as_str(), Some(Cow::Owned(text)) if text == "a\"b\\😀"));
    assert_eq!(view("1").as_str(), None);
}

#[test]
fn iterating_the_wrong_kind_gives_nothing() {
    for text in ["1", "\"{}\"", "null", "[1]", "[]", "{}"] {
        assert_eq!(view(text).members().count(), 0, "{text}");
    }
    for text in ["1", "\"[]\"", "null", "{\"a\":1}", "[]", "{}"] {
        assert_eq!(view(text).elements().count(), 0, "{text}");
    }
}

#[test]
fn spans_point_into_the_text_that_was_read() {
    for token in view(TEXT).tokens() {
        if let Token::Scalar(scalar) = token {
            assert_eq!(scalar.span().of(TEXT.as_bytes()), scalar.raw());
        }
    }
    let inner = view(TEXT).path(&["b", "c"]).unwrap();
    assert_eq!(inner.span().of(TEXT.as_bytes()), inner.raw());
}

#[test]
fn strings_that_look_like_structure_do_not_confuse_the_cursor() {
    let root = view(r#"{"x":"}]\"{[:,","y":[{"z":"\\"},"\\\\\""],"w":1}"#);
    let keys: Vec<_> = root.members().map(|(key, _)| key.into_owned()).collect();
    assert_eq!(keys, ["x", "y", "w"]);
    assert_eq!(root.get("y").unwrap().elements().count(), 2);
    assert_eq!(root.tokens().filter(|token| matches!(token, Token::Key(_))).count(), 4);
}

#[test]
fn a_view_never_shows_its_content_when_debugged() {
    assert_eq!(format!("{:?}", view("\"secret\"")), "View(String, 8 bytes at 0)");
}
