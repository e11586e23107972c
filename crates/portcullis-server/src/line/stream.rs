//! What a legacy client does over HTTP with a `GET`, done for a client that has none: what the server says by itself is listened to, and a
//! reply that breaks off is asked for again (A12–A15, A20).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::gate::Inspected;
use portcullis_core::refusal::{Fault, FaultKind};
use tokio::time::Instant;

use super::{Line, Seat};
use crate::answer::{Asked, Refusal, Unread};
use crate::answering;
use crate::desk::{Desk, Parcel};
use crate::exchange::{self, Delivery};
use crate::identify::Identified;
use crate::read;
use crate::record::RefusedFacts;
use crate::session::Session;

/// Pause before a stream is opened again, where the server does not say how long: what the SDKs wait.
const PAUSE: Duration = Duration::from_secs(1);
/// After failures it doubles up to this: a server that is back is heard within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Tries to get the rest of a reply that bring nothing. Then the client hears that it is lost.
const TRIES: u32 = 5;
/// A stream that stood for so long was no failure.
const STOOD: Duration = Duration::from_secs(10);

/// Where a stream broke off.
#[derive(Debug, Default)]
pub(super) struct Broken {
    /// Sealed, as a client would hold it.
    event: Option<String>,
    retry: Option<Duration>,
}

impl Broken {
    pub(super) fn saw(&mut self, message: &Inspected, delivery: &Delivery) {
        self.event = delivery.seal_event(message).or(self.event.take());
        self.retry = message.retry().or(self.retry);
    }

    fn pause(&self) -> Duration {
        self.retry.unwrap_or(PAUSE).min(LONGEST_PAUSE)
    }
}

impl Line {
    /// Gets the rest of a reply that its server broke off to be asked for it later (A15, A20).
    pub(super) async fn resume(
        &self,
        identified: &Identified,
        session: &Arc<Session>,
        mut broken: Broken,
        desk: &Desk,
        asked: Asked,
    ) -> Result<(), Box<Unread>> {
        let mut tries = 0;
        while let Some(event) = broken.event.clone().filter(|_| tries < TRIES) {
            tries += 1;
            tokio::time::sleep(broken.pause()).await;
            let opened = self.open(identified, session, Some(&event)).await;
            let mut delivery = opened.map_err(|unread| Box::new(Unread { asked: asked.clone(), ..*unread }))?;
            while let Some(message) = delivery.next().await {
                tries = 0;
                broken.saw(&message, &delivery);
                let last = message.is_response();
                self.pass(desk, message).await;
                if last {
                    return Ok(());
                }
            }
        }
        let lost = Fault::new(FaultKind::Died, "the rest of the reply did not come");
        Err(Unread::recorded(lost, asked))
    }

    /// Passes on what the server says by itself, until the connection is gone or the server says that it never does.
    pub(super) async fn standing(&self, identified: &Identified, seat: &Seat) {
        let mut broken = Broken::default();
        let mut pause = PAUSE;
        loop {
            let begun = Instant::now();
            let listening = self.listen_once(identified, seat, &mut broken);
            let goes_on = tokio::select! {
                biased;
                () = seat.taken.cancelled() => return,
                goes_on = listening => goes_on,
            };
            if !goes_on || self.gateway.draining.is_said() {
                return;
            }
            pause = if begun.elapsed() >= STOOD { broken.pause() } else { pause.max(broken.pause()) };
            tokio::select! {
                biased;
                () = seat.taken.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// One stream to its end; false when another would be no better.
    async fn listen_once(&self, identified: &Identified, seat: &Seat, broken: &mut Broken) -> bool {
        let event = broken.event.clone();
        let mut delivery = match self.open(identified, &seat.session, event.as_deref()).await {
            Ok(delivery) => delivery,
            Err(unread) => {
                let goes_on = matches!(&unread.refusal, Refusal::Fault(fault) if fault.kind != FaultKind::NoStream);
                let caller = Some(Arc::clone(&identified.known.caller));
                let facts = RefusedFacts { caller, ..RefusedFacts::of(self.came.client) };
                exchange::refused(&self.gateway, *unread, &facts);
                return goes_on;
            }
        };
        while let Some(message) = delivery.next().await {
            broken.saw(&message, &delivery);
            if !message.bytes().is_empty() {
                seat.desk.put(Parcel::of(&message)).await;
            }
        }
        true
    }

    async fn open(
        &self,
        identified: &Identified,
        session: &Arc<Session>,
        event: Option<&str>,
    ) -> Result<Delivery, Box<Unread>> {
        let limit = self.gateway.settings.limits.requests_per_caller;
        let permit = identified.known.account.admit(limit, &self.gateway.held).map_err(exchange::early)?;
        let session = Arc::clone(session);
        let turn = read::standing(&self.gateway, &self.endpoint, identified, session, event, permit)?;
        let begun = pin!(answering::begin(&self.gateway, turn));
        exchange::in_time(&self.gateway, begun).await.map(Delivery::new)
    }
}
