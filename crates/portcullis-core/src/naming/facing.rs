//! One reply of one server, seen from the endpoint's clients.

use std::sync::Arc;

use super::Names;
use crate::catalogue::Catalogue;
use crate::gate::Exposure;
use crate::wire::{Limits, Malformed, Message};

/// Shows the messages of one reply in the clients' words.
#[derive(Clone, Debug)]
pub struct Facing {
    pub names: Arc<Names>,
    /// Which of the servers replies.
    pub server: usize,
    /// The method of the request whose reply this is; `None` where it is not known.
    pub answers: Option<Arc<str>>,
    /// What each server offers, in the order of [`Names::new`].
    pub known: Arc<[Arc<Catalogue>]>,
    pub limits: Limits,
}

impl Exposure for Facing {
    fn expose(&self, message: &Message) -> Result<Message, Malformed> {
        self.names.expose(self.server, message, self.answers.as_deref(), &self.known, &self.limits)
    }
}
