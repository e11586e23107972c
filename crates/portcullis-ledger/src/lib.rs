//! The record: a hash-chained audit log that anyone can verify, and the metrics.
//!
//! Writing happens on one thread of its own, off the request path; nothing in here blocks a call or needs an async runtime.
//! The format of the log is `docs/audit-format.md`; `tools/verify_audit.py` is a second verifier written from that page alone.

mod error; // what can be wrong with a log as a whole
mod escape; // foreign text made safe for a terminal
mod format; // a record becomes one line, one line becomes a frame
mod head; // the last durable entry, noted beside the log
mod layout; // which file is called what
mod lines; // whole lines of one segment, bounded
mod log; // the handle that the pipeline appends to
mod memory; // the same seam without a disk
mod metrics; // counters and histograms, labels from known tables only
mod redact; // what must not be stored even when content is
mod rows; // entries read back
mod settings; // what the operator may set, every default with its reason
mod show; // one decision in full
mod store; // segments on disk: append, sync, rotate, recover
mod tail; // follow the log
mod verify; // prove the chain unbroken, or name the first bad entry
mod writer; // the thread between queue and disk

pub use error::AuditError;
pub use escape::{clipped, escaped};
pub use head::Head;
pub use layout::Layout;
pub use log::AuditLog;
pub use memory::MemoryLedger;
pub use metrics::{Metrics, RoomNumbers, TransportNumbers};
pub use rows::{Row, RowKind, StoredAttempt, StoredEntry, StoredFinding, table_header, table_row};
pub use settings::{AuditSettings, Content};
pub use show::{find, show};
pub use tail::Tail;
pub use verify::{Bad, BadKind, Verdict, VerifyOptions, verify};
