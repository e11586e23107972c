//! Cedar as the decision point: what a caller may do, what it may see, and why not.
//!
//! Deny by default, `forbid` wins, an error denies. No sockets, no files, no clock: texts, catalogues and calls are handed in.

mod names; // words of the Cedar world
mod vocabulary; // methods as actions, their groups, what their context holds
mod source; // policy texts and findings
mod schema; // tools' JSON Schemas -> Cedar types -> Cedar schema
mod mentions; // which parts of the context a policy looks at
mod visibility; // policies while the call's facts are still unknown
mod index; // which policies can apply at all
mod bounded; // a memo that cannot grow without end
mod check; // policies against the schema, in the operator's words
mod policies; // the loaded set
mod context; // a call's facts -> Cedar context
mod judge; // the decision point
mod guard; // the guard and the watchers of replies
mod presets; // policies that come with the binary
mod explain; // what each policy says of a call
mod init; // a policy file to start from
mod table; // policy tests

pub use self::{
    explain::{Explained, Verdict, explain},
    guard::PolicyGuard,
    init::init_text,
    names::is_server_name,
    policies::{Ask, Policies, Summary},
    presets::{PRESETS, preset},
    schema::schema_text,
    source::{Finding, Severity, Source},
    table::{Case, CaseCaller, CaseFailure, CaseSession, Expectation, TestFile, TestReport, run_tests},
};

#[cfg(test)]
mod testing; // small worlds for tests
