//! Look-alikes, level by level.

use super::*;

#[test]
fn the_members_themselves_are_no_variants() {
    for (level, known) in [
        (Level::Top, ENVELOPE.names.as_slice()),
        (Level::Params, PARAMS.names.as_slice()),
        (Level::Result, RESULT.names.as_slice()),
        (Level::Error, ERROR.names.as_slice()),
        (Level::ParamsMeta, META.names.as_slice()),
    ] {
        for name in known {
            assert!(name.len() <= LONGEST);
            assert!(!is_variant(level, name.as_bytes()), "{name}");
            assert!(is_variant(level, name.to_ascii_uppercase().as_bytes()), "{name}");
            for at in 0..=name.len() {
                let (start, end) = name.split_at(at);
                assert!(is_variant(level, format!("{start}\0{end}").as_bytes()), "{name} {at}");
                assert!(!is_variant(level, format!("{start}é{end}").as_bytes()), "{name} {at}");
            }
            assert!(!is_variant(level, format!("{name}x").as_bytes()), "{name}");
            assert!(!is_variant(Level::Other, name.to_ascii_uppercase().as_bytes()), "{name}");
        }
    }
}

/// CVE-2026-27896 and its relatives: `ſ` and the Kelvin sign fold to letters, NUL ends a key.
#[test]
fn letters_that_only_a_lax_decoder_folds_are_found() {
    for key in ["paramſ", "reſult", "re\u{17f}ULT", "\0id", "i\0d", "id\0\0\0", "ID", "Method"] {
        assert!(is_variant(Level::Top, key.as_bytes()), "{key:?}");
    }
    for key in ["uri\0", "progre\u{17f}\u{17f}To\u{212a}en", "ta\u{212a}"] {
        assert_eq!(is_variant(Level::Params, key.as_bytes()), key != "ta\u{212a}", "{key:?}");
    }
    assert!(is_variant(Level::Params, "taſ\u{212a}".as_bytes()));
    assert!(is_variant(Level::Top, format!("id{}", "\0".repeat(5000)).as_bytes()));
    assert!(!is_variant(Level::Top, "é".repeat(5000).as_bytes()));
}

#[test]
fn any_other_spelling_of_the_reserved_prefix_is_found() {
    for key in ["IO.modelcontextprotocol/x", "io.modelContextProtocol/anything", "io.modelcontextprotocol\0/x"] {
        assert!(is_variant(Level::ParamsMeta, key.as_bytes()), "{key:?}");
    }
    for key in
        ["io.modelcontextprotocol/x", "io.modelcontextprotocol.example/x", "com.example/x", "i", "", "traceparent"]
    {
        assert!(!is_variant(Level::ParamsMeta, key.as_bytes()), "{key:?}");
    }
    let long = format!("IO.modelcontextprotocol/{}", "x".repeat(500));
    assert!(is_variant(Level::ResultMeta, long.as_bytes()));
}
