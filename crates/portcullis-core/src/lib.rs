//! The words of Portcullis, in the order a message meets them.
//!
//! No runtime, no sockets, no clock: time and state are handed in. Two seals hold everything together:
//! an upstream accepts only [`gate::Cleared`], a listener writes only [`gate::Inspected`], and only
//! [`gate::Gate`] makes either.

pub mod attempt; // what was tried where there is a choice
pub mod call; // caller + message + facts + now
pub mod caller; // who is calling, and how that was proven
pub mod capabilities; // what a client declared it can do
pub mod catalogue; // what the server offers, and what it says of itself
pub mod classify; // C22: which era a message belongs to
pub mod clock; // time, handed in
pub mod gate; // the only maker of Cleared and Inspected
pub mod guard; // the seam for everything that judges or watches
pub mod ledger; // the seam towards the record
pub mod memory; // the seam for state that replicas may have to share
pub mod merge; // several servers' answers become one
pub mod mirror; // C25-C38: headers that mirror the body
pub mod naming; // whose a name, a URI or a task is among several servers
pub mod own; // the few JSON texts the gateway writes itself
pub mod pieces; // a text that arrives in pieces
pub mod proofs; // what a request proved beside who calls
pub mod refusal; // every way to say no, by who is at fault
pub mod tally; // what a session has called
pub mod trace; // W3C trace context
pub mod upstream; // the seam towards servers
pub mod version; // protocol revisions and the two eras
pub mod wire; // bytes -> Message, strictly; offsets, splices
