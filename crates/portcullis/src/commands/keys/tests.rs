use portcullis_core::clock::Timestamp;
use portcullis_server::{ApiKey, Expiry};

use super::{entry, expiry};
use crate::config::key_file::KeyFile;

const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000001";

fn parsed(text: &str) -> KeyFile {
    KeyFile::parse("keys.yaml".to_owned(), text.to_owned()).unwrap()
}

#[test]
fn what_is_written_is_read_back_whatever_the_names_hold() {
    let key = ApiKey {
        name: "no: \"quote\" # é '{[".into(),
        sha256: HASH.into(),
        groups: vec!["yes".into(), "a, b".into()],
        expires: Some(Expiry::parse("2027-01-31").unwrap()),
        servers: vec!["notes".into()],
    };
    let bare = ApiKey {
        name: "1".into(),
        sha256: HASH.replace('1', "2"),
        groups: Vec::new(),
        expires: None,
        servers: Vec::new(),
    };
    let one = entry::with("", &key);
    let two = entry::with(one.trim_end(), &bare);
    assert_eq!(parsed(&two).keys, [key.clone(), bare.clone()]);
    assert!(two.starts_with('#'), "a new file says what it is: {two}");
    assert_eq!(entry::without(&parsed(&two), 1).unwrap(), one);
    assert_eq!(parsed(&entry::without(&parsed(&two), 0).unwrap()).keys, [bare]);
}

#[test]
fn an_entry_goes_with_the_remark_above_it_and_nothing_else_changes() {
    let ana = format!("- name: ana # the first\n  sha256: {HASH}\n");
    let ben = format!("-   {{ name: ben,\n      sha256: {} }}\n", HASH.replace('1', "2"));
    let cem = format!("- sha256: {}\n  # inside\n  name: cem", HASH.replace('1', "3"));
    let text = format!("# ours\n{ana}\n# ben's laptop\n# until May\n{ben}\n# cem\n\n{cem}");
    let without = |index| entry::without(&parsed(&text), index);
    assert_eq!(without(0).unwrap(), format!("# ours\n\n# ben's laptop\n# until May\n{ben}\n# cem\n\n{cem}"));
    assert_eq!(without(1).unwrap(), format!("# ours\n{ana}\n\n# cem\n\n{cem}"));
    assert_eq!(without(2).unwrap(), format!("# ours\n{ana}\n# ben's laptop\n# until May\n{ben}\n# cem\n\n"));
    assert_eq!(without(3), None);
}

#[test]
fn an_expiry_is_counted_from_now_or_written_and_never_past() {
    let now = Timestamp(1_785_231_000_123);
    let text = |given: &str| expiry(given, now).map(|expiry| expiry.to_string()).map_err(|failure| failure.text);
    assert_eq!(text("90d").unwrap(), "2026-10-26T09:30:00Z");
    assert_eq!(text("2026-07-28").unwrap(), "2026-07-28", "today is not over");
    assert_eq!(text("2026-07-28T12:00:00+02:00").unwrap(), "2026-07-28T12:00:00+02:00");
    for given in ["0d", "2026-07-27", "2026-07-28T09:30:00Z"] {
        assert_eq!(text(given).unwrap_err(), format!("`{given}` is over already"));
    }
    for given in ["d", "-1d", "90", "1y", "36501d", "99999999999999999999d", "2026-02-30"] {
        assert!(text(given).unwrap_err().contains("neither a date"), "{given}");
    }
}
