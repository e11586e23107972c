//! The legacy sessions we hold with one server: our key to its session id and the version negotiated with it.
//! Server ids are secrets: they are never logged and never shown to a client (B6, F33).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::header::HeaderValue;
use portcullis_core::call::SessionKey;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::Version;

/// Locks by key, so that busy sessions do not wait for each other.
const SHARDS: usize = 16;
/// Sessions in one shard. 8192, so 131,072 in all: the listener's own cap is far lower; this one only keeps a mistake there from growing memory.
const MOST_IN_SHARD: usize = 8192;
/// Bytes of a server's session id. 1024: ids are UUIDs or tokens of a few hundred bytes, and one is sent with every request.
const MOST_ID_BYTES: usize = 1024;

/// Our side of one session with the server.
#[derive(Clone)]
pub(super) struct UpstreamSession {
    /// Absent for a server that keeps no sessions.
    pub(super) id: Option<HeaderValue>,
    pub(super) version: Version,
}

/// A session whose `initialize` is not answered yet.
#[derive(Clone)]
pub(super) struct Opening {
    key: SessionKey,
    pub(super) id: Option<HeaderValue>,
}

impl Opening {
    pub(super) const fn of(key: SessionKey) -> Self {
        Self { key, id: None }
    }
}

/// A session by the id that was sent for it.
pub(super) struct Named {
    key: SessionKey,
    id: HeaderValue,
}

impl Named {
    /// `None` for a server that keeps no sessions.
    pub(super) fn of(key: Option<SessionKey>, session: Option<&UpstreamSession>) -> Option<Self> {
        Some(Self { key: key?, id: session?.id.clone()? })
    }
}

#[derive(Default)]
pub(super) struct Sessions {
    shards: [Mutex<HashMap<SessionKey, UpstreamSession>>; SHARDS],
}

impl Sessions {
    pub(super) fn find(&self, key: SessionKey) -> Option<UpstreamSession> {
        self.with(key, |shard| shard.get(&key).cloned()).flatten()
    }

    pub(super) fn remove(&self, key: SessionKey) -> Option<UpstreamSession> {
        self.with(key, |shard| shard.remove(&key)).flatten()
    }

    /// The server does not know the id any more. A session that was opened anew meanwhile has another one, and stays.
    pub(super) fn lost(&self, named: &Named) {
        self.with(named.key, |shard| {
            if shard.get(&named.key).is_some_and(|session| session.id.as_ref() == Some(&named.id)) {
                shard.remove(&named.key);
            }
        });
    }

    /// Remembers an opened session. The place is taken before the answer reaches the client, so its next message finds it.
    pub(super) fn open(&self, opening: Opening, version: Version) -> Result<(), Fault> {
        let Opening { key, id } = opening;
        let full = || Fault::new(FaultKind::Overloaded, "too many sessions with this server");
        self.with(key, |shard| {
            if shard.len() >= MOST_IN_SHARD && !shard.contains_key(&key) {
                return Err(full());
            }
            shard.insert(key, UpstreamSession { id, version });
            Ok(())
        })
        .unwrap_or_else(|| Err(full()))
    }

    pub(super) fn take_all(&self) -> Vec<UpstreamSession> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(std::mem::take(&mut *shard).into_values());
        }
        all
    }

    fn with<T>(&self, key: SessionKey, work: impl FnOnce(&mut HashMap<SessionKey, UpstreamSession>) -> T) -> Option<T> {
        // Keys are random, so their low bits spread them.
        let shard = usize::try_from(key.0 % SHARDS as u128).ok()?;
        let mut shard = self.shards.get(shard)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(&mut shard))
    }
}

/// The session id of an `initialize` answer, if it is one we may send back (A22).
pub(super) fn session_id(headers: &http::HeaderMap) -> Result<Option<HeaderValue>, Fault> {
    let mut values = headers.get_all("mcp-session-id").iter();
    let Some(id) = values.next() else { return Ok(None) };
    let legal = !id.is_empty() && id.len() <= MOST_ID_BYTES && id.as_bytes().iter().all(u8::is_ascii_graphic);
    // A copy: the value itself shares the buffer that the answer was read into, and would keep all of it for as long as the session lives.
    let copied = HeaderValue::from_bytes(id.as_bytes()).ok().filter(|_| legal && values.next().is_none());
    let mut id = copied.ok_or_else(|| {
        Fault::new(FaultKind::Garbage, "the server's session id is not one short word of visible ASCII")
    })?;
    id.set_sensitive(true);
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::{HeaderMap, HeaderValue};

    use super::session_id;

    #[test]
    fn the_id_of_a_session_does_not_keep_the_answer_it_came_with() {
        let answer = Bytes::from(b"HTTP/1.1 200 OK\r\nmcp-session-id: 1-2-3\r\n\r\n".to_vec());
        let value = HeaderValue::from_maybe_shared(answer.slice(33..38)).unwrap();
        let headers = HeaderMap::from_iter([("mcp-session-id".parse().unwrap(), value)]);
        let id = session_id(&headers).unwrap().unwrap();
        assert_eq!(id, "1-2-3");
        drop(headers);
        assert!(answer.is_unique());
    }
}
