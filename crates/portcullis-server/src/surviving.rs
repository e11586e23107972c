//! A future that outlives its client. A legacy client that hangs up has not cancelled its request (A17), yet hyper drops the handler
//! then; what is left of the work moves into a task of its own. Costs nothing while the client stays.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::gateway::Gateway;

pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Polls `work` in place; if dropped before it is done, lets it run on in a task of its own, for the time that orphans have.
pub(crate) struct Surviving<T: Send + 'static> {
    work: Option<Work<T>>,
    gateway: Arc<Gateway>,
}

impl<T: Send + 'static> Surviving<T> {
    pub(crate) fn new(work: Work<T>, gateway: Arc<Gateway>) -> Self {
        Self { work: Some(work), gateway }
    }
}

impl<T: Send + 'static> Future for Surviving<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = self.work.as_mut() else { return Poll::Pending };
        let done = work.as_mut().poll(cx);
        if done.is_ready() {
            self.work = None;
        }
        done
    }
}

impl<T: Send + 'static> Drop for Surviving<T> {
    fn drop(&mut self) {
        // Outside a runtime (at the very end of the process) there is nowhere to run on.
        if let (Some(work), Ok(runtime)) = (self.work.take(), tokio::runtime::Handle::try_current()) {
            let gateway = Arc::clone(&self.gateway);
            let rest = async move {
                let in_time = tokio::time::timeout(gateway.settings.timeouts.orphan(), work);
                drop(gateway.overdue.wakes(pin!(in_time)).await);
            };
            self.gateway.tasks.spawn_on(rest, &runtime);
        }
    }
}
