//! Event ids as clients hold them: the server's own id with the request whose reply it is part of, sealed for one session. So a client
//! that comes back with `Last-Event-ID` brings with it what its answer must be held to, and nothing has to be remembered.

use portcullis_core::call::Interrupted;
use portcullis_core::wire::Id;

use crate::seal::Sealer;

/// What an event id stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Which of the endpoint's servers gave it.
    pub(crate) at: usize,
    /// The server's own; never empty, and without line breaks (those end a field of an event).
    pub(crate) id: String,
    /// `None` on the standalone stream.
    pub(crate) request: Option<Interrupted>,
}

impl Event {
    /// For the client of one session. `None` for what cannot be sealed, and so cannot be resumed.
    pub(crate) fn seal(
        sealer: &Sealer,
        session: &str,
        at: usize,
        id: &str,
        request: Option<&Interrupted>,
    ) -> Option<String> {
        if id.is_empty() || id.contains('\n') {
            return None;
        }
        let mut text = format!("{at}\n{id}");
        if let Some(Interrupted { id, method, name }) = request {
            // The JSON text of an id has no line breaks, and no method of MCP has; a name may have, so it stands last.
            if method.contains('\n') {
                return None;
            }
            for part in [Some(id.raw()), Some(method.as_str()), name.as_deref()].into_iter().flatten() {
                text.push('\n');
                text.push_str(part);
            }
        }
        sealer.seal("event", session, text.as_bytes())
    }

    pub(crate) fn open(sealer: &Sealer, session: &str, sealed: &str) -> Option<Self> {
        let text = String::from_utf8(sealer.open("event", session, sealed)?).ok()?;
        let mut parts = text.splitn(5, '\n').map(str::to_owned);
        let at = parts.next()?.parse().ok()?;
        let id = parts.next()?;
        let request = match (parts.next(), parts.next()) {
            (Some(id), Some(method)) => Some(Interrupted { id: Id::from_text(&id)?, method, name: parts.next() }),
            _ => None,
        };
        Some(Self { at, id, request })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_brings_back_the_request_it_belongs_to_and_to_its_own_session_only() {
        let sealer = Sealer::new().unwrap();
        let request = |name: Option<&str>| Interrupted {
            id: Id::string("a"),
            method: "tools/call".into(),
            name: name.map(str::to_owned),
        };
        for request in [None, Some(request(None)), Some(request(Some("t"))), Some(request(Some("two\nlines\n")))] {
            let sealed = Event::seal(&sealer, "session", 3, "e1", request.as_ref()).unwrap();
            let event = Event { at: 3, id: "e1".into(), request };
            assert_eq!(Event::open(&sealer, "session", &sealed), Some(event));
            assert_eq!(Event::open(&sealer, "another", &sealed), None);
        }
    }

    #[test]
    fn what_could_be_taken_apart_otherwise_gets_no_event_id() {
        let sealer = Sealer::new().unwrap();
        let request = Interrupted { id: Id::number(1), method: "tools/call\nt".into(), name: None };
        for (id, request) in [("", None), ("a\nb", None), ("a", Some(&request))] {
            assert_eq!(Event::seal(&sealer, "session", 0, id, request), None);
        }
    }
}
