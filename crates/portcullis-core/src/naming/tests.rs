//! Names, URIs and tasks of several servers, there and back.

mod messages;
mod properties;

use std::borrow::Cow;
use std::sync::Arc;

use super::{ConflictKind, Names, Offer, Prefix};
use crate::catalogue::{Caching, Catalogue, Listed, Listing};
use crate::own::quoted;
use crate::wire::{Limits, view_json};

/// A server that offers these tools, and prompts of the same names.
pub(super) fn offering(names: &[&str]) -> Arc<Catalogue> {
    let items: Vec<String> = names.iter().map(|name| format!(r#"{{"name":{}}}"#, quoted(name))).collect();
    let text = format!("[{}]", items.join(","));
    let list = view_json(text.as_bytes(), &Limits::default()).unwrap();
    let prompts = Listing::from_items(Listed::Prompts, list.elements(), Caching::default()).unwrap();
    Arc::new(Catalogue::from_tools(list.elements()).unwrap().with_list(Listed::Prompts, prompts))
}

pub(super) fn names(servers: &[&str], prefix: Prefix) -> Names {
    Names::new(servers.iter().map(|name| Arc::from(*name)).collect(), "__", prefix).unwrap()
}

fn refused(servers: &[&str], separator: &str) -> String {
    Names::new(servers.iter().map(|name| Arc::from(*name)).collect(), separator, Prefix::Always).unwrap_err()
}

fn own<'a>(names: &Names, shown: &'a str, known: &[Arc<Catalogue>]) -> Option<(usize, Cow<'a, str>)> {
    let [tool, prompt] = [Offer::Tool, Offer::Prompt].map(|of| names.own_name(of, shown, known));
    assert_eq!(tool, prompt, "tools and prompts go by the same rules");
    tool
}

#[test]
fn servers_that_could_not_be_told_apart_are_refused() {
    for (servers, separator, why) in [
        (&["git", "git__hub"][..], "__", "begin alike"),
        (&["a_", "a"], "__", "begin alike"),
        (&["a", "A"], "__", "apart in URIs"),
        (&["my_server", "My_Server"], "__", "apart in URIs"),
        (&["a", "a"], "__", "apart in URIs"),
        (&["_a"], "__", "a letter first"),
        (&["1a"], "__", "a letter first"),
        (&["a-b"], "__", "letters, digits"),
        (&["é"], "__", "letters, digits"),
        (&[""], "__", "letters, digits"),
        (&["a"], "", "separator"),
        (&["a"], "a", "separator"),
        (&["a"], "/", "separator"),
        (&["a"], "_________", "separator"),
        (&[], "__", "at least one"),
    ] {
        let said = refused(servers, separator);
        assert!(said.contains(why), "{servers:?} {separator:?}: {said}");
    }
    let long = "a".repeat(39);
    assert!(refused(&[&long], "__").contains("more than 40"));
    assert!(Names::new(vec![Arc::from(long.as_str())], "_", Prefix::Always).is_ok());
    // One name may begin with another, as long as the separator tells.
    assert!(Names::new(vec!["git".into(), "github".into()], "__", Prefix::Always).is_ok());
}

#[test]
fn with_prefixes_always_the_name_before_the_separator_decides_exactly() {
    let names = names(&["git", "github"], Prefix::Always);
    let known = [offering(&["log"]), offering(&["log", "hub__log"])];
    assert_eq!(names.shown_name(1, Offer::Tool, "hub__log", &known).as_deref(), Some("github__hub__log"));
    assert_eq!(own(&names, "github__hub__log", &known), Some((1, "hub__log".into())));
    assert_eq!(own(&names, "git__log", &known), Some((0, "log".into())));
    // What a server lacks it is asked for all the same: it, and nobody else, says that it does not have it.
    assert_eq!(own(&names, "git__hub__log", &known), Some((0, "hub__log".into())));
    assert_eq!(own(&names, "git__", &known), Some((0, "".into())));
    for nobody in ["log", "Git__log", "gitlab__log", "git_log", "git", "", "__log"] {
        assert_eq!(own(&names, nobody, &known), None, "{nobody}");
    }
}

#[test]
fn on_conflict_only_what_several_offer_is_prefixed_and_a_bare_name_has_one_owner() {
    let names = names(&["a", "b"], Prefix::OnConflict);
    let known = [offering(&["both", "one", "b__x"]), offering(&["both", "two", "x"])];
    let shown = |server, name| names.shown_name(server, Offer::Prompt, name, &known).unwrap().into_owned();
    assert_eq!([shown(0, "both"), shown(1, "both")], ["a__both", "b__both"]);
    assert_eq!([shown(0, "one"), shown(1, "two")], ["one", "two"]);
    assert_eq!(shown(0, "b__x"), "a__b__x", "what reads as another server's gets its own server's name");
    assert_eq!(own(&names, "both", &known), None, "nobody guesses whose is meant");
    assert_eq!(own(&names, "one", &known), Some((0, "one".into())));
    assert_eq!(own(&names, "b__x", &known), Some((1, "x".into())));
    assert_eq!(own(&names, "a__b__x", &known), Some((0, "b__x".into())));
    // A client that saw the name with its prefix may go on using it.
    assert_eq!(own(&names, "a__one", &known), Some((0, "one".into())));
    assert_eq!(own(&names, "three", &known), None);
}

#[test]
fn without_prefixes_the_first_server_keeps_the_name_and_the_others_is_hidden() {
    let names = names(&["a", "b"], Prefix::Never);
    let known = [offering(&["both", "b__x"]), offering(&["both", "two"])];
    assert_eq!(names.shown_name(0, Offer::Tool, "both", &known).as_deref(), Some("both"));
    assert_eq!(names.shown_name(1, Offer::Tool, "both", &known), None);
    assert_eq!(own(&names, "both", &known), Some((0, "both".into())));
    assert_eq!(own(&names, "two", &known), Some((1, "two".into())));
    assert_eq!(own(&names, "b__x", &known), Some((0, "b__x".into())));
    assert_eq!(own(&names, "b__two", &known), None);
    let same = names.conflicts(&known);
    let same: Vec<_> = same.iter().filter(|conflict| conflict.kind == ConflictKind::Same).collect();
    let said = same[0].to_string();
    assert_eq!(said, "several servers offer this tool: `both` of `a` (as `both`), `both` of `b` (hidden)");
}

#[test]
fn a_name_over_64_characters_is_shortened_the_same_each_time_and_found_again() {
    let long = "x".repeat(80);
    let same_start = format!("{}y", "x".repeat(79));
    let umlauts = "ü".repeat(63);
    for prefix in [Prefix::Always, Prefix::OnConflict, Prefix::Never] {
        let names = names(&["a", "b"], prefix);
        let known = [offering(&[&long, &same_start, &umlauts]), offering(&[])];
        let mut seen = Vec::new();
        for name in [&long, &same_start, &umlauts] {
            let shown = names.shown_name(0, Offer::Tool, name, &known).unwrap().into_owned();
            assert!(shown.chars().count() <= 64, "{shown}");
            assert_eq!(own(&names, &shown, &known), Some((0, name.as_str().into())), "{prefix:?} {shown}");
            assert_eq!(names.shown_name(0, Offer::Tool, name, &known).as_deref(), Some(shown.as_str()));
            assert!(!seen.contains(&shown));
            seen.push(shown);
        }
    }
    // Stable: clients keep names, and policies may name them.
    let names = names(&["a", "b"], Prefix::Always);
    let shown = names.shown_name(0, Offer::Tool, &long, &[]).unwrap();
    assert_eq!(shown, format!("a__{}_e99b56bff7a4", "x".repeat(48)));
    // Of 64 characters nothing is taken, and the whole name is understood too.
    let fits = "x".repeat(61);
    assert_eq!(names.shown_name(0, Offer::Tool, &fits, &[]).unwrap(), format!("a__{fits}"));
    let whole = format!("a__{long}");
    assert_eq!(own(&names, &whole, &[offering(&[&long]), offering(&[])]), Some((0, long.as_str().into())));
}

#[test]
fn a_name_made_to_look_like_anothers_shortened_one_takes_nothing_over() {
    let long = "x".repeat(80);
    let alone = [offering(&[&long]), offering(&[])];
    let names = names(&["a", "b"], Prefix::OnConflict);
    let short = names.shown_name(0, Offer::Tool, &long, &alone).unwrap().into_owned();
    let known = [offering(&[&long]), offering(&[&short])];
    assert_eq!(own(&names, &short, &known), None, "two servers' names meet: neither is guessed");
    for (server, name) in [(0, &long), (1, &short)] {
        let shown = names.shown_name(server, Offer::Tool, name, &known).unwrap();
        assert!(shown.starts_with(["a__", "b__"][server]), "{shown}");
        assert_eq!(own(&names, &shown, &known), Some((server, name.as_str().into())));
    }
}

#[test]
fn uris_carry_their_server_and_only_exact_ones_are_anybodys() {
    let names = names(&["Git_Hub", "ui"], Prefix::Never);
    for (uri, shown) in [
        ("file:///a/b?c#d", "git-hub+file:///a/b?c#d"),
        ("FILE:x", "git-hub+FILE:x"),
        ("a+b://x", "git-hub+a+b://x"),
        ("ui://view/main.html", "ui://git-hub/view/main.html"),
        ("ui://", "ui://git-hub/"),
        ("ui:opaque", "git-hub+ui:opaque"),
        ("db://{table}/{id}", "git-hub+db://{table}/{id}"),
        ("{+uri}", "git-hub+:{+uri}"),
        ("no uri", "git-hub+:no uri"),
        ("", "git-hub+:"),
        (":", "git-hub+::"),
        ("1:2", "git-hub+:1:2"),
    ] {
        assert_eq!(names.shown_uri(0, uri).as_deref(), Some(shown));
        assert_eq!(names.own_uri(shown), Some((0, uri.to_owned())));
    }
    assert_eq!(names.own_uri(&names.shown_uri(1, "ui://x").unwrap()), Some((1, "ui://x".to_owned())));
    // A template that begins with an expression: whatever it expands to is still that server's.
    assert_eq!(names.own_uri("git-hub+:file:///x"), Some((0, "file:///x".to_owned())));
    for nobodys in [
        "file:///a",
        "GIT-HUB+file:///a",
        "git-hub",
        "git-hub+file",
        "other+file:///a",
        "ui://other/x",
        "ui://git-hub",
        "",
    ] {
        assert_eq!(names.own_uri(nobodys), None, "{nobodys}");
    }
}

#[test]
fn names_that_read_alike_are_reported_with_what_they_are() {
    let names = names(&["a", "b", "c"], Prefix::Always);
    let long = "n".repeat(70);
    // A Cyrillic letter, capital I for l, and another case.
    let known =
        [offering(&["pay", "list"]), offering(&["p\u{430}y", "Pay", &long]), offering(&["IIst", "other", "l1st"])];
    let conflicts: Vec<_> = names.conflicts(&known).into_iter().filter(|conflict| conflict.of == Offer::Tool).collect();
    let groups: Vec<Vec<&str>> = conflicts
        .iter()
        .filter(|conflict| conflict.kind == ConflictKind::Alike)
        .map(|conflict| conflict.names.iter().map(|named| named.name.as_str()).collect())
        .collect();
    assert!(groups.iter().any(|group| group.len() == 3 && group.contains(&"pay")), "{groups:?}");
    assert!(groups.iter().any(|group| group.contains(&"list") || group.contains(&"l1st")), "{groups:?}");
    assert!(groups.iter().flatten().all(|name| *name != "other"), "{groups:?}");
    let long: Vec<_> = conflicts.iter().filter(|conflict| conflict.kind == ConflictKind::Long).collect();
    assert_eq!(long.len(), 1);
    assert_eq!(&*long[0].names[0].server, "b");
    assert!(conflicts.iter().all(|conflict| conflict.kind != ConflictKind::Same), "no two are the same");
}

#[test]
fn what_a_hostile_server_makes_us_report_is_bounded() {
    let many: Vec<String> = (0..3000).map(|index| format!("tool{index}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let names = names(&["a", "b"], Prefix::Always);
    assert_eq!(names.conflicts(&[offering(&many), offering(&many)]).len(), 1000);
}
