//! An upstream over Streamable HTTP, both eras. It never sends a header of the client's, never follows a redirect,
//! never repeats a request that may have arrived.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Method;
use http::header::HeaderValue;
use portcullis_core::call::{Call, SESSION_CLOSE, SessionKey, Subject};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Clock;
use portcullis_core::gate::Cleared;
use portcullis_core::mirror;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Pending, Reply, Upstream};
use portcullis_core::version::Era;
use portcullis_core::wire::{Kind, Limits, Message, Seen};
use portcullis_identity::chain::ChainSigner;

use crate::account::Account;
use crate::answers::{Awaiting, accepted};
use crate::settings::{HttpSettings, SettingsError};
use crate::standing::{Admission, Standing, opens, shutting_down};

mod account; // what a request carries for its account
mod contact; // what we ask on our own account
mod events; // an SSE body as arrivals
pub(crate) mod exchange; // one HTTP request and the beginning of its answer
pub(crate) mod headers; // what we send beside the body
pub(crate) mod line; // kept-alive connections and the exchanges on them
pub(crate) mod reply; // status and media type -> Reply or Fault
mod sessions; // legacy sessions we hold with the server
pub(crate) mod site; // one server as requests reach it

use self::exchange::Outbound;
use self::reply::Expecting;
use self::sessions::{Named, Opening, Sessions, UpstreamSession};
use self::site::Site;

/// Time for the end of one session at the server. 5 s: a courtesy that must not hold up anything.
const GOODBYE: Duration = Duration::from_secs(5);
/// Sessions ended at the same time when we stop. 16: quick, and no flood.
const GOODBYES_AT_ONCE: usize = 16;
/// Ends the sessions of callers that are gone.
const FORGOTTEN: Account<'static> = Account::Gateway(SESSION_CLOSE);

/// A server reached over Streamable HTTP.
#[derive(Debug)]
pub struct HttpUpstream {
    inner: Arc<Inner>,
}

/// Shared with replies under way.
struct Inner {
    site: Site,
    limits: Limits,
    /// Lists that the server answered with.
    seen: Seen,
    idle: Option<Duration>,
    sessions: Sessions,
    standing: Standing,
}

/// Not the endpoint: its query may hold a key.
impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpUpstream").field("name", &self.site.name).finish_non_exhaustive()
    }
}

impl HttpUpstream {
    /// Checks the settings, which are those of one replica; opens no connection. `limits` bound each message the server sends. `chain` signs our entry in the call chain of each
    /// request; without it none is sent.
    ///
    /// # Errors
    /// A setting that cannot work, naming its key.
    pub fn new(
        name: Arc<str>,
        settings: &HttpSettings,
        limits: Limits,
        clock: Arc<dyn Clock>,
        chain: Option<Arc<ChainSigner>>,
    ) -> Result<Arc<Self>, SettingsError> {
        if !settings.urls.is_empty() {
            return Err(SettingsError::OutOfRange { key: "urls", reason: "is for several upstreams, and this is one" });
        }
        let inner = Inner {
            site: Site::new(name, settings, clock, chain)?,
            limits,
            seen: Seen::default(),
            idle: settings.idle_timeout_ms.map(Duration::from_millis),
            sessions: Sessions::default(),
            standing: Standing::new(settings.era, Duration::from_millis(settings.probe_timeout_ms)),
        };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }
}

impl Upstream for HttpUpstream {
    fn name(&self) -> &Arc<str> {
        &self.inner.site.name
    }

    /// For a server that speaks both eras: the newer. [`Upstream::send`] takes both.
    fn era(&self) -> Option<Era> {
        self.inner.standing.era()
    }

    fn send(&self, cleared: Cleared) -> Pending<'_, Result<Reply, Fault>> {
        Box::pin(async move { self.inner.deliver(cleared.call()).await })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        self.inner.standing.catalogue()
    }

    fn observe(&self, listed: &Message) {
        self.inner.standing.observe(listed);
    }

    fn refresh(&self) -> Pending<'_, Result<Arc<Catalogue>, Fault>> {
        Box::pin(self.inner.refresh())
    }

    fn check(&self) -> Pending<'_, Result<(), Fault>> {
        Box::pin(self.inner.check())
    }

    fn forget(&self, session: SessionKey) -> Pending<'_, ()> {
        Box::pin(async move {
            if let Some(session) = self.inner.sessions.remove(session) {
                self.inner.say_goodbye(session, FORGOTTEN).await;
            }
        })
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            if !self.inner.standing.close() {
                return;
            }
            let all = self.inner.sessions.take_all();
            let goodbyes = futures_util::stream::iter(all)
                .for_each_concurrent(GOODBYES_AT_ONCE, |session| self.inner.say_goodbye(session, FORGOTTEN));
            // The deadline is for all together: we stop even when the server does not listen.
            let _ = tokio::time::timeout(GOODBYE, goodbyes).await;
        })
    }
}

impl Inner {
    async fn deliver(self: &Arc<Self>, call: &Call) -> Result<Reply, Fault> {
        if self.standing.is_closing() {
            return Err(shutting_down());
        }
        self.standing.know_era(|| self.contact()).await?;
        let admission = self.standing.admit(call.era(), opens(call))?;
        match &call.subject {
            Subject::Message(message) if admission == Admission::Trial => {
                let outcome = Box::pin(self.post(call, message)).await;
                self.standing.prove(outcome).await
            }
            // Only the usual way has its room in every call.
            Subject::Message(message) => self.post(call, message).await,
            Subject::Stream { last_event_id, .. } => Box::pin(self.listen(call, last_event_id.as_deref())).await,
            Subject::Close => Box::pin(self.close(call)).await,
        }
    }

    /// The legacy session a call belongs to, as the server knows it. `None` for modern calls and for `initialize`.
    fn session_of(&self, call: &Call) -> Result<Option<UpstreamSession>, Fault> {
        match &call.context.session {
            Some(session) if call.era() == Era::Legacy && !opens(call) => {
                let known = self.sessions.find(session.key);
                let lost = || {
                    Fault::before_sending(FaultKind::SessionLost, "no session with the server for this client session")
                };
                known.map(Some).ok_or_else(lost)
            }
            _ => Ok(None),
        }
    }

    async fn post(self: &Arc<Self>, call: &Call, message: &Message) -> Result<Reply, Fault> {
        let session = self.session_of(call)?;
        let opens = opens(call);
        let mut outbound = Outbound::new(Method::POST, message.bytes().clone());
        outbound.headers = self.site.fixed.post();
        headers::trace(&mut outbound.headers, &call.context.trace);
        match call.era() {
            Era::Modern => {
                headers::version(&mut outbound.headers, call.context.version);
                let tool = call.tool().map(AsRef::as_ref);
                let field = |name: &str, value: &str| headers::mirrored(&mut outbound.headers, name, value);
                mirror::outgoing(message, tool, &call.context.param_headers, field)?;
            }
            // B5: from the second message on.
            Era::Legacy if !opens => {
                headers::session(&mut outbound.headers, session.as_ref());
                let version = session.as_ref().map_or(call.context.version, |session| session.version);
                headers::version(&mut outbound.headers, version);
            }
            Era::Legacy => {}
        }
        let key = call.context.session.as_ref().map(|session| session.key);
        let expecting = Expecting {
            awaiting: message.id().filter(|_| message.kind() == Kind::Request).map(|id| Awaiting::new(id.clone())),
            era: call.era(),
            session: Named::of(key, session.as_ref()),
            opening: key.filter(|_| opens).map(Opening::of),
            batches: session.as_ref().is_some_and(|session| session.version.allows_batches()),
            mirrors: call.era() == Era::Modern && call.method() == "tools/call",
        };
        let response = self.site.exchange(outbound, Account::Call(call)).await?;
        self.read_reply(expecting, response).await
    }

    /// The standalone stream, or what is left of a broken one (A11, B9).
    async fn listen(self: &Arc<Self>, call: &Call, last_event_id: Option<&str>) -> Result<Reply, Fault> {
        let session = self.session_of(call)?;
        let mut outbound = Outbound::new(Method::GET, Bytes::new());
        outbound.headers = self.site.fixed.get();
        headers::trace(&mut outbound.headers, &call.context.trace);
        headers::session(&mut outbound.headers, session.as_ref());
        headers::version(
            &mut outbound.headers,
            session.as_ref().map_or(call.context.version, |session| session.version),
        );
        if let Some(last) = last_event_id {
            let value = HeaderValue::from_bytes(last.as_bytes())
                .map_err(|_| Fault::before_sending(FaultKind::NoStream, "the event id cannot stand in a header"))?;
            outbound.headers.insert("last-event-id", value);
        }
        let batches = session.as_ref().is_some_and(|session| session.version.allows_batches());
        let key = call.context.session.as_ref().map(|session| session.key);
        let session = Named::of(key, session.as_ref());
        let response = self.site.exchange(outbound, Account::Call(call)).await?;
        self.read_stream(session, last_event_id.is_some(), batches, response)
    }

    /// Ours is gone whatever the server says: 405 and 404 are good answers (B8), and a server that is down has forgotten it too.
    async fn close(&self, call: &Call) -> Result<Reply, Fault> {
        if let Some(session) = call.context.session.as_ref().and_then(|session| self.sessions.remove(session.key)) {
            self.say_goodbye(session, Account::Call(call)).await;
        }
        Ok(accepted())
    }

    async fn say_goodbye(&self, session: UpstreamSession, account: Account<'_>) {
        if session.id.is_none() {
            return;
        }
        let mut outbound = Outbound::new(Method::DELETE, Bytes::new());
        outbound.headers = self.site.fixed.get();
        headers::session(&mut outbound.headers, Some(&session));
        headers::version(&mut outbound.headers, session.version);
        match tokio::time::timeout(GOODBYE, self.site.exchange(outbound, account)).await {
            Ok(Ok(response)) => {
                tracing::debug!(server = %self.site.name, status = response.status().as_u16(), "session ended")
            }
            Ok(Err(fault)) => {
                tracing::info!(server = %self.site.name, %fault, "the server was not told that a session ended")
            }
            Err(_) => tracing::info!(server = %self.site.name, "the server did not answer the end of a session"),
        }
    }

    /// Watches what passes: a server that says its tools changed is asked for them (once, a little later).
    fn notice(self: &Arc<Self>, message: &Message) {
        if message.method() == Some("notifications/tools/list_changed") && self.standing.becomes_due() {
            self.refresh_later();
        }
    }

    /// On its own, since every event is noticed and next to none comes here.
    fn refresh_later(self: &Arc<Self>) {
        let later = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(contact::REFRESH_DELAY).await;
            let Some(inner) = later.upgrade() else { return };
            if inner.standing.begins()
                && let Err(fault) = inner.refresh().await
            {
                tracing::warn!(server = %inner.site.name, %fault, "the changed tool list could not be read");
            }
        });
    }
}

#[cfg(test)]
mod tests;
