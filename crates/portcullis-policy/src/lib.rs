//! Cedar as the decision point: what a caller may do, what it may see, and why not.
//!
//! Deny by default, `forbid` wins, an error denies. No sockets, no files, no clock: texts, catalogues and calls are handed in.

mod bounded; // a memo that cannot grow without end
mod check; // policies against the schema, in the operator's words
mod context; // a call's facts -> Cedar context
mod explain; // what each policy says of a call
mod guard; // the guard and the watchers of replies
mod index; // which policies can apply at all
mod init; // a policy file to start from
mod judge; // the decision point
mod mentions; // which parts of the context a policy looks at
mod names; // words of the Cedar world
mod policies; // the loaded set
mod presets; // policies that come with the binary
mod schema; // tools' JSON Schemas -> Cedar types -> Cedar schema
mod source; // policy texts and findings
mod table; // policy tests
mod visibility; // policies while the call's facts are still unknown
mod vocabulary; // methods as actions, their groups, what their context holds

pub use self::{
    explain::{Explained, Verdict, explain, explain_agents},
    guard::PolicyGuard,
    init::init_text,
    names::is_server_name,
    policies::{Ask, Policies, Summary},
    presets::{PRESETS, preset},
    schema::schema_text,
    source::{Finding, Severity, Source},
    table::{
        Case, CaseAgent, CaseCaller, CaseClient, CaseFailure, CaseHop, CaseSession, CaseSignature, Expectation,
        Servers, TestFile, TestReport, run_tests,
    },
};

#[cfg(test)]
mod testing; // small worlds for tests
