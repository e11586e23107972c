//! A client's one stream goes on when a server's breaks off, and what the session asked for is said again to a server that lost it.

use portcullis_core::upstream::{Arrived, Media, Renewals};
use tokio::sync::mpsc;

use super::*;

const UPDATED: &str = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a"}}"#;

type Feed = mpsc::UnboundedSender<Result<Arrived, Fault>>;

/// A server whose standing streams the test feeds, each with the event that it was asked from.
struct Speaker {
    fake: Arc<Fake>,
    lazy: Arc<Lazy>,
    streams: mpsc::UnboundedReceiver<(Option<String>, Feed)>,
    /// The server knows no session before the next `initialize`.
    lost: Arc<AtomicBool>,
    /// No stream can be had of it.
    down: Arc<AtomicBool>,
}

impl Speaker {
    async fn begun() -> Self {
        let (streams, asked) = mpsc::unbounded_channel();
        let (lost, down) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (forgets, fails) = (Arc::clone(&lost), Arc::clone(&down));
        let (fake, lazy) = begun(move |call| {
            if call.method() == "initialize" {
                forgets.store(false, Ordering::SeqCst);
            } else if forgets.load(Ordering::SeqCst) {
                return Err(Fault::before_sending(FaultKind::SessionLost, "x"));
            }
            let Subject::Stream { last_event_id, .. } = &call.subject else { return well(call) };
            if fails.load(Ordering::SeqCst) {
                return Err(self::down());
            }
            let (feed, mut items) = mpsc::unbounded_channel();
            streams.send((last_event_id.clone(), feed)).unwrap();
            let arrivals = futures_util::stream::poll_fn(move |cx| items.poll_recv(cx)).boxed();
            Ok(Reply::new(Media::EventStream, arrivals))
        })
        .await;
        Self { fake, lazy, streams: asked, lost, down }
    }

    async fn listens(&self) -> Reply {
        let stream = Subject::Stream { last_event_id: None, request: None };
        self.lazy.send(legacy(1).clear(stream)).await.unwrap()
    }
}

fn says(event_id: Option<&str>) -> Result<Arrived, Fault> {
    Ok(Arrived { message: Some(said(UPDATED)), event_id: event_id.map(str::to_owned), retry: None })
}

/// Somebody whose client waits for something, or does not.
#[derive(Debug)]
struct Listener {
    awaits: bool,
    renewed: Mutex<Vec<String>>,
}

impl Renewals for Listener {
    fn awaits(&self, session: SessionKey, server: &str) -> bool {
        assert_eq!((session, server), (SessionKey(1), "fake"));
        self.awaits
    }

    fn renewed(self: Arc<Self>, session: SessionKey, server: &str) {
        assert_eq!(session, SessionKey(1));
        self.renewed.lock().unwrap().push(server.to_owned());
    }
}

fn listener(lazy: &Lazy, awaits: bool) -> Arc<Listener> {
    let listener = Arc::new(Listener { awaits, renewed: Mutex::default() });
    let weak: std::sync::Weak<Listener> = Arc::downgrade(&listener);
    lazy.tell_renewals_to(weak);
    listener
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_goes_on_from_the_event_that_came_last() {
    let mut speaker = Speaker::begun().await;
    say(&speaker.lazy, &call("plain")).await.unwrap();
    let mut reply = speaker.listens().await;
    let (from, feed) = speaker.streams.recv().await.unwrap();
    assert_eq!(from, None);
    feed.send(says(Some("7"))).unwrap();
    assert!(text(&reply.arrivals.next().await.unwrap()).contains("updated"));
    feed.send(Err(Fault::new(FaultKind::Died, "x"))).unwrap();
    let next = tokio::spawn(async move {
        let item = reply.arrivals.next().await;
        (item, reply)
    });
    let (from, feed) = speaker.streams.recv().await.unwrap();
    assert_eq!(from.as_deref(), Some("7"), "nothing is missed");
    feed.send(says(None)).unwrap();
    let (item, mut reply) = next.await.unwrap();
    assert!(text(&item.unwrap()).contains("updated"));
    drop(feed);
    let next = tokio::spawn(async move { reply.arrivals.next().await.is_some() });
    let (from, feed) = speaker.streams.recv().await.unwrap();
    assert_eq!(from.as_deref(), Some("7"), "an end is no other than a break");
    feed.send(says(None)).unwrap();
    assert!(next.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_is_opened_anew_for_who_waits_for_news_and_for_nobody_else() {
    for awaits in [true, false] {
        let mut speaker = Speaker::begun().await;
        let listener = listener(&speaker.lazy, awaits);
        say(&speaker.lazy, &call("plain")).await.unwrap();
        let mut reply = speaker.listens().await;
        let (_, feed) = speaker.streams.recv().await.unwrap();
        feed.send(says(Some("7"))).unwrap();
        reply.arrivals.next().await.unwrap().unwrap();
        assert!(listener.renewed.lock().unwrap().is_empty(), "nothing was lost");
        speaker.fake.news();
        speaker.lost.store(true, Ordering::SeqCst);
        drop(feed);
        let next = tokio::spawn(async move { reply.arrivals.next().await.is_some() });
        if !awaits {
            tokio::time::sleep(Duration::from_secs(300)).await;
            assert_eq!(speaker.fake.news(), ["stream/open"], "and it is known to be lost");
            say(&speaker.lazy, &call("plain")).await.unwrap();
        }
        let (from, feed) = speaker.streams.recv().await.unwrap();
        assert_eq!(from, None, "events of a lost session are nothing to the next");
        feed.send(says(None)).unwrap();
        assert!(next.await.unwrap());
        assert_eq!(*listener.renewed.lock().unwrap(), ["fake"], "told once");
        assert_eq!(speaker.fake.heard().iter().filter(|heard| *heard == "initialize").count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_a_call_opened_anew_brings_its_stream_along() {
    let mut speaker = Speaker::begun().await;
    let listener = listener(&speaker.lazy, false);
    say(&speaker.lazy, &call("plain")).await.unwrap();
    let mut reply = speaker.listens().await;
    // The server forgot the session and left its stream standing.
    let (_, _feed) = speaker.streams.recv().await.unwrap();
    speaker.lost.store(true, Ordering::SeqCst);
    let next = tokio::spawn(async move { reply.arrivals.next().await.is_some() });
    tokio::task::yield_now().await;
    say(&speaker.lazy, &call("plain")).await.unwrap();
    let (_, feed) = speaker.streams.recv().await.unwrap();
    feed.send(says(None)).unwrap();
    assert!(next.await.unwrap());
    assert_eq!(listener.renewed.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_asked_ever_later_and_heard_when_it_is_back() {
    let mut speaker = Speaker::begun().await;
    say(&speaker.lazy, &call("plain")).await.unwrap();
    let mut reply = speaker.listens().await;
    let (_, feed) = speaker.streams.recv().await.unwrap();
    speaker.down.store(true, Ordering::SeqCst);
    speaker.fake.news();
    drop(feed);
    let next = tokio::spawn(async move { reply.arrivals.next().await.is_some() });
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = speaker.fake.news().len();
    assert!((10..=16).contains(&asked), "1, 2, 4 … 32 and then 60 seconds between: {asked}");
    speaker.down.store(false, Ordering::SeqCst);
    let back = tokio::time::Instant::now();
    let (_, feed) = speaker.streams.recv().await.unwrap();
    assert!(back.elapsed() <= Duration::from_secs(60));
    feed.send(says(None)).unwrap();
    assert!(next.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_with_the_session_and_with_a_server_that_never_speaks() {
    let mut speaker = Speaker::begun().await;
    say(&speaker.lazy, &call("plain")).await.unwrap();
    let mut reply = speaker.listens().await;
    let (_, _feed) = speaker.streams.recv().await.unwrap();
    let next = tokio::spawn(async move { reply.arrivals.next().await.is_none() });
    speaker.fake.news();
    speaker.lazy.forget(SessionKey(1)).await;
    assert!(next.await.unwrap());
    assert_eq!(speaker.fake.news(), ["forget"], "and nobody is asked again");
    let (_, lazy) = begun(|call| match &call.subject {
        Subject::Stream { .. } => Err(Fault::before_sending(FaultKind::NoStream, "405")),
        _ => well(call),
    })
    .await;
    let stream = || legacy(1).clear(Subject::Stream { last_event_id: None, request: None });
    let early = lazy.send(stream()).await.unwrap();
    say(&lazy, &call("plain")).await.unwrap();
    assert!(all(early).await.is_empty());
    assert_eq!(kind(lazy.send(stream()).await), FaultKind::NoStream, "told by a status where it can be");
}
