use proptest::prelude::*;

use super::*;

fn same(a: &str, b: &str) -> bool {
    let (a, b) = (Decimal::parse(a), Decimal::parse(b));
    a.is_some() && a == b
}

fn integer(text: &str) -> Option<String> {
    Decimal::parse(text).unwrap().as_integer()
}

#[test]
fn c32_spellings_of_one_number_are_equal() {
    for (a, b) in [
        ("42", "42.0"),
        ("42", "4.2e1"),
        ("42", "4200E-2"),
        ("0", "-0"),
        ("0", "0.000e9"),
        ("-7", "-7.0"),
        ("1e3", "1000"),
        ("100", "1e+2"),
        ("0.5", "5e-1"),
    ] {
        assert!(same(a, b), "{a} {b}");
    }
}

#[test]
fn c32_different_numbers_are_different_even_where_floats_are_not() {
    for (a, b) in [
        ("42", "43"),
        ("42", "-42"),
        ("42", "42.1"),
        ("42", "420"),
        ("9007199254740993", "9007199254740992"),
        ("9007199254740993", "9007199254740993.0000000000000000000001"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("0", "1e-400"),
    ] {
        assert!(!same(a, b), "{a} {b}");
    }
}

#[test]
fn c32_what_json_does_not_call_a_number_is_none() {
    for text in [
        "", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "1e++1", "1e1.0", "0x1", "1_0", " 1", "1 ", "NaN",
        "Infinity", "1,0", "--1", "1e--1", "١",
    ] {
        assert_eq!(Decimal::parse(text), None, "{text}");
    }
}

#[test]
fn exponents_beyond_reason_are_not_compared() {
    assert_eq!(Decimal::parse("1e1000001"), None);
    assert_eq!(Decimal::parse("1e99999999999999999999"), None);
    assert_eq!(Decimal::parse("1e-99999999999999999999"), None);
    assert!(same("1e1000000", "10e999999"));
}

#[test]
fn d3_integers_are_written_as_plain_digits() {
    for (text, plain) in
        [("42.0", "42"), ("-4.2e1", "-42"), ("1e3", "1000"), ("-0.0", "0"), ("9007199254740993", "9007199254740993")]
    {
        assert_eq!(integer(text).as_deref(), Some(plain));
    }
    for no_integer in ["0.5", "1e-1", "1e40", "1e1000000"] {
        assert_eq!(integer(no_integer), None, "{no_integer}");
    }
}

proptest! {
    #[test]
    fn c32_every_integer_equals_its_other_spellings(value in any::<i128>(), zeros in 0_usize..5) {
        let plain = value.to_string();
        let padding = "0".repeat(zeros);
        let with_fraction = format!("{plain}.0{padding}");
        let with_exponent = format!("{plain}{padding}e-{zeros}");
        prop_assert!(same(&plain, &with_fraction));
        prop_assert!(same(&plain, &with_exponent));
        prop_assert_eq!(integer(&with_fraction), Some(plain));
    }

    #[test]
    fn c32_numbers_are_equal_only_when_they_are(a in any::<i64>(), b in any::<i64>()) {
        prop_assert_eq!(same(&a.to_string(), &format!("{b}.0")), a == b);
    }

    #[test]
    fn any_text_is_a_number_or_none(text in "[-+0-9.eE]{0,20}") {
        drop(Decimal::parse(&text).and_then(|number| number.as_integer()));
    }
}
