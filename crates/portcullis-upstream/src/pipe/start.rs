//! Opening a pipe: a place for it, not too soon after the last one broke, and a router behind it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::refusal::{Fault, FaultKind};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::notes::Watcher;
use super::running::{self, Beginning, Router, Running};
use super::{ALL_GONE, PipeUpstream, Source};
use crate::account::Account;
use crate::departure::apart;

/// How long a call waits for a pipe that may not be opened yet. 2 s: shorter waits are not worth a fault, longer ones are worth an answer.
const WORTH_WAITING: Duration = Duration::from_secs(2);
/// Between a `list_changed` and the refresh it asks for. 5 s: for a legacy server the refresh opens a pipe of its own.
const REFRESH_DELAY: Duration = Duration::from_secs(5);

impl<S: Source> PipeUpstream<S> {
    /// A place for one more pipe; waits for one that is on its way out.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let full = || Fault::before_sending(FaultKind::Overloaded, format!("as many are open as `{}` allows", S::MOST));
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Ok(place);
        }
        if !self.ending.any() {
            return Err(full());
        }
        let place = tokio::time::timeout(ALL_GONE, places.acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or_else(full)
    }

    /// Opens a pipe, unless too many are open or they keep breaking.
    pub(super) async fn start<R: Router>(
        &self,
        account: Account<'_>,
        router: impl FnOnce(mpsc::Sender<Bytes>) -> R,
    ) -> Result<(Arc<R>, Running), Fault> {
        let wait = self.backoff().wait(Instant::now());
        match wait {
            Some((delay, _)) if delay <= WORTH_WAITING => tokio::time::sleep(delay).await,
            Some((delay, ends)) => {
                let detail = format!(
                    "the server ended {ends} times soon after its start; the next start is in {} s",
                    delay.as_secs() + 1
                );
                return Err(Fault::before_sending(FaultKind::Unreachable, detail));
            }
            None => {}
        }
        let place = self.place().await?;
        let raw = self.standing.unless_closing(apart(self.source.open(account))).await?;
        let (input, messages) = running::queue();
        let router = Arc::new(router(input.clone()));
        let (me, started) = (Weak::clone(&self.me), Instant::now());
        let (mut running, carrier) = Running::new(Beginning {
            router: Arc::clone(&router),
            notes: self.notes.clone(),
            limits: self.limits,
            input,
            messages,
            place,
            ending: Arc::clone(&self.ending),
            on_end: Box::new(move |asked, ended| {
                if let Some(pipes) = me.upgrade().filter(|_| !asked) {
                    pipes.backoff().ended(started, ended);
                }
            }),
        });
        running.post = self.source.run(raw, carrier);
        Ok((router, running))
    }

    /// Watches what passes: a server that says its tools changed is asked for them (once, a little later).
    pub(super) fn watcher(&self) -> Watcher {
        let me = Weak::clone(&self.me);
        Watcher::new(move || {
            let Some(pipes) = me.upgrade().filter(|pipes| pipes.standing.becomes_due()) else { return };
            let me = Weak::clone(&pipes.me);
            tokio::spawn(async move {
                tokio::time::sleep(REFRESH_DELAY).await;
                let Some(pipes) = me.upgrade() else { return };
                if pipes.standing.begins()
                    && let Err(fault) = pipes.standing.refresh(|| pipes.contact()).await
                {
                    tracing::warn!(server = %pipes.name, %fault, "the changed tool list could not be read");
                }
            });
        })
    }
}
