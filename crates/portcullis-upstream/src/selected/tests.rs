//! What is not chosen is not there: not in lists, not in the catalogue, not for calls.

use std::sync::Mutex;

use bytes::Bytes;
use portcullis_core::call::SessionKey;
use portcullis_core::version::Era;
use portcullis_core::wire::view_json;

use super::*;
use crate::testing::{all, legacy, modern_call, text};

const TOOLS: &str = r#"[{"name":"read_note","description":"a, [b]"}, {"name":"write_note"} ,{"name":"read_all"}]"#;

/// A server that answers everything with its tools, and remembers what it was asked.
#[derive(Debug)]
struct Shelf {
    name: Arc<str>,
    catalogue: Mutex<Arc<Catalogue>>,
    heard: Mutex<Vec<String>>,
}

impl Shelf {
    fn new() -> Arc<Self> {
        Arc::new(Self { name: "srv".into(), catalogue: Mutex::default(), heard: Mutex::default() })
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Upstream for Shelf {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn era(&self) -> Option<Era> {
        None
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        self.heard.lock().unwrap().push(cleared.call().method().to_owned());
        let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{TOOLS},"nextCursor":"x"}}}}"#);
        let message = Message::read(Bytes::from(answer), Direction::ToClient, &Limits::default()).unwrap();
        let arrived = Arrived { message: Some(message), event_id: Some("e".to_owned()), retry: None };
        let arrivals = Box::pin(stream::iter([Ok(arrived)]));
        Box::pin(async { Ok(Reply::new(Media::Json, arrivals)) })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.lock().unwrap())
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        let read = Catalogue::from_tools(view_json(TOOLS.as_bytes(), &Limits::default()).unwrap().elements()).unwrap();
        *self.catalogue.lock().unwrap() = Arc::new(read);
        Box::pin(async { Ok(self.catalogue()) })
    }

    fn observe(&self, _: &Message) {}

    fn forget(&self, _: SessionKey) -> Pending<'_, ()> {
        Box::pin(async {})
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async {})
    }
}

fn reading(shelf: &Arc<Shelf>) -> Arc<Selected> {
    let inner = Arc::clone(shelf) as Arc<dyn Upstream>;
    Selected::new(inner, Choice::of([Pattern::new("read_*")]), Limits::default())
}

async fn answer(selected: &Selected, cleared: Cleared) -> String {
    let items = all(selected.send(cleared).await.unwrap()).await;
    assert_eq!(items.len(), 1);
    text(&items[0])
}

#[tokio::test]
async fn a_list_loses_what_is_not_chosen_and_keeps_every_other_byte() {
    let shelf = Shelf::new();
    let list = legacy(1).say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(
        answer(&reading(&shelf), list).await,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_note","description":"a, [b]"} ,{"name":"read_all"}],"nextCursor":"x"}}"#
    );
}

#[test]
fn a_list_that_came_before_is_shortened_once_and_to_the_same() {
    let (choice, left) = (Choice::of([Pattern::new("read_*")]), Derived::new(MOST_LEFT));
    let limits = Limits::default();
    let known = |list: &str| Known::of(view_json(list.as_bytes(), &limits).unwrap()).unwrap();
    let said = |id: u32, list: &Known| {
        let tools = std::str::from_utf8(list.text()).unwrap();
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":{tools},"nextCursor":"{id}"}}}}"#);
        let known = std::slice::from_ref(list);
        let message = Message::read_knowing(Bytes::from(text), Direction::ToClient, &limits, known).unwrap();
        let anew = shortened(message.clone(), &choice, &Derived::new(MOST_LEFT), &limits).unwrap();
        let shortened = shortened(message, &choice, &left, &limits).unwrap();
        assert_eq!(shortened.bytes(), anew.bytes());
        shortened
    };
    let tools = known(TOOLS);
    let came: Vec<bool> = (1..4).map(|id| said(id, &tools).known_result_member("tools").is_some()).collect();
    assert_eq!(came, [false, true, true]);
    assert!(said(4, &known(&TOOLS.replace("read_all", "read_one"))).known_result_member("tools").is_none());
}

#[tokio::test]
async fn a_list_that_a_resumed_stream_repeats_is_shortened_too() {
    let shelf = Shelf::new();
    let stream = legacy(1).clear(Subject::Stream { last_event_id: Some("e".to_owned()), request: None });
    let said = answer(&reading(&shelf), stream).await;
    assert!(!said.contains("write_note") && said.contains("read_all"), "{said}");
}

#[tokio::test]
async fn an_answer_to_anything_else_is_left_as_it_is() {
    let shelf = Shelf::new();
    let call =
        legacy(1).say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_note","arguments":{}}}"#);
    assert!(answer(&reading(&shelf), call).await.contains("write_note"), "a tool may say what it likes");
}

#[tokio::test]
async fn the_catalogue_has_the_chosen_tools_only_and_is_made_once() {
    let shelf = Shelf::new();
    let selected = reading(&shelf);
    assert!(!selected.catalogue().is_read(), "nobody was asked yet");
    let read = selected.refresh().await.unwrap();
    let names: Vec<&str> = read.tools().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["read_all", "read_note"]);
    let listed: Vec<&str> =
        read.list(portcullis_core::catalogue::Listed::Tools).items().map(|item| item.key.as_str()).collect();
    assert_eq!(listed, ["read_note", "read_all"], "in the server's order");
    assert!(Arc::ptr_eq(&read, &selected.catalogue()));
    let of = |catalogue: &Catalogue| Arc::clone(catalogue.tool("read_all").unwrap());
    assert!(
        Arc::ptr_eq(&of(&shelf.catalogue()), &of(&read)),
        "what is remembered by definition is remembered for both"
    );
}

#[tokio::test]
async fn a_call_of_what_is_not_shown_never_reaches_the_server_even_before_its_list_was_read() {
    let shelf = Shelf::new();
    let selected = reading(&shelf);
    let hidden = modern_call("7").replace("\"echo\"", "\"write_note\"");
    let said = answer(&selected, crate::testing::modern().say(&hidden)).await;
    assert_eq!(said, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown tool"}}"#);
    assert_eq!(shelf.heard(), Vec::<String>::new());
    answer(&selected, crate::testing::modern().say(&hidden.replace("write_note", "read_note"))).await;
    assert_eq!(shelf.heard(), ["tools/call"]);
}
