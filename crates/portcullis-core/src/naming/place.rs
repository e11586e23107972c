//! Which server a client's message is for, and the message in that server's own words. What is for no server stays here.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::expose::RELATED_TASK;
use super::{Names, Offer};
use crate::catalogue::Catalogue;
use crate::own::quoted;
use crate::wire::{Direction, Edit, Id, Kind, Limits, Malformed, Message, View};

/// Where a client's message goes.
#[derive(Clone, Debug)]
pub enum Placed {
    /// To one server, in its own words.
    One { server: usize, message: Message },
    /// To each of these servers, in order; their answers become one. Servers that do not have what is asked for are in it too.
    All(Vec<(usize, Message)>),
    /// A list's later page. The caller opens the cursor, which is its own, and writes the servers' with [`with_cursor`].
    Page { cursor: String },
    /// To whichever server works on the request of this id.
    Cancel { id: Id },
    /// To whichever server asked with this token.
    Progress { token: Id },
    /// To whichever server asked what this answers. A task that the answer belongs to is translated by [`Names::answer`].
    Answer,
}

/// Why a message is for no server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// No such tool, prompt, resource or task; to be answered exactly like one that a server does not have.
    Tool,
    Prompt,
    Resource,
    Task,
    /// No server is meant: a method that we do not know, or a notification that lacks its subject.
    Nobody,
    /// Not to be said in the server's words.
    Malformed(Malformed),
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool => f.write_str("no server has this tool"),
            Self::Prompt => f.write_str("no server has this prompt"),
            Self::Resource => f.write_str("no server has this resource"),
            Self::Task => f.write_str("no server has this task"),
            Self::Nobody => f.write_str("no server is meant"),
            Self::Malformed(malformed) => write!(f, "{malformed}"),
        }
    }
}

impl std::error::Error for Unplaced {}

impl From<Malformed> for Unplaced {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Names {
    /// Which server a client's message is for, and the message in that server's own words. `known`: what each server offers now, in the
    /// order of [`Names::new`].
    ///
    /// # Errors
    /// What names nothing that is known, and what the reader refuses when it is said in the server's words.
    pub fn place(&self, message: &Message, known: &[Arc<Catalogue>], limits: &Limits) -> Result<Placed, Unplaced> {
        if message.direction() != Direction::ToServer {
            return Err(Unplaced::Nobody);
        }
        if matches!(message.kind(), Kind::Result | Kind::Error) {
            return Ok(Placed::Answer);
        }
        match message.method().unwrap_or_default() {
            "tools/call" => self.named(message, Offer::Tool, known, limits),
            "prompts/get" => self.named(message, Offer::Prompt, known, limits),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => self.resource(message, limits),
            "completion/complete" => {
                let kind = message.param("ref").and_then(|reference| reference.get("type")).and_then(View::as_str);
                if kind.as_deref() == Some("ref/prompt") {
                    self.named(message, Offer::Prompt, known, limits)
                } else {
                    self.resource(message, limits)
                }
            }
            "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" | "notifications/tasks/status" => {
                let own = subject(message).and_then(|(id, _)| self.own_task(&id).map(|(at, own)| (at, own.to_owned())));
                let (server, own) = own.ok_or(Unplaced::Task)?;
                self.one(message, server, &own, limits)
            }
            "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" | "tasks/list" => {
                match cursor(message) {
                    Some(cursor) => Ok(Placed::Page { cursor: cursor.into_owned() }),
                    None => self.all(message, limits),
                }
            }
            "initialize"
            | "notifications/initialized"
            | "notifications/roots/list_changed"
            | "ping"
            | "logging/setLevel"
            | "server/discover" => self.all(message, limits),
            "subscriptions/listen" => self.listen(message, limits),
            "notifications/cancelled" => message.cancelled_id().map(|id| Placed::Cancel { id }).ok_or(Unplaced::Nobody),
            "notifications/progress" => {
                message.progress_token().map(|token| Placed::Progress { token }).ok_or(Unplaced::Nobody)
            }
            _ => Err(Unplaced::Nobody),
        }
    }

    /// A client's answer, or its report of progress, in the words of the server that it is for.
    ///
    /// # Errors
    /// What the reader says about the outcome.
    pub fn answer(&self, server: usize, message: &Message, limits: &Limits) -> Result<Message, Malformed> {
        self.related(message, server, message.edit()).apply(limits)
    }

    fn named(
        &self,
        message: &Message,
        of: Offer,
        known: &[Arc<Catalogue>],
        limits: &Limits,
    ) -> Result<Placed, Unplaced> {
        let unknown = match of {
            Offer::Tool => Unplaced::Tool,
            Offer::Prompt => Unplaced::Prompt,
        };
        let Some((shown, _)) = subject(message) else { return Err(unknown) };
        let (server, own) = self.own_name(of, &shown, known).ok_or(unknown)?;
        self.one(message, server, &own, limits)
    }

    fn resource(&self, message: &Message, limits: &Limits) -> Result<Placed, Unplaced> {
        let own = subject(message).and_then(|(uri, _)| self.own_uri(&uri));
        let (server, own) = own.ok_or(Unplaced::Resource)?;
        self.one(message, server, &own, limits)
    }

    /// The message with what it is about in the server's own words.
    fn one(&self, message: &Message, server: usize, own: &str, limits: &Limits) -> Result<Placed, Unplaced> {
        let mut edit = self.related(message, server, message.edit());
        if let Some((shown, view)) = subject(message)
            && shown != own
        {
            edit = edit.replace(view, &quoted(own));
        }
        Ok(Placed::One { server, message: edit.apply(limits)? })
    }

    /// The task that a message belongs to, where it is this server's. A client's own task (A54, asked for by a server) stays as it is.
    fn related<'a>(&self, message: &'a Message, server: usize, edit: Edit<'a>) -> Edit<'a> {
        let Some(id) = message.meta(RELATED_TASK).and_then(|related| related.get("taskId")) else { return edit };
        match id.as_str().as_deref().and_then(|shown| self.own_task(shown)) {
            Some((owner, own)) if owner == server => edit.replace(id, &quoted(own)),
            _ => edit,
        }
    }

    fn all(&self, message: &Message, limits: &Limits) -> Result<Placed, Unplaced> {
        let message = alone(message).apply(limits)?;
        Ok(Placed::All((0..self.servers.len()).map(|server| (server, message.clone())).collect()))
    }

    /// Each server is asked for its own resources and tasks; what is nobody's is left out, and so not acknowledged (C70). A server that
    /// nothing is asked of is left out too, unless nothing is asked of any.
    fn listen(&self, message: &Message, limits: &Limits) -> Result<Placed, Unplaced> {
        let shares =
            (0..self.servers.len()).map(|server| self.share(message, server, limits).map(|share| (server, share)));
        let shares = shares.collect::<Result<Vec<_>, Malformed>>()?;
        let nothing_asked = shares.iter().all(|(_, (asks, _))| !asks);
        let asked = shares.into_iter().filter(|(_, (asks, _))| *asks || nothing_asked);
        Ok(Placed::All(asked.map(|(server, (_, share))| (server, share)).collect()))
    }

    /// One server's part of `subscriptions/listen`, and whether anything is asked of it.
    fn share(&self, message: &Message, server: usize, limits: &Limits) -> Result<(bool, Message), Malformed> {
        let wanted = message.param("notifications");
        let in_wanted = |key: &str| wanted.and_then(|wanted| wanted.get(key));
        let mut asks = wanted.into_iter().flat_map(View::members).any(|(_, value)| value.as_bool() == Some(true));
        // The extension says where task ids stand; the other place costs nothing and leaves no way around.
        let tasks = [in_wanted("taskIds"), message.param("taskIds")].into_iter().flatten().map(|ids| (ids, true));
        let arrays = in_wanted("resourceSubscriptions").map(|uris| (uris, false)).into_iter().chain(tasks);
        let mut edit = alone(message);
        for (array, are_tasks) in arrays {
            let own = |shown: &str| {
                if are_tasks {
                    self.own_task(shown).map(|(owner, own)| (owner, own.to_owned()))
                } else {
                    self.own_uri(shown)
                }
            };
            let mut kept = Vec::new();
            for element in array.elements() {
                let own = element.as_str().and_then(|shown| own(&shown)).filter(|(owner, _)| *owner == server);
                kept.push(own.is_some());
                if let Some((_, own)) = own {
                    edit = edit.replace(element, &quoted(&own));
                }
            }
            asks |= kept.contains(&true);
            edit = edit.remove_elements(array, &|index| kept.get(index).copied().unwrap_or(false));
        }
        Ok((asks, edit.apply(limits)?))
    }

    /// Whose task a client's id means, and what that server calls it.
    fn own_task<'a>(&self, shown: &'a str) -> Option<(usize, &'a str)> {
        self.by_prefix(shown)
    }
}

/// What the message is about, and where that stands.
fn subject(message: &Message) -> Option<(Cow<'_, str>, View<'_>)> {
    let view = message.name_view()?;
    Some((view.as_str()?, view))
}

/// The message as it goes to several servers: they cannot report one progress together (C74).
fn alone(message: &Message) -> Edit<'_> {
    match message.kind() {
        Kind::Request => message.edit().remove_meta("progressToken"),
        _ => message.edit(),
    }
}

/// The page that a list is asked for, in the words of whoever made the cursor.
#[must_use]
pub fn cursor(message: &Message) -> Option<Cow<'_, str>> {
    message.param("cursor")?.as_str()
}

/// A list request for another page: the first without a cursor.
///
/// # Errors
/// What the reader says about the outcome.
pub fn with_cursor(message: &Message, cursor: Option<&str>, limits: &Limits) -> Result<Message, Malformed> {
    let edit = message.edit();
    match (cursor, message.params()) {
        (Some(cursor), _) => edit.set_param("cursor", &quoted(cursor)),
        (None, Some(params)) => edit.remove_members(params, &|key| key != "cursor"),
        (None, None) => edit,
    }
    .apply(limits)
}
