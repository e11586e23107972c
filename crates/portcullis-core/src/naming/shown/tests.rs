//! A remembered list is what exposing would have made, and is not used where anything that decides is different.

use std::sync::Arc;

use bytes::Bytes;

use crate::catalogue::{Catalogue, Listed};
use crate::naming::tests::{names, offering};
use crate::naming::{Names, Prefix};
use crate::wire::{Direction, Known, Limits, Message, view_json};

fn known(list: &str) -> Known {
    Known::of(view_json(list.as_bytes(), &Limits::default()).unwrap()).unwrap()
}

/// A result with a list that has come before.
fn answer(id: u32, list: Listed, known: &Known, more: &str) -> Message {
    let items = std::str::from_utf8(known.text()).unwrap();
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"{}":{items}{more}}}}}"#, list.member());
    let limits = Limits::default();
    Message::read_knowing(Bytes::from(text), Direction::ToClient, &limits, std::slice::from_ref(known)).unwrap()
}

fn expose(names: &Names, server: usize, message: &Message, method: &str, known: &[Arc<Catalogue>]) -> Message {
    names.expose(server, message, Some(method), known, &Limits::default()).unwrap()
}

fn held(names: &Names) -> usize {
    names.shown.0.len()
}

const ITEMS: &str = r#"[{"name":"t", "_meta":{"ui/resourceUri":"ui://v"},"uri":"a:b","uriTemplate":"a:{b}"},{"name":"only","uri":"c:","uriTemplate":"c:"}]"#;

#[test]
fn a_list_that_comes_again_is_shown_as_it_was_with_what_is_new_around_it() {
    for prefix in [Prefix::Always, Prefix::OnConflict, Prefix::Never] {
        let catalogues = [offering(&["t", "only"]), offering(&["t"])];
        for list in Listed::ALL {
            let (remembering, items) = (names(&["a", "b"], prefix), known(ITEMS));
            for (round, server) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0)] {
                let more = format!(r#","ttlMs":{round},"_meta":{{"ui/resourceUri":"ui://{round}"}}"#);
                let message = answer(round, list, &items, &more);
                let shown = expose(&remembering, server, &message, list.method(), &catalogues);
                let anew = expose(&names(&["a", "b"], prefix), server, &message, list.method(), &catalogues);
                assert_eq!(shown.bytes(), anew.bytes(), "{prefix:?} {list:?} {round}");
            }
            assert_eq!(held(&remembering), 2, "one for each server");
        }
    }
}

#[test]
fn what_was_shown_is_put_in_as_known() {
    let (names, items) = (names(&["a", "b"], Prefix::Always), known(ITEMS));
    let shown = |id| expose(&names, 0, &answer(id, Listed::Tools, &items, ""), "tools/list", &[]);
    assert!(shown(1).known_result_member("tools").is_none());
    let (second, third) = (shown(2), shown(3));
    let of = |message: &Message| message.known_result_member("tools").unwrap().clone();
    assert!(of(&second).is(&of(&third)));
    assert!(!of(&second).is(&items));
}

#[test]
fn another_list_another_server_and_other_names_are_exposed_anew() {
    let (these, items) = (names(&["a", "b"], Prefix::Always), known(ITEMS));
    let text = |message: &Message| String::from_utf8(message.bytes().to_vec()).unwrap();
    let shown = |names: &Names, server, items: &Known| {
        text(&expose(names, server, &answer(1, Listed::Tools, items, ""), "tools/list", &[]))
    };
    for _ in 0..2 {
        assert!(shown(&these, 0, &items).contains(r#""name":"a__only""#));
        assert!(shown(&these, 1, &items).contains(r#""name":"b__only""#));
        let changed = known(&ITEMS.replace("only", "other"));
        assert!(shown(&these, 0, &changed).contains(r#""name":"a__other""#));
        // Another endpoint, or the same one after a reload.
        assert!(shown(&names(&["x", "b"], Prefix::Always), 0, &items).contains(r#""name":"x__only""#));
        assert!(shown(&names(&["a", "b"], Prefix::Never), 0, &items).contains(r#""name":"only""#));
    }
    // The same items as an answer to something else.
    let message = answer(1, Listed::Tools, &items, "");
    assert_eq!(expose(&these, 0, &message, "resources/list", &[]).bytes(), message.bytes());
}

#[test]
fn a_change_of_what_servers_offer_is_heeded_where_names_depend_on_it() {
    let items = known(ITEMS);
    let message = answer(1, Listed::Tools, &items, "");
    for (prefix, before, after) in [(Prefix::OnConflict, "only", "a__only"), (Prefix::Always, "a__only", "a__only")] {
        let names = names(&["a", "b"], prefix);
        let shows = |known: &[Arc<Catalogue>], name: &str| {
            let shown = expose(&names, 0, &message, "tools/list", known);
            std::str::from_utf8(shown.bytes()).unwrap().contains(&format!(r#""name":"{name}""#))
        };
        let own = offering(&["t", "only"]);
        let alone = [Arc::clone(&own), offering(&["t"])];
        let contested = [own, offering(&["t", "only"])];
        for _ in 0..2 {
            assert!(shows(&alone, before) && shows(&contested, after), "{prefix:?}");
        }
        assert_eq!(held(&names), if prefix == Prefix::Always { 1 } else { 2 });
    }
}

#[test]
fn what_has_not_come_before_is_not_remembered() {
    let names = names(&["a", "b"], Prefix::Always);
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{ITEMS}}}}}"#);
    let message = Message::read(Bytes::from(text), Direction::ToClient, &Limits::default()).unwrap();
    for _ in 0..2 {
        expose(&names, 0, &message, "tools/list", &[]);
    }
    let items = known(ITEMS);
    // Nor where it is not known which list was asked for.
    names.expose(0, &answer(1, Listed::Tools, &items, ""), None, &[], &Limits::default()).unwrap();
    assert_eq!(held(&names), 0);
}
