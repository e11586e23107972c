//! Lists answered from the catalogue, without a call to the server. A wrapper around any upstream; around [`crate::Lazy`] and not within it, so that
//! a list does not open a session. What it answers is a reply like any other: it is judged and inspected for each caller.
//!
//! It never answers from a catalogue that was not read, that is too old, or that the server has said is out of date: then the server answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use portcullis_core::call::Call;
use portcullis_core::catalogue::{Catalogue, Listed};
use portcullis_core::gate::Cleared;
use portcullis_core::own;
use portcullis_core::refusal::Fault;
use portcullis_core::upstream::{self, Media, Pending, Reply, Upstream};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Kind, Limits, Message, Seen};
use tokio::time::Instant;

use crate::answers::one;
use crate::settings::WarmSettings;

/// From a `list_changed` to the look whether somebody has read the lists since. 8 s: the transports ask by themselves after a change of tools (1 s over
/// HTTP, 5 s for a child process), and it is asked here only where they did not. Until then the server answers.
const CHANGE_SETTLES: Duration = Duration::from_secs(8);
/// Between two questions in the background. 1 s: a server that fails or has lists of no age is not asked with every request.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// A server whose lists are known.
#[derive(Debug)]
pub struct Warm {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    upstream: Arc<dyn Upstream>,
    limits: Limits,
    ttl: Duration,
    heeds_server: bool,
    /// The lists that were answered with.
    seen: Seen,
    news: Mutex<News>,
    /// A look after a change is scheduled.
    due: AtomicBool,
    /// The server is being asked.
    asking: AtomicBool,
}

#[derive(Debug, Default)]
struct News {
    /// When each list was last said to have changed; one entry a list.
    changed: Vec<(Listed, Instant)>,
    asked: Option<Instant>,
}

impl Warm {
    /// Asks nothing. `limits` bound what is answered from knowledge, as they bound what the server answers.
    #[must_use]
    pub fn new(upstream: Arc<dyn Upstream>, settings: &WarmSettings, limits: Limits) -> Arc<Self> {
        let inner = Inner {
            upstream,
            limits,
            ttl: Duration::from_millis(settings.ttl_ms),
            heeds_server: settings.heed_server,
            seen: Seen::default(),
            news: Mutex::default(),
            due: AtomicBool::new(false),
            asking: AtomicBool::new(false),
        };
        Arc::new(Self { inner: Arc::new(inner) })
    }
}

impl upstream::Wrapper for Warm {
    fn inner(&self) -> &dyn Upstream {
        self.inner.upstream.as_ref()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        if let Some(reply) = self.inner.answer(cleared.call()) {
            return Box::pin(std::future::ready(Ok(reply)));
        }
        let sent = self.inner.upstream.send(cleared);
        Box::pin(async move { Ok(self.inner.watched(sent.await?)) })
    }
}

impl Inner {
    /// The list that is asked for, if it may be answered from the catalogue.
    fn answer(self: &Arc<Self>, call: &Call) -> Option<Reply> {
        let message = call.message().filter(|message| message.kind() == Kind::Request)?;
        let (list, id) = (Listed::of_method(message.method()?)?, message.id()?);
        let whole = |name: &str| name == "_meta";
        // A page, or something of an extension: only the server knows what that is.
        if self.ttl.is_zero() || message.direction() != Direction::ToServer || !params(message).all(|name| whole(&name))
        {
            return None;
        }
        let catalogue = self.upstream.catalogue();
        let listing = catalogue.list(list);
        let most = match call.era() {
            Era::Modern if self.heeds_server => self.ttl.min(Duration::from_millis(listing.caching.ttl_ms)),
            Era::Modern | Era::Legacy => self.ttl,
        };
        let age = catalogue.asked().map(|asked| Instant::now().saturating_duration_since(Instant::from_std(asked)));
        // Long before it is too old, so that a list in use never is.
        if !most.is_zero() && age.is_none_or(|age| age >= most / 2) {
            self.ask();
        }
        let hello = catalogue.hello().filter(|hello| hello.era == call.era() && hello.offers(list));
        let known = catalogue.is_read() && listing.is_read() && hello.is_some();
        let age = age.filter(|age| known && *age < most && !self.has_changed(list, &catalogue))?;
        let answer = own::result(id, &result(&catalogue, list, call.era(), age));
        // Nothing, where it is larger than a server's own answer may be.
        self.seen.read(answer, Direction::ToClient, &self.limits).ok().map(one)
    }

    fn has_changed(&self, list: Listed, catalogue: &Catalogue) -> bool {
        let read = catalogue.asked().map(Instant::from_std);
        let news = self.news();
        let mut changed = news.changed.iter().filter(|(changed, _)| *changed == list);
        changed.any(|(_, at)| read.is_none_or(|read| read <= *at))
    }

    /// The reply, with an ear for changes. A reply of one document is the answer to what was asked and nothing else.
    fn watched(self: &Arc<Self>, reply: Reply) -> Reply {
        if matches!(reply.media, Media::Accepted | Media::Json) {
            return reply;
        }
        let inner = Arc::clone(self);
        let heard = reply.arrivals.inspect(move |item| {
            if let Ok(arrived) = item
                && let Some(message) = &arrived.message
            {
                inner.notice(message);
            }
        });
        Reply { arrivals: Box::pin(heard), ..reply }
    }

    fn notice(self: &Arc<Self>, message: &Message) {
        let lists = message.method().into_iter().flat_map(Listed::changed_by);
        let now = Instant::now();
        let mut any = false;
        for list in lists {
            let mut news = self.news();
            news.changed.retain(|(changed, _)| *changed != list);
            news.changed.push((list, now));
            any = true;
        }
        if !any || self.due.swap(true, Ordering::AcqRel) {
            return;
        }
        let later = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(CHANGE_SETTLES).await;
            let Some(inner) = later.upgrade() else { return };
            inner.due.store(false, Ordering::Release);
            let catalogue = inner.upstream.catalogue();
            if Listed::ALL.into_iter().any(|list| inner.has_changed(list, &catalogue)) {
                inner.ask();
            }
        });
    }

    /// Has the server asked anew in the background, unless that is under way or was done a moment ago.
    fn ask(self: &Arc<Self>) {
        let mut news = self.news();
        let lately = news.asked.is_some_and(|asked| asked.elapsed() < ASKED_EVERY);
        if lately || self.asking.swap(true, Ordering::AcqRel) {
            return;
        }
        news.asked = Some(Instant::now());
        drop(news);
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = inner.upstream.refresh().await;
            inner.asking.store(false, Ordering::Release);
            if let Err(fault) = outcome {
                tracing::info!(server = %inner.upstream.name(), %fault, "the lists of the server could not be read anew");
            }
        });
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of what a request says beside its method.
fn params(message: &Message) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    message.params().into_iter().flat_map(|params| params.members().map(|(name, _)| name))
}

/// All items in one page. What a modern server said of keeping the list goes on, less the time that has passed (C43).
fn result(catalogue: &Catalogue, list: Listed, era: Era, age: Duration) -> String {
    let listing = catalogue.list(list);
    let bytes: usize = listing.items().map(|item| item.definition.len() + 1).sum();
    let mut text = String::with_capacity(bytes + 128);
    text.push('{');
    if era == Era::Modern {
        let left = Duration::from_millis(listing.caching.ttl_ms).saturating_sub(age).as_millis();
        let scope = if listing.caching.public { "public" } else { "private" };
        text.push_str(&format!(r#""resultType":"complete","ttlMs":{left},"cacheScope":"{scope}","#));
    }
    text.push_str(&format!(r#""{}":["#, list.member()));
    for (place, item) in listing.items().enumerate() {
        if place > 0 {
            text.push(',');
        }
        // It was read from a message, so it is UTF-8.
        text.push_str(str::from_utf8(&item.definition).unwrap_or("null"));
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests;
