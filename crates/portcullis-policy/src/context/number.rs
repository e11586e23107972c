//! JSON numbers as Cedar decimals: exact or not at all. Nothing here goes through a float.

/// Digits after the point that a Cedar decimal keeps.
const SCALE: i64 = 4;

/// `number`, as written in JSON, as Cedar writes decimals. `None` when it needs more than four digits after the point, or lies outside
/// of ±922337203685477.5807.
pub(crate) fn decimal(number: &str) -> Option<String> {
    let (negative, rest) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()),
        None => (rest, Some(0)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let significant = digits().rev().skip_while(|digit| *digit == b'0').count();
    let trailing = i64::try_from(whole.len() + fraction.len() - significant).ok()?;
    if significant == 0 {
        return Some("0.0".to_owned());
    }
    // value = mantissa digits without trailing zeros * 10^power
    let power =
        exponent?.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(trailing)?.checked_add(SCALE)?;
    let mut scaled: i64 = 0;
    for digit in digits().take(significant) {
        scaled = add_digit(scaled, digit)?;
    }
    // 19 digits are all an i64 has.
    if !(0..=19).contains(&power) {
        return None;
    }
    for _ in 0..power {
        scaled = scaled.checked_mul(10)?;
    }
    let unit = 10_i64.pow(4);
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{}.{:04}", (scaled / unit).unsigned_abs(), (scaled % unit).unsigned_abs()))
}

/// Collected below zero, where an i64 has one value more.
fn add_digit(sum: i64, digit: u8) -> Option<i64> {
    sum.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_with_four_digits_after_the_point_are_exact() {
        for (json, cedar) in [
            ("0", "0.0"),
            ("-0.0", "0.0"),
            ("0e999999999999999999999", "0.0"),
            ("12", "12.0000"),
            ("-0.5", "-0.5000"),
            ("1.50000000", "1.5000"),
            ("1e3", "1000.0000"),
            ("12345e-4", "1.2345"),
            ("922337203685477.5807", "922337203685477.5807"),
            ("100000000000000000000e-10", "10000000000.0000"),
        ] {
            assert_eq!(decimal(json).as_deref(), Some(cedar), "{json}");
        }
    }

    #[test]
    fn numbers_that_would_have_to_be_rounded_have_no_decimal() {
        for json in
            ["0.00001", "1e-5", "1e15", "1e400", "1e-99999999999999999999", "922337203685478", "922337203685477.58071"]
        {
            assert_eq!(decimal(json), None, "{json}");
        }
    }
}
