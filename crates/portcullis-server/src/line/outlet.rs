//! The end of a line that is written to: what belongs to no session, and what belongs to the session, each in its order.

use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, watch};

use super::{Line, Seat};
use crate::desk::{Parcel, Tray};

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Outlet {
    own: OwnedMutexGuard<Tray>,
    seated: Option<OwnedMutexGuard<Tray>>,
    seats: watch::Receiver<Option<Arc<Seat>>>,
    /// Whose the last parcel was.
    of_seat: bool,
}

impl Outlet {
    pub(crate) async fn of(line: &Line) -> Self {
        Self { own: line.own.tray().await, seated: None, seats: line.seat.subscribe(), of_seat: false }
    }

    /// The next one. It is given again until [`Outlet::sent`], to this connection or to the one that comes after it.
    pub(crate) async fn next(&mut self) -> Parcel {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.seats.changed() => {
                    let desk = self.seats.borrow_and_update().as_ref().map(|seat| Arc::clone(&seat.desk));
                    self.seated = match desk {
                        Some(desk) => Some(desk.tray().await),
                        None => None,
                    };
                }
                Some(parcel) = self.own.next() => {
                    self.of_seat = false;
                    return parcel;
                }
                Some(parcel) = of(self.seated.as_mut()) => {
                    self.of_seat = true;
                    return parcel;
                }
            }
        }
    }

    /// The next one that is there already.
    pub(crate) fn next_now(&mut self) -> Option<Parcel> {
        let own = self.own.next_now();
        self.of_seat = own.is_none();
        own.or_else(|| self.seated.as_mut()?.next_now())
    }

    /// The last one was written.
    pub(crate) fn sent(&mut self) {
        match self.seated.as_mut().filter(|_| self.of_seat) {
            Some(seated) => seated.sent(),
            None => self.own.sent(),
        }
    }
}

async fn of(tray: Option<&mut OwnedMutexGuard<Tray>>) -> Option<Parcel> {
    match tray {
        Some(tray) => tray.next().await,
        None => std::future::pending().await,
    }
}
