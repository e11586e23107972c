//! The strict JSON-RPC reader: bytes in, one `Message` out, or a named refusal.
//! This is the only JSON-RPC parser in the tree. It never builds a tree, never converts a number and never
//! re-serialises: the bytes that were judged are the bytes that are sent (I26).

mod case;
mod derived;
mod edit;
mod id;
mod keys;
mod known;
mod limits;
mod malformed;
mod message;
mod method;
mod outline;
mod scan;
mod text;
mod view;

pub use self::{
    derived::Derived,
    edit::Edit,
    id::Id,
    known::{Known, Seen},
    limits::Limits,
    malformed::Malformed,
    message::{Direction, Kind, Message, looks_like_batch, read_batch, salvage_id},
    method::{Eras, METHODS, MethodInfo, MethodKind, NameSource, Way, method_info},
    scan::Span,
    view::{Elements, JsonKind, Members, Search, Token, Tokens, TooFar, View, view_json},
};

pub(crate) use self::case::reads_as;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
