//! The rules of the desk, without a process: who gets what, what waits, and what is refused when too much waits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::refusal::FaultKind;
use portcullis_core::wire::{Direction, Limits, Message};
use tokio::sync::mpsc;

use super::super::StderrSink;
use super::super::notes::{Notes, Watcher};
use super::super::outlet::Inlet;
use super::super::running::Router;
use super::{MOST_WAITING, Session};

const PATIENCE: Duration = Duration::from_secs(20);

struct Desk {
    session: Session,
    input: mpsc::Receiver<Bytes>,
    log: Arc<Mutex<Vec<String>>>,
}

fn desk() -> Desk {
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    let sink = StderrSink::new(move |_, line| lines.lock().unwrap().push(line.to_owned()));
    let (sender, input) = mpsc::channel(256);
    Desk {
        session: Session::new(sender, Notes::new("srv".into(), sink), Watcher::new(|| {}), Limits::default(), PATIENCE),
        input,
        log,
    }
}

fn read(text: &str, direction: Direction) -> Message {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), direction, &Limits::default()).unwrap()
}

impl Desk {
    async fn hear(&self, text: &str) {
        self.session.message(read(text, Direction::ToClient)).await;
    }

    fn ask(&self, id: u32) -> Inlet {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{"_meta":{{"progressToken":{id}}}}}}}"#
        );
        self.session.expect(&read(&text, Direction::ToServer), PATIENCE).unwrap()
    }
}

async fn next(inlet: &mut Inlet) -> String {
    String::from_utf8(inlet.next().await.unwrap().unwrap().bytes().to_vec()).unwrap()
}

const ROOTS: &str = r#"{"jsonrpc":"2.0","id":"r","method":"roots/list"}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#;
const LOG: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;

#[tokio::test]
async fn a_servers_request_goes_to_the_oldest_open_call_else_to_the_standing_stream_else_it_waits() {
    let desk = desk();
    desk.hear(ROOTS).await;
    let mut oldest = desk.ask(1);
    assert_eq!(next(&mut oldest).await, ROOTS, "it waited for this");
    let (mut standing, mut newer) = (desk.session.stand().unwrap(), desk.ask(2));
    desk.hear(ROOTS).await;
    assert_eq!(next(&mut oldest).await, ROOTS);
    drop(oldest);
    desk.hear(ROOTS).await;
    assert_eq!(next(&mut newer).await, ROOTS);
    drop(newer);
    desk.hear(ROOTS).await;
    assert_eq!(next(&mut standing).await, ROOTS);
}

#[tokio::test]
async fn log_messages_prefer_certainty_and_notices_prefer_the_standing_stream() {
    let desk = desk();
    let mut only = desk.ask(1);
    desk.hear(LOG).await;
    assert_eq!(next(&mut only).await, LOG);
    let mut standing = desk.session.stand().unwrap();
    let _second = desk.ask(2);
    desk.hear(LOG).await;
    desk.hear(CHANGED).await;
    assert_eq!(next(&mut standing).await, LOG, "two calls are open: nobody's for certain");
    assert_eq!(next(&mut standing).await, CHANGED);
}

#[tokio::test]
async fn when_too_much_waits_requests_are_answered_with_an_error_and_notices_push_out_the_oldest() {
    let mut desk = desk();
    for number in 0..MOST_WAITING {
        desk.hear(&ROOTS.replace("\"r\"", &number.to_string())).await;
    }
    assert!(desk.input.try_recv().is_err());
    desk.hear(ROOTS).await;
    let answer = desk.input.try_recv().unwrap();
    assert!(answer.starts_with(br#"{"jsonrpc":"2.0","id":"r","error":{"code":-32603"#));
    desk.hear(CHANGED).await;
    assert!(desk.log.lock().unwrap().iter().any(|line| line.contains("no room")), "requests are never pushed out");

    let desk = self::desk();
    for number in 0..MOST_WAITING + 3 {
        desk.hear(&CHANGED.replace("\"2.0\"", &format!("\"2.0\",\"params\":{{\"n\":{number}}}"))).await;
    }
    let mut standing = desk.session.stand().unwrap();
    assert!(next(&mut standing).await.contains("\"n\":3}"), "the three oldest are gone");
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_too() {
    let desk = desk();
    let large = CHANGED.replace("\"2.0\"", &format!("\"2.0\",\"params\":{{\"x\":\"{}\"}}", "x".repeat(600_000)));
    for _ in 0..10 {
        desk.hear(&large).await;
    }
    let mut standing = desk.session.stand().unwrap();
    desk.hear(LOG).await;
    assert_eq!(next(&mut standing).await.len(), large.len());
    assert_eq!(next(&mut standing).await, LOG);
}

#[tokio::test]
async fn an_error_without_an_id_answers_the_only_open_call() {
    let desk = desk();
    let mut only = desk.ask(1);
    desk.hear(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#).await;
    let error = next(&mut only).await;
    assert!(error.contains("-32700") && error.contains("\"id\":1,"), "{error}");
    let (_a, _b) = (desk.ask(2), desk.ask(3));
    desk.hear(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#).await;
    assert_eq!(desk.log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_late_answer_to_a_reply_that_was_given_up_is_not_an_answer_to_nobody() {
    let desk = desk();
    drop(desk.ask(1));
    desk.hear(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    assert!(desk.log.lock().unwrap()[0].contains("a late answer"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_learns_that_it_was_given_up_although_the_server_says_nothing_more() {
    let desk = desk();
    let mut slow = desk.ask(1);
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#;
    for _ in 0..65 {
        desk.hear(progress).await;
    }
    for _ in 0..64 {
        assert_eq!(next(&mut slow).await, progress);
    }
    assert_eq!(slow.next().await.unwrap().unwrap_err().kind, FaultKind::Overloaded);
}
