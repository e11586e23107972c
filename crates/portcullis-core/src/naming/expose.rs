//! A server's message in its clients' words. What is changed is named here, member by member: names in lists, URIs, task ids. Text,
//! structured content, arguments and members that MCP does not define stay byte for byte.

use std::sync::Arc;

use super::shown::Source;
use super::{Names, Offer, Prefix};
use crate::catalogue::{Catalogue, Listed};
use crate::own::quoted;
use crate::wire::{Direction, JsonKind, Kind, Known, Limits, Malformed, Message, View};

/// Where a message says which task it belongs to (A54).
pub(super) const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// Members of `_meta` that hold the URI of a view: MCP Apps' former spelling, and the one of its forerunner that hosts still read.
const VIEWS: [&str; 2] = ["ui/resourceUri", "openai/outputTemplate"];

/// The members of results that can hold something to change, in the order in which [`Showing::result`] takes them.
const RESULT: [&str; 14] = [
    "_meta",
    "task",
    "inputRequests",
    "resultType",
    "taskId",
    "result",
    "content",
    "messages",
    "contents",
    "resources",
    "resourceTemplates",
    "tools",
    "prompts",
    "tasks",
];

impl Names {
    /// A server's message in the clients' words. `answers`: the method of the request that a response answers; without it every member
    /// that some method's result has is taken for that. Limits hold for the server's own words, which grow by the server's name.
    ///
    /// # Errors
    /// What the reader says about the outcome, and [`Malformed::EditRefused`] for a message to a server or a server that does not exist.
    pub fn expose(
        &self,
        server: usize,
        message: &Message,
        answers: Option<&str>,
        known: &[Arc<Catalogue>],
        limits: &Limits,
    ) -> Result<Message, Malformed> {
        let exists = self.servers.get(server).filter(|_| message.direction() == Direction::ToClient);
        let grown = exists.ok_or(Malformed::EditRefused)?.prefix.len() + 2;
        let source = self.source(server, message, answers, known);
        let before = source.as_ref().and_then(|source| Some((source.list, self.shown.find(source)?)));
        let mut shown = Showing { names: self, server, known, words: Vec::new(), hidden: None };
        let mut edit = message.edit();
        match message.kind() {
            Kind::Result => {
                let mut members = message.result_members(RESULT);
                if let Some((list, before)) = &before
                    && let Some(view) = taken(&mut members, list.member())
                {
                    edit = edit.replace_by_known(view, before);
                }
                shown.result(members, answers);
            }
            Kind::Error => shown.error(message, answers),
            Kind::Request | Kind::Notification => shown.asked(message),
        }
        if let Some((list, kept)) = &shown.hidden {
            edit = edit.remove_elements(*list, &|index| kept.get(index).copied().unwrap_or(false));
        }
        for (view, word) in shown.words {
            edit = edit.replace(view, &quoted(&word));
        }
        // Read within the limits before. What is added is bounded: one label for each of its words.
        let limits = Limits { bytes: usize::MAX, name: limits.name.saturating_add(grown), ..*limits };
        let shown = edit.apply(&limits)?;
        if let (Some(source), None) = (&source, &before)
            && let Some(list) = shown.result_member(source.list.member()).and_then(Known::of)
        {
            self.shown.keep(source, list);
        }
        Ok(shown)
    }

    /// The list in a message, if what clients are shown of it is worth remembering: it came before, and nothing else decides.
    fn source<'a>(
        &self,
        server: usize,
        message: &'a Message,
        answers: Option<&str>,
        known: &'a [Arc<Catalogue>],
    ) -> Option<Source<'a>> {
        let list = Listed::of_method(answers?)?;
        let came = message.known_result_member(list.member())?;
        let known = if self.prefix == Prefix::Always { &[] } else { known };
        Some(Source { server, list, came, known })
    }
}

/// Takes the member of that name out of those of a result.
fn taken<'a>(members: &mut [Option<View<'a>>; RESULT.len()], name: &str) -> Option<View<'a>> {
    let place = RESULT.iter().position(|known| *known == name)?;
    members.get_mut(place)?.take()
}

/// One message on its way to a client.
struct Showing<'a> {
    names: &'a Names,
    server: usize,
    known: &'a [Arc<Catalogue>],
    /// Strings and what stands in their place.
    words: Vec<(View<'a>, String)>,
    /// A list, and which of its elements clients see.
    hidden: Option<(View<'a>, Vec<bool>)>,
}

impl<'a> Showing<'a> {
    fn result(&mut self, parts: [Option<View<'a>>; RESULT.len()], method: Option<&str>) {
        let answers = |known: &[&str]| method.is_none_or(|method| known.contains(&method));
        let [
            meta,
            task,
            asked,
            kind,
            id,
            inner,
            content,
            messages,
            contents,
            resources,
            templates,
            tools,
            prompts,
            tasks,
        ] = parts;
        self.meta(meta);
        self.task(task.and_then(|task| task.get("taskId")));
        self.questions(asked);
        let is_task = kind.and_then(View::as_str).as_deref() == Some("task");
        if is_task || answers(&["tasks/get", "tasks/cancel", "tasks/update"]) {
            self.task(id);
        }
        if let Some(inner) = inner.filter(|_| answers(&["tasks/get"])) {
            self.result(members(inner, RESULT), Some("tools/call"));
        }
        if answers(&["tools/call", "tasks/result"]) {
            self.content(content);
        }
        if answers(&["prompts/get"]) {
            self.messages(messages);
        }
        if answers(&["resources/read"]) {
            each(contents, |content| self.resource(content, "uri"));
        }
        if answers(&["resources/list"]) {
            each(resources, |resource| self.resource(resource, "uri"));
        }
        if answers(&["resources/templates/list"]) {
            each(templates, |template| self.resource(template, "uriTemplate"));
        }
        if answers(&["tools/list"]) {
            self.list(tools, Offer::Tool);
        }
        if answers(&["prompts/list"]) {
            self.list(prompts, Offer::Prompt);
        }
        if answers(&["tasks/list"]) {
            each(tasks, |task| self.task(task.get("taskId")));
        }
    }

    /// A resource that was not found is named in the error's data (A42).
    fn error(&mut self, message: &'a Message, method: Option<&str>) {
        if method.is_none_or(|method| method.starts_with("resources/")) {
            self.uri(message.error().and_then(|error| error.path(&["data", "uri"])));
        }
    }

    /// A request or notification of the server.
    fn asked(&mut self, message: &'a Message) {
        if let Some(params) = message.params() {
            self.meta_of(params);
        }
        match message.method() {
            Some("notifications/resources/updated") => self.uri(message.param("uri")),
            Some("notifications/tasks/status") => self.task(message.param("taskId")),
            Some("notifications/tasks") => {
                self.task(message.param("taskId"));
                self.questions(message.param("inputRequests"));
                if let Some(result) = message.param("result") {
                    self.result(members(result, RESULT), Some("tools/call"));
                }
            }
            Some("notifications/subscriptions/acknowledged") => {
                let honoured = message.param("notifications");
                each(honoured.and_then(|honoured| honoured.get("resourceSubscriptions")), |uri| self.uri(Some(uri)));
                each(honoured.and_then(|honoured| honoured.get("taskIds")), |id| self.task(Some(id)));
                each(message.param("taskIds"), |id| self.task(Some(id)));
            }
            Some("sampling/createMessage") => self.messages(message.param("messages")),
            // The task that a server asks about is the client's own.
            _ => {}
        }
    }

    /// Questions that travel inside a result (C58).
    fn questions(&mut self, asked: Option<View<'a>>) {
        for (_, question) in asked.into_iter().flat_map(View::members) {
            let is_sampling = |method: View<'_>| method.as_str().as_deref() == Some("sampling/createMessage");
            let [method, params] = members(question, ["method", "params"]);
            let Some(params) = params else { continue };
            self.meta_of(params);
            if method.is_some_and(is_sampling) {
                self.messages(params.get("messages"));
            }
        }
    }

    fn list(&mut self, list: Option<View<'a>>, of: Offer) {
        let Some(list) = list.filter(|list| list.kind() == JsonKind::Array) else { return };
        let mut kept = Vec::new();
        for item in list.elements() {
            let [name, meta] = members(item, ["name", "_meta"]);
            self.meta(meta);
            let known = name.and_then(View::as_str);
            let shown = known
                .as_deref()
                .and_then(|own| self.names.shown_name(self.server, of, own, self.known).map(String::from));
            // What has no name cannot be called; those who read the list find that out.
            kept.push(known.is_none() || shown.is_some());
            self.put(name, shown);
        }
        if kept.contains(&false) {
            self.hidden = Some((list, kept));
        }
    }

    fn messages(&mut self, messages: Option<View<'a>>) {
        each(messages, |message| self.content(message.get("content")));
    }

    /// One block of content, or several.
    fn content(&mut self, content: Option<View<'a>>) {
        match content {
            Some(several) if several.kind() == JsonKind::Array => each(content, |block| self.block(block)),
            Some(block) => self.block(block),
            None => {}
        }
    }

    fn block(&mut self, block: View<'a>) {
        let [kind, uri, resource, content, meta] = members(block, ["type", "uri", "resource", "content", "_meta"]);
        self.meta(meta);
        match kind.and_then(View::as_str).as_deref() {
            Some("resource_link") => self.uri(uri),
            Some("resource") => {
                if let Some(resource) = resource {
                    self.resource(resource, "uri");
                }
            }
            // In what a model is asked to go on from. As deep as the reader allows at most.
            Some("tool_result") => self.content(content),
            _ => {}
        }
    }

    fn resource(&mut self, resource: View<'a>, member: &str) {
        let [uri, meta] = members(resource, [member, "_meta"]);
        self.uri(uri);
        self.meta(meta);
    }

    fn meta_of(&mut self, holder: View<'a>) {
        self.meta(holder.get("_meta"));
    }

    fn meta(&mut self, meta: Option<View<'a>>) {
        for (key, value) in meta.into_iter().flat_map(View::members) {
            match key.as_ref() {
                "ui" => self.uri(value.get("resourceUri")),
                RELATED_TASK => self.task(value.get("taskId")),
                key if VIEWS.contains(&key) => self.uri(Some(value)),
                _ => {}
            }
        }
    }

    fn uri(&mut self, uri: Option<View<'a>>) {
        let own = uri.and_then(View::as_str);
        self.put(uri, own.and_then(|own| self.names.shown_uri(self.server, &own)));
    }

    fn task(&mut self, id: Option<View<'a>>) {
        let own = id.and_then(View::as_str);
        self.put(id, own.and_then(|own| self.names.shown_task(self.server, &own)));
    }

    fn put(&mut self, view: Option<View<'a>>, word: Option<String>) {
        if let (Some(view), Some(word)) = (view, word)
            && view.as_str().as_deref() != Some(word.as_str())
        {
            self.words.push((view, word));
        }
    }
}

/// The members of these names, in one pass over the object.
fn members<'a, const N: usize>(object: View<'a>, names: [&str; N]) -> [Option<View<'a>>; N] {
    let mut found = [None; N];
    for (key, value) in object.members() {
        if let Some(place) = names.iter().position(|name| *name == key).and_then(|index| found.get_mut(index)) {
            *place = Some(value);
        }
    }
    found
}

fn each<'a>(array: Option<View<'a>>, with: impl FnMut(View<'a>)) {
    array.into_iter().flat_map(View::elements).for_each(with);
}
