//! Lists are answered from knowledge while it holds, and by the server as soon as it may not.

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::call::Call;
use portcullis_core::catalogue::{Caching, Catalogue, Hello, Listed, Listing};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Media, Reply, Upstream};
use portcullis_core::wire::{Limits, view_json};

use super::{CHANGE_SETTLES, Warm};
use crate::answers::{at_hand, one};
use crate::settings::WarmSettings;
use crate::testing::{Fake, all, legacy, modern, said, text};

const LEGACY: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{},"resources":{}}}"#;
const MODERN: &str = r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"prompts":{},"resources":{}}}"#;
const TTL: Duration = Duration::from_secs(60);

/// Everything read, in an order of the server's own.
fn offers(hello: &str, caching: Caching) -> Catalogue {
    let hello = said(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{hello}}}"#));
    let tools = Catalogue::from_saved(br#"[{"name":"z", "x":1},{"name":"a"}]"#, &Limits::default()).unwrap();
    let mut catalogue = tools.caching_tools(caching).with_hello(Hello::of(&hello).unwrap());
    for list in [Listed::Prompts, Listed::Resources, Listed::Templates] {
        let text = format!(r#"[{{"{}":"k"}}]"#, list.key());
        let items = view_json(text.as_bytes(), &Limits::default()).unwrap();
        catalogue = catalogue.with_list(list, Listing::from_items(list, items.elements(), caching).unwrap());
    }
    catalogue
}

fn server(call: &Call) -> Result<Reply, Fault> {
    let id = call.message().and_then(|message| message.id()).unwrap();
    Ok(at_hand(id, r#"{"of":"server"}"#, &Limits::default()).unwrap())
}

async fn warm(hello: &str, caching: Caching, heed_server: bool) -> (Arc<Fake>, Arc<Warm>) {
    let fake = Fake::new(Ok(offers(hello, caching)), server);
    let settings = WarmSettings { ttl_ms: 60_000, heed_server };
    let warm = Warm::new(Arc::clone(&fake) as Arc<dyn Upstream>, &settings, Limits::default());
    warm.refresh().await.unwrap();
    fake.news();
    (fake, warm)
}

fn request(list: Listed, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{}","params":{params}}}"#, list.method())
}

const META: &str = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#;

async fn ask(warm: &Warm, list: Listed, params: &str) -> String {
    let facts = if params.contains("2026") { modern() } else { legacy(1) };
    let answer = all(warm.send(facts.say(&request(list, params))).await.unwrap()).await;
    // Whatever was begun in the background has its turn.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    text(&answer[0])
}

fn answered(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#)
}

#[tokio::test(start_paused = true)]
async fn all_lists_are_answered_whole_and_without_a_call_c43() {
    let (fake, warm) = warm(LEGACY, Caching::default(), true).await;
    assert_eq!(ask(&warm, Listed::Tools, "{}").await, answered(r#"{"tools":[{"name":"z", "x":1},{"name":"a"}]}"#));
    assert_eq!(ask(&warm, Listed::Prompts, "{}").await, answered(r#"{"prompts":[{"name":"k"}]}"#));
    assert_eq!(ask(&warm, Listed::Resources, "{}").await, answered(r#"{"resources":[{"uri":"k"}]}"#));
    assert_eq!(ask(&warm, Listed::Templates, "{}").await, answered(r#"{"resourceTemplates":[{"uriTemplate":"k"}]}"#));
    assert!(fake.news().is_empty());
    let caching = Caching { ttl_ms: 30_000, public: true };
    let (fake, warm) = self::warm(MODERN, caching, true).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    let says = r#"{"resultType":"complete","ttlMs":20000,"cacheScope":"public","prompts":[{"name":"k"}]}"#;
    assert_eq!(ask(&warm, Listed::Prompts, META).await, answered(says), "less the time that has passed");
    assert!(fake.news().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_server_answers_what_the_catalogue_does_not_know() {
    let (fake, warm) = warm(LEGACY, Caching::default(), true).await;
    for params in [r#"{"cursor":"c"}"#, r#"{"of":"an extension"}"#] {
        assert!(ask(&warm, Listed::Tools, params).await.contains("server"), "{params}");
    }
    assert!(ask(&warm, Listed::Tools, META).await.contains("server"), "another era than the catalogue's");
    assert_eq!(fake.news(), ["tools/list", "tools/list", "tools/list"]);
    // Not declared, not read, never asked.
    let (fake, warm) = self::warm(&LEGACY.replace(r#""prompts":{},"#, ""), Caching::default(), true).await;
    assert!(ask(&warm, Listed::Prompts, "{}").await.contains("server"));
    fake.offer(Ok(Catalogue::from_saved(b"[]", &Limits::default()).unwrap()));
    warm.refresh().await.unwrap();
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("server"), "nothing is known of what it declares");
    let cold = Fake::new(Ok(offers(LEGACY, Caching::default())), server);
    let warm = Warm::new(Arc::clone(&cold) as Arc<dyn Upstream>, &WarmSettings::default(), Limits::default());
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("server"));
    assert_eq!(cold.news(), ["tools/list", "refresh"], "and it is known from then on");
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("z"));
    let off = WarmSettings { ttl_ms: 0, heed_server: true };
    let warm = Warm::new(Arc::clone(&cold) as Arc<dyn Upstream>, &off, Limits::default());
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("server"));
    let tight = Limits { bytes: 64, ..Limits::default() };
    let warm = Warm::new(cold, &WarmSettings::default(), tight);
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("server"), "too large for one page");
}

#[tokio::test(start_paused = true)]
async fn a_list_in_use_is_read_anew_before_it_is_too_old_and_an_old_one_is_not_shown() {
    let (fake, warm) = warm(LEGACY, Caching::default(), true).await;
    tokio::time::advance(TTL / 2).await;
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("z"));
    assert_eq!(fake.news(), ["refresh"]);
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("z"));
    assert!(fake.news().is_empty());
    tokio::time::advance(TTL).await;
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("server"));
    assert_eq!(fake.news(), ["tools/list", "refresh"]);
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("z"));
    fake.offer(Err(Fault::new(FaultKind::Died, "x")));
    for _ in 0..3 {
        assert!(ask(&warm, Listed::Tools, "{}").await.contains("server"));
    }
    tokio::time::advance(TTL).await;
    fake.news();
    for _ in 0..3 {
        assert!(ask(&warm, Listed::Tools, "{}").await.contains("server"));
    }
    assert_eq!(fake.news().iter().filter(|heard| *heard == "refresh").count(), 1, "a failing server is not flooded");
}

#[tokio::test(start_paused = true)]
async fn a_modern_servers_own_time_is_heeded_unless_the_operator_knows_better_d12() {
    let (fake, warm) = warm(MODERN, Caching::default(), true).await;
    assert!(ask(&warm, Listed::Tools, META).await.contains("server"));
    assert_eq!(fake.news(), ["tools/list"], "no use in reading what may not be kept");
    let (fake, warm) = self::warm(MODERN, Caching::default(), false).await;
    let says = r#""ttlMs":0,"cacheScope":"private""#;
    assert!(ask(&warm, Listed::Tools, META).await.contains(says));
    assert!(fake.news().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_passes_by_is_heeded_at_once_and_read_once() {
    let changed = said(r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#);
    let says = move |call: &Call| match call.method() {
        "ping" => Ok(Reply { media: Media::EventStream, ..one(changed.clone()) }),
        _ => server(call),
    };
    let fake = Fake::new(Ok(offers(LEGACY, Caching::default())), says);
    let warm = Warm::new(Arc::clone(&fake) as Arc<dyn Upstream>, &WarmSettings::default(), Limits::default());
    warm.refresh().await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    for _ in 0..3 {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        all(warm.send(legacy(1).say(ping)).await.unwrap()).await;
    }
    fake.news();
    assert!(ask(&warm, Listed::Templates, "{}").await.contains("server"));
    assert!(ask(&warm, Listed::Resources, "{}").await.contains("server"));
    assert!(ask(&warm, Listed::Tools, "{}").await.contains("z"), "tools did not change");
    fake.news();
    tokio::time::sleep(CHANGE_SETTLES * 2).await;
    assert_eq!(fake.news(), ["refresh"]);
    assert!(ask(&warm, Listed::Resources, "{}").await.contains("k"));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_answered_with_before_is_not_read_again_until_it_changes() {
    let tools = |name: &str| format!(r#"[{{"name":"{name}","description":"{}"}}]"#, "x".repeat(4000));
    let catalogue = |name: &str, read: &Catalogue| {
        let tools = Catalogue::from_saved(tools(name).as_bytes(), &Limits::default()).unwrap();
        tools.caching_tools(Caching { ttl_ms: 60_000, public: false }).with_hello(Hello::clone(read.hello().unwrap()))
    };
    let (fake, warm) = warm(MODERN, Caching::default(), true).await;
    let read = warm.catalogue();
    for name in ["one", "two"] {
        fake.offer(Ok(catalogue(name, &read)));
        warm.refresh().await.unwrap();
        for round in 0..4_u32 {
            let answers = all(warm.send(modern().say(&request(Listed::Tools, META))).await.unwrap()).await;
            let message = answers[0].as_ref().unwrap().message.as_ref().unwrap();
            assert_eq!(message.result_member("tools").unwrap().text(), tools(name));
            // What differs each time is said anew.
            assert_eq!(message.result_member("ttlMs").unwrap().as_i64(), Some(i64::from(60_000 - round * 7)));
            assert_eq!(message.known_result_member("tools").is_some(), round > 1, "{name} {round}");
            tokio::time::advance(Duration::from_millis(7)).await;
        }
    }
}
