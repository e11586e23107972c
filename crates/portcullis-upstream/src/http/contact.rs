//! What we ask an HTTP server on our own account: which era it speaks (G1–G5, D14), what it says of itself, and its lists.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use portcullis_core::catalogue::{Catalogue, Hello};
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::upstream::{Pending, Reply};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Kind, Message};

use super::exchange::Outbound;
use super::reply::Expecting;
use super::sessions::{self, UpstreamSession};
use super::{FORGOTTEN, Inner, headers};
use crate::account::Account;
use crate::answers::{Awaiting, answer_of};
use crate::probe::{self, Ask, Discovered, Probe, Served};

/// Between a `list_changed` and the refresh it asks for. 1 s: changes come in bursts, and a server that sends thousands costs one list a second.
pub(super) const REFRESH_DELAY: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) async fn refresh(self: &Arc<Self>) -> Result<Arc<Catalogue>, Fault> {
        self.standing.refresh(|| self.contact()).await
    }

    /// Asks for the tools anew before a refusal of our headers is passed on, so that the client's own retry is judged, and gets its headers,
    /// by what the server lists now (D5). Boxed, because our questions are exchanges themselves.
    pub(super) fn correct(self: &Arc<Self>) -> Pending<'_, ()> {
        Box::pin(async move {
            if let Err(fault) = self.standing.correct(|| self.contact()).await {
                tracing::warn!(server = %self.site.name, %fault, "headers were refused, and the tool list could not be read anew");
            }
        })
    }

    pub(super) async fn contact(self: &Arc<Self>) -> Result<Catalogue, Fault> {
        let modern = match self.standing.served() {
            Some(served) if served.modern => Some(probe::introduction(&mut Modern(self), 1).await),
            Some(_) => None,
            None => self.discover().await?,
        };
        if let Some(hello) = modern {
            return probe::survey(&mut Modern(self), Era::Modern, hello, 2).await;
        }
        let mut session = Legacy::of(self);
        let listed = session.list().await;
        session.end().await;
        listed
    }

    /// Whether the server is there and speaks MCP, by the smallest exchange its era has. Any answer that is MCP will do: of modern servers only
    /// the newest need to know the method.
    pub(super) async fn check(self: &Arc<Self>) -> Result<(), Fault> {
        match self.standing.served() {
            Some(served) if served.modern => Modern(self).ask(Probe::discover(1)).await.map(drop),
            Some(_) => {
                let mut session = Legacy::of(self);
                let greeted = probe::handshake(&mut session, 1).await.map(drop);
                session.end().await;
                greeted
            }
            None => self.refresh().await.map(drop),
        }
    }

    /// Whether the server proved to be modern, and then what it says of itself, if that was in the proof. An error of transport,
    /// authorization or load proves nothing (G4).
    async fn discover(self: &Arc<Self>) -> Result<Option<Option<Hello>>, Fault> {
        let question = Probe::discover(1);
        let response = self.site.exchange(self.modern_question(&question)?, own(&question)).await?;
        let status = response.status();
        let inconclusive =
            status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        let answer = match self.read_reply(expecting(&question, Era::Modern), response).await {
            Ok(reply) => answer_of(reply).await,
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(_) if inconclusive => Err(Fault::new(
                FaultKind::Unreachable,
                format!("`server/discover` was answered with {}", status.as_u16()),
            )),
            Ok(answer) => match probe::discovered(&answer) {
                Discovered::Serves(served) => {
                    self.standing.proven(served);
                    Ok(Some(Hello::of(&answer)))
                }
                Discovered::MaybeLegacy => Ok(None),
                Discovered::Foreign => {
                    Err(Fault::new(FaultKind::Garbage, "the server speaks only protocol versions newer than ours"))
                }
            },
            // Any other refusal is what servers say that do not know the method (G3): a candidate, to be proven by `initialize`.
            Err(fault) if fault.kind == FaultKind::Garbage && !inconclusive && !status.is_redirection() => Ok(None),
            // Some refuse a request without a session under an id of their own choice.
            Err(fault) if fault.kind == FaultKind::AnswerUnmatched && status == StatusCode::BAD_REQUEST => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn modern_question(&self, question: &Probe) -> Result<Outbound, Fault> {
        let mut outbound = Outbound::new(Method::POST, question.body().clone());
        outbound.headers = self.site.fixed.post();
        headers::version(&mut outbound.headers, Version::LATEST_MODERN);
        headers::mirrored(&mut outbound.headers, "mcp-method", question.method())?;
        Ok(outbound)
    }
}

fn own(question: &Probe) -> Account<'_> {
    Account::Gateway(question.method())
}

fn expecting(question: &Probe, era: Era) -> Expecting {
    let awaiting = question.id().cloned().map(Awaiting::new);
    Expecting { awaiting, era, session: None, opening: None, batches: false, mirrors: false }
}

struct Modern<'a>(&'a Arc<Inner>);

impl Ask for Modern<'_> {
    async fn ask(&mut self, question: Probe) -> Result<Message, Fault> {
        let response = self.0.site.exchange(self.0.modern_question(&question)?, own(&question)).await?;
        answer_of(self.0.read_reply(expecting(&question, Era::Modern), response).await?).await
    }

    async fn tell(&mut self, _: Probe) -> Result<(), Fault> {
        Ok(())
    }
}

/// A session of our own, beside those of clients.
struct Legacy<'a> {
    inner: &'a Arc<Inner>,
    headers: HeaderMap,
    opened: Option<UpstreamSession>,
}

impl<'a> Legacy<'a> {
    fn of(inner: &'a Arc<Inner>) -> Self {
        Self { inner, headers: HeaderMap::new(), opened: None }
    }

    /// Also after a failure: what was opened is closed (B8).
    async fn end(self) {
        if let Some(opened) = self.opened {
            self.inner.say_goodbye(opened, FORGOTTEN).await;
        }
    }

    async fn list(&mut self) -> Result<Catalogue, Fault> {
        let hello = probe::handshake(self, 2).await?;
        self.inner.standing.proven(Served::LEGACY);
        probe::survey(self, Era::Legacy, Some(hello), 3).await
    }

    async fn deliver(&mut self, question: &Probe) -> Result<Reply, Fault> {
        let mut outbound = Outbound::new(Method::POST, question.body().clone());
        outbound.headers = self.inner.site.fixed.post();
        outbound.headers.extend(self.headers.clone());
        let response = self.inner.site.exchange(outbound, own(question)).await?;
        let id = if question.method() == "initialize" { sessions::session_id(response.headers())? } else { None };
        if let Some(id) = id {
            let opened = UpstreamSession { id: Some(id), version: Version::LATEST_LEGACY };
            headers::session(&mut self.headers, Some(&opened));
            self.opened = Some(opened);
        }
        self.inner.read_reply(expecting(question, Era::Legacy), response).await
    }
}

impl Ask for Legacy<'_> {
    async fn ask(&mut self, question: Probe) -> Result<Message, Fault> {
        let answer = answer_of(self.deliver(&question).await?).await?;
        if question.method() == "initialize" && answer.kind() == Kind::Result {
            let version = probe::legacy_version(&answer)?;
            headers::version(&mut self.headers, version);
            if let Some(opened) = &mut self.opened {
                opened.version = version;
            }
        }
        Ok(answer)
    }

    async fn tell(&mut self, question: Probe) -> Result<(), Fault> {
        self.deliver(&question).await.map(drop)
    }
}
