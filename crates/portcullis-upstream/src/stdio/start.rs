//! Starting a child: a place for it, not too soon after the last one died, and its four tasks around it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::refusal::{Fault, FaultKind};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::child::{Keeper, Router, Running};
use super::notes::Watcher;
use super::{ALL_GONE, Inner};

/// How long a call waits for a child that may not be started yet. 2 s: shorter waits are not worth a fault, longer ones are worth an answer.
const WORTH_WAITING: Duration = Duration::from_secs(2);
/// Between a `list_changed` and the refresh it asks for. 5 s: for a legacy server the refresh starts a process.
const REFRESH_DELAY: Duration = Duration::from_secs(5);

impl Inner {
    /// A place for one more child; waits for one that is on its way out.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let full =
            || Fault::before_sending(FaultKind::Overloaded, "as many server processes run as `max_children` allows");
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

    /// Starts a child, unless too many run or this one keeps dying.
    pub(super) async fn start<R: Router>(
        &self,
        router: impl FnOnce(mpsc::Sender<Bytes>) -> R,
    ) -> Result<(Arc<R>, Running), Fault> {
        let wait = self.backoff().wait(Instant::now());
        match wait {
            Some((delay, _)) if delay <= WORTH_WAITING => tokio::time::sleep(delay).await,
            Some((delay, ends)) => {
                let detail = format!(
                    "the server process ended {ends} times soon after its start; the next start is in {} s",
                    delay.as_secs() + 1
                );
                return Err(Fault::before_sending(FaultKind::Unreachable, detail));
            }
            None => {}
        }
        let place = self.place().await?;
        let process = self.launcher.launch()?;
        let input = Running::input();
        let router = Arc::new(router(input.0.clone()));
        let (me, started) = (Weak::clone(&self.me), Instant::now());
        let keeper = Keeper {
            router: Arc::clone(&router),
            notes: self.notes.clone(),
            limits: self.limits,
            place,
            ending: Arc::clone(&self.ending),
            on_end: Box::new(move |asked| {
                if let Some(inner) = me.upgrade().filter(|_| !asked) {
                    inner.backoff().ended(Instant::now(), started.elapsed());
                }
            }),
        };
        Ok((router, Running::start(process, input, keeper)))
    }

    /// Watches what passes: a server that says its tools changed is asked for them (once, a little later).
    pub(super) fn watcher(&self) -> Watcher {
        let me = Weak::clone(&self.me);
        Watcher::new(move || {
            let Some(inner) = me.upgrade().filter(|inner| inner.standing.becomes_due()) else { return };
            let me = Weak::clone(&inner.me);
            tokio::spawn(async move {
                tokio::time::sleep(REFRESH_DELAY).await;
                let Some(inner) = me.upgrade() else { return };
                if inner.standing.begins()
                    && let Err(fault) = inner.refresh().await
                {
                    tracing::warn!(server = %inner.name, %fault, "the changed tool list could not be read");
                }
            });
        })
    }
}
