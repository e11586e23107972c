//! The threads that serve connections. Each has a runtime of its own, so that a request, its call to the server and their answers are
//! handled by one thread that nothing else wakes; connections are dealt out in turn.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Time for a thread to drop what it still holds. 2 s: it does not wait for anybody, it only runs destructors.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Where connections are served.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    /// Dropped, it ends the threads too: nobody serves for a gateway that is gone.
    stop: DropGuard,
    ended: Vec<oneshot::Receiver<()>>,
}

impl Workers {
    /// Everything on the runtime of the test, whose clock can be stopped.
    #[cfg(test)]
    pub(crate) fn here() -> Self {
        Self {
            handles: vec![Handle::current()],
            next: AtomicUsize::new(0),
            stop: CancellationToken::new().drop_guard(),
            ended: Vec::new(),
        }
    }

    /// `count` threads. One per core is right: none of them ever waits for anything but its sockets.
    ///
    /// # Errors
    /// The operating system gives no threads.
    pub fn threads(count: NonZeroUsize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (mut handles, mut ended) = (Vec::new(), Vec::new());
        for number in 0..count.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let (ends, end) = oneshot::channel();
            ended.push(end);
            let stopped = stop.clone();
            thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
                runtime.block_on(stopped.cancelled());
                // What still runs is dropped here, and closes its entries.
                drop(runtime);
                // Nobody listens any more when the gateway was dropped without a drain.
                let _gone = ends.send(());
            })?;
        }
        Ok(Self { handles, next: AtomicUsize::new(0), stop: stop.drop_guard(), ended })
    }

    /// Gives a connection to the worker whose turn it is.
    ///
    /// # Errors
    /// The socket cannot change hands.
    pub(crate) fn serve<F>(&self, socket: TcpStream, conversation: impl FnOnce(TcpStream) -> F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len().max(1);
        let Some(worker) = self.handles.get(turn) else { return Ok(()) };
        // Readiness is told by the runtime that a socket is registered with.
        let socket = socket.into_std()?;
        let entered = worker.enter();
        let socket = TcpStream::from_std(socket)?;
        drop(entered);
        worker.spawn(conversation(socket));
        Ok(())
    }

    /// Ends the threads, with whatever they still hold.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        let ended = futures_util::future::join_all(self.ended);
        if tokio::time::timeout(LAST_WAIT, ended).await.is_err() {
            tracing::warn!("a thread that serves connections did not end in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::Workers;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn connections_are_dealt_out_in_turn_and_served_by_threads_of_their_own() {
        let workers = Workers::threads(NonZeroUsize::new(2).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..4 {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            workers
                .serve(socket, |mut socket| async move {
                    let end = socket.read(&mut [0]).await.unwrap();
                    tell.send((end, std::thread::current().name().map(str::to_owned))).unwrap();
                })
                .unwrap();
        }
        let mut names = Vec::new();
        for _ in 0..4 {
            let (end, name) = told.recv().await.unwrap();
            assert_eq!(end, 0, "the client went away");
            names.push(name.unwrap());
        }
        names.sort();
        assert_eq!(names, ["serve-0", "serve-0", "serve-1", "serve-1"]);
    }

    #[tokio::test]
    async fn what_a_worker_still_holds_is_dropped_before_it_has_stopped() {
        let workers = Workers::threads(NonZeroUsize::MIN).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        workers
            .serve(socket, |socket| async move {
                let _held = socket;
                std::future::pending::<()>().await;
            })
            .unwrap();
        workers.stop().await;
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}
