//! When a key ends, as an operator writes it: a date, or a moment of RFC 3339. Nothing here asks what time it is.

use std::fmt;

use portcullis_core::clock::Timestamp;
use serde::Deserialize;

/// Milliseconds of a day without leap seconds, which the Unix epoch does not count.
const DAY: u64 = 86_400_000;

/// The moment from which something is no longer good.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Expiry {
    /// As written, because that is what its author finds again.
    text: String,
    at: Timestamp,
}

impl Expiry {
    /// Reads `2027-01-31` (the end of that day in UTC) or a moment such as `2027-01-31T18:00:00+01:00`.
    ///
    /// # Errors
    /// A text that is neither, or a day that no calendar has.
    pub fn parse(text: &str) -> Result<Self, String> {
        let at = moment(text).ok_or_else(|| {
            format!("`{}` is neither a date (`2027-01-31`) nor a moment (`2027-01-31T18:00:00Z`)", text.escape_debug())
        })?;
        Ok(Self { text: text.to_owned(), at })
    }

    /// The first moment at which it is over.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}

impl TryFrom<String> for Expiry {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// RFC 3339 §5.6, without the leap second; `None` for what is none, or before 1970.
fn moment(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let start = days(date)?.checked_mul(DAY)?;
    if rest.is_empty() {
        return start.checked_add(DAY).map(Timestamp);
    }
    let (clock, rest) = rest.strip_prefix(['T', 't'])?.split_at_checked(8)?;
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (millis, zone) = fraction(rest)?;
    let local = start.checked_add(((hour * 60 + minute) * 60 + second) * 1000 + millis)?;
    offset(zone, local).map(Timestamp)
}

/// `.5` and what follows it; what is finer than a millisecond is dropped.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at_checked(end)?;
    if digits.is_empty() {
        return None;
    }
    let millis = digits.bytes().chain([b'0'; 3]).take(3).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some((millis, rest))
}

/// A local time taken to UTC.
fn offset(zone: &str, local: u64) -> Option<u64> {
    if matches!(zone, "Z" | "z") {
        return Some(local);
    }
    let (sign, distance) = zone.split_at_checked(1)?;
    let [hours, minutes] = fields(distance, ':', [2, 2])?;
    let distance = (hours * 60 + minutes) * 60_000;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        // East of Greenwich the sun is up earlier.
        "+" => local.checked_sub(distance),
        "-" => local.checked_add(distance),
        _ => None,
    }
}

/// Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days(date: &str) -> Option<u64> {
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > length {
        return None;
    }
    // Years begin in March, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// Numbers of exactly these lengths with a separator between them, and nothing else.
fn fields<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part =
            parts.next().filter(|part| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests;
