//! Lists keep the server's order and text, and what a server said of itself is read as strictly as it is kept exactly.

use bytes::Bytes;

use super::{Caching, Catalogue, CatalogueError, Hello, Listed, Listing};
use crate::version::{Era, Version};
use crate::wire::{Direction, Limits, Message, view_json};

fn result(result: &str) -> Message {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
    Message::read(Bytes::from(text), Direction::ToClient, &Limits::default()).unwrap()
}

#[test]
fn a_list_keeps_order_and_text_and_is_found_by_its_key() {
    for (list, first, second) in [
        (Listed::Prompts, r#"{"name":"z", "x":1}"#, r#"{"name":"\u0061"}"#),
        (Listed::Resources, r#"{"uri":"z", "x":1}"#, r#"{"uri":"\u0061"}"#),
        (Listed::Templates, r#"{"uriTemplate":"z", "x":1}"#, r#"{"uriTemplate":"\u0061"}"#),
    ] {
        let text = format!("[{first},{second}]");
        let view = view_json(text.as_bytes(), &Limits::default()).unwrap();
        let listing = Listing::from_items(list, view.elements(), Caching::default()).unwrap();
        let catalogue = Catalogue::default().with_list(list, listing);
        let listing = catalogue.list(list);
        let texts: Vec<_> = listing.items().map(|item| item.definition.as_ref()).collect();
        assert_eq!(texts, [first.as_bytes(), second.as_bytes()]);
        assert_eq!(listing.get("a").unwrap().definition, second);
        assert!(listing.get("A").is_none() && listing.is_read());
        assert!(
            Listed::ALL.iter().filter(|other| catalogue.list(**other).is_read()).eq([&list]),
            "the others stay unread"
        );
    }
}

#[test]
fn an_item_without_its_key_is_refused_and_a_repeated_one_is_not() {
    let read = |text: &str| {
        let view = view_json(text.as_bytes(), &Limits::default()).unwrap();
        Listing::from_items(Listed::Resources, view.elements(), Caching::default())
    };
    let twice = read(r#"[{"uri":"a","n":1},{"uri":"a","n":2}]"#).unwrap();
    assert_eq!((twice.items().len(), &twice.get("a").unwrap().definition[..]), (2, &br#"{"uri":"a","n":1}"#[..]));
    for bad in [r#"[{"uri":"a"},{"name":"b"}]"#, r#"[{"uri":"a"},{"uri":1}]"#, r#"[{"uri":"a"},"b"]"#] {
        let refused = CatalogueError::BadItem { list: Listed::Resources, index: 1 };
        assert_eq!(read(bad).unwrap_err(), refused);
    }
}

#[test]
fn tools_are_listed_in_the_servers_order_without_what_others_were_shown() {
    let saved = |text: &str| Catalogue::from_saved(text.as_bytes(), &Limits::default()).unwrap();
    let other = saved(r#"[{"name":"other"}]"#);
    let own = saved(r#"[{"name":"z"},{"name":"a"}]"#).with(other.tools().cloned());
    assert!(own.tool("other").is_some());
    let names: Vec<_> = own.list(Listed::Tools).items().map(|item| item.key.as_str()).collect();
    assert_eq!(names, ["z", "a"]);
}

#[test]
fn a_hello_of_either_era_is_kept_as_written() {
    let text = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}, "prompts":null},"serverInfo":{"name":"\u0061"},"instructions":"\u0062"}"#;
    let hello = Hello::of(&result(text)).unwrap();
    assert_eq!((hello.era, hello.newest_legacy()), (Era::Legacy, Some(Version::V2025_06_18)));
    assert_eq!(hello.capabilities, r#"{"tools":{}, "prompts":null}"#);
    assert_eq!(hello.server_info.as_deref(), Some(&br#"{"name":"\u0061"}"#[..]));
    assert_eq!(hello.instructions.as_deref(), Some(&br#""\u0062""#[..]));
    assert!(hello.offers(Listed::Tools) && !hello.offers(Listed::Prompts) && !hello.offers(Listed::Templates));
    let text = r#"{"supportedVersions":["2026-07-28",7],"capabilities":[],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"m"}},"instructions":7}"#;
    let hello = Hello::of(&result(text)).unwrap();
    assert_eq!((hello.era, hello.versions.as_slice()), (Era::Modern, &["2026-07-28".to_owned()][..]));
    assert_eq!((hello.newest_legacy(), hello.capabilities.as_ref(), hello.instructions), (None, &b"{}"[..], None));
    assert_eq!(hello.server_info.as_deref(), Some(&br#"{"name":"m"}"#[..]));
    assert!(Hello::of(&result(r#"{"capabilities":{}}"#)).is_none());
}

#[test]
fn caching_hints_are_none_and_private_where_a_server_is_not_clear_d12() {
    let of = |text: &str| Caching::of(&result(text));
    assert_eq!(of(r#"{"ttlMs":5,"cacheScope":"public"}"#), Caching { ttl_ms: 5, public: true });
    for unclear in ["{}", r#"{"ttlMs":-5,"cacheScope":"private"}"#, r#"{"ttlMs":"5","cacheScope":true}"#] {
        assert_eq!(of(unclear), Caching::default());
    }
    let both = Caching { ttl_ms: 5, public: true }.and(Caching { ttl_ms: 9, public: false });
    assert_eq!(both, Caching { ttl_ms: 5, public: false });
}

#[test]
fn a_change_names_its_lists() {
    let changed = |method| Listed::changed_by(method).collect::<Vec<_>>();
    assert_eq!(changed("notifications/tools/list_changed"), [Listed::Tools]);
    assert_eq!(changed("notifications/resources/list_changed"), [Listed::Resources, Listed::Templates]);
    assert!(changed("notifications/roots/list_changed").is_empty() && changed("tools/list_changed").is_empty());
}
