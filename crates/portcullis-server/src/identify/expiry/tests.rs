use portcullis_core::clock::Timestamp;

use super::Expiry;

fn at(text: &str) -> String {
    Expiry::parse(text).unwrap().at().to_string()
}

#[test]
fn a_date_means_its_end_and_a_moment_itself() {
    assert_eq!(at("2027-01-31"), "2027-02-01T00:00:00.000Z");
    assert_eq!(at("2028-02-29"), "2028-03-01T00:00:00.000Z");
    assert_eq!(at("1999-12-31"), "2000-01-01T00:00:00.000Z");
    assert_eq!(at("2027-01-31T18:00:00Z"), "2027-01-31T18:00:00.000Z");
    assert_eq!(at("2027-01-31t18:00:00.5z"), "2027-01-31T18:00:00.500Z");
    assert_eq!(at("2027-01-31T18:00:00.123456789+01:30"), "2027-01-31T16:30:00.123Z");
    assert_eq!(at("2027-01-31T23:30:00-01:00"), "2027-02-01T00:30:00.000Z");
    assert_eq!(Expiry::parse("2027-01-31").unwrap().to_string(), "2027-01-31", "shown as written");
}

#[test]
fn every_moment_reads_back_as_it_is_written() {
    for millis in (0..4_102_444_800_000).step_by(7_654_321_987) {
        assert_eq!(Expiry::parse(&Timestamp(millis).to_string()).unwrap().at(), Timestamp(millis));
    }
}

#[test]
fn what_no_calendar_has_is_refused() {
    for text in [
        "",
        "never",
        "2027",
        "2027-1-31",
        "2027-13-01",
        "2027-00-01",
        "2027-02-29",
        "1900-02-29",
        "2027-04-31",
        "2027-01-00",
        "1969-12-31",
        "2027-01-31 18:00:00Z",
        "2027-01-31T18:00:00",
        "2027-01-31T18:00Z",
        "2027-01-31T24:00:00Z",
        "2027-01-31T18:60:00Z",
        "2027-01-31T18:00:60Z",
        "2027-01-31T18:00:00.Z",
        "2027-01-31T18:00:00+0100",
        "2027-01-31T18:00:00+24:00",
        "2027-01-31T18:00:00Zulu",
        "1970-01-01T00:00:00+01:00",
        "+027-01-31",
        "2027-01-3١",
        "90d",
    ] {
        assert!(Expiry::parse(text).is_err(), "{text:?}");
    }
}
