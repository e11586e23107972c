//! What a server says, text by text, read strictly and given to the router. Noise is borne up to a limit.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::wire::{Direction, Limits, Malformed, Message};

use super::notes::Notes;
use super::running::Router;

/// Texts that are no messages before the server counts as broken. 100: banners and stray prints are common, a log on standard output is not MCP.
const MOST_NOISE: u32 = 100;

pub(crate) struct Intake<R> {
    router: Arc<R>,
    notes: Notes,
    limits: Limits,
    noise: u32,
}

impl<R: Router> Intake<R> {
    pub(crate) fn new(router: Arc<R>, notes: Notes, limits: Limits) -> Self {
        Self { router, notes, limits, noise: 0 }
    }

    /// One text, which should be one message. Returns when it is delivered; a fault is the end of the pipe.
    pub(crate) async fn take(&mut self, text: Bytes) -> Result<(), Fault> {
        match Message::read(text.clone(), Direction::ToClient, &self.limits) {
            Ok(message) => {
                self.router.message(message).await;
                Ok(())
            }
            Err(error) => self.spoiled(refused(&error), &[&text]),
        }
    }

    /// A message was lost; `texts` are what is known of it.
    pub(crate) fn spoiled(&mut self, fault: Fault, texts: &[&[u8]]) -> Result<(), Fault> {
        if self.router.lost(&fault, texts) {
            return Ok(());
        }
        // An answer of unknown owner: whoever waits for it would wait for ever.
        if fault.kind == FaultKind::TooLarge {
            return Err(fault);
        }
        self.noise = self.noise.saturating_add(1);
        self.notes.noise(texts.first().copied().unwrap_or_default());
        if self.noise > MOST_NOISE {
            return Err(Fault::new(FaultKind::Garbage, "the server says too much that is not MCP"));
        }
        Ok(())
    }
}

fn refused(error: &Malformed) -> Fault {
    Fault::new(FaultKind::Garbage, format!("{}: {error}", error.code()))
}
