//! How every server is, in one place: what the breakers count, what the gateway asks for itself, and what an operator sees of both. It decides nothing;
//! what refuses calls is the breaker.

mod check; // asking on our own account
mod condition; // outcomes -> healthy, degraded, unhealthy
mod track; // one transport of one server
mod view; // what is shown

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::check::watch;
pub use self::condition::{Health, Thresholds};
pub(crate) use self::track::Leave;
pub use self::track::{Changed, Observer, Terms, Track};
pub use self::view::{LastFailure, Numbers, ToolView, TrackView};
use crate::breaker::Dice;
use crate::bulkhead::{Room, RoomView, Walls};

/// All servers. Lives as long as the process: a reload asks it for the tracks that were there before.
pub struct HealthBoard {
    observer: Observer,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    dice: Dice,
    tracks: Vec<Arc<Track>>,
    rooms: Vec<Arc<Room>>,
}

impl fmt::Debug for HealthBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthBoard").finish_non_exhaustive()
    }
}

impl HealthBoard {
    /// Nothing is known yet. `observer` hears of every change of a breaker once, in order; it must not wait, nor call back.
    #[must_use]
    pub fn new(observer: Observer) -> Self {
        Self::with(observer, Dice::from_system())
    }

    pub(crate) fn with(observer: Observer, dice: Dice) -> Self {
        Self { observer, known: Mutex::new(Known { dice, tracks: Vec::new(), rooms: Vec::new() }) }
    }

    /// The track of a transport: the one that is there, if it judges by the same terms, else a new one in its place.
    #[must_use]
    pub fn track(&self, server: &Arc<str>, transport: &str, terms: Terms) -> Arc<Track> {
        let mut known = self.lock();
        let place = known.tracks.iter().position(|track| is(track, server, Some(transport)));
        if let Some(track) = place.and_then(|place| known.tracks.get(place)).filter(|track| *track.terms() == terms) {
            return Arc::clone(track);
        }
        let dice = Dice::seeded(known.dice.roll());
        let track = Track::new(Arc::clone(server), transport.into(), terms, dice, Arc::clone(&self.observer));
        if let Some(place) = place {
            known.tracks.remove(place);
        }
        known.tracks.push(Arc::clone(&track));
        known.tracks.sort_by(|one, other| (one.server(), one.transport()).cmp(&(other.server(), other.transport())));
        track
    }

    /// The room of a server, likewise: who is in it stays in it.
    #[must_use]
    pub fn room(&self, server: &Arc<str>, walls: &Walls) -> Arc<Room> {
        let mut known = self.lock();
        let place = known.rooms.iter().position(|room| room.server() == server);
        if let Some(room) = place.and_then(|place| known.rooms.get(place)).filter(|room| room.walls() == walls) {
            return Arc::clone(room);
        }
        let room = Room::new(Arc::clone(server), walls.clone());
        if let Some(place) = place {
            known.rooms.remove(place);
        }
        known.rooms.push(Arc::clone(&room));
        known.rooms.sort_by(|one, other| one.server().cmp(other.server()));
        room
    }

    /// Every transport of every server, in order of their names.
    #[must_use]
    pub fn tracks(&self) -> Vec<TrackView> {
        let tracks = self.lock().tracks.clone();
        tracks.iter().map(|track| track.view()).collect()
    }

    /// How full every server's room is.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomView> {
        self.lock().rooms.iter().map(|room| room.view()).collect()
    }

    /// Closes breakers and forgets what led to it. How many transports were meant.
    #[must_use]
    pub fn reset(&self, server: &str, transport: Option<&str>) -> usize {
        let tracks = self.lock().tracks.clone();
        let meant: Vec<_> = tracks.iter().filter(|track| is(track, server, transport)).collect();
        meant.iter().for_each(|track| track.reset());
        meant.len()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is(track: &Track, server: &str, transport: Option<&str>) -> bool {
    **track.server() == *server && transport.is_none_or(|transport| **track.transport() == *transport)
}

#[cfg(test)]
mod tests;
