//! Policy tests as tables: a call in a few words, and what the policies must say of it. Every case becomes a real message, read by the
//! strict reader and judged by the same guard as traffic; there is no second path.

mod build;
#[cfg(test)]
pub(crate) use self::build::call as call_of;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::guard::{Decision, Guard as _};
use portcullis_core::refusal::{Denial, Manner};
use portcullis_core::wire::Limits;
use serde::Deserialize;

use crate::explain::{Explained, Verdict, explain, explain_agents};
use crate::guard::PolicyGuard;
use crate::policies::Policies;

/// A file of policy tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// Policy files or folders, relative to this file. The command line can name others.
    #[serde(default)]
    pub policies: Vec<String>,
    /// A saved `tools/list` of the server, relative to this file.
    #[serde(default)]
    pub catalogue: Option<String>,
    /// For several servers, in place of `catalogue`: the name of each and its saved `tools/list`.
    #[serde(default)]
    pub catalogues: BTreeMap<String, String>,
    /// Name of the server in the policies, where a case names no other. Default `server`, like an upstream without a name.
    #[serde(default = "default_server")]
    pub server: String,
    pub tests: Vec<Case>,
}

fn default_server() -> String {
    "server".to_owned()
}

/// One call and what must become of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    /// What the case shows; the subject of the report.
    #[serde(default)]
    pub name: Option<String>,
    /// Default: the anonymous caller without groups.
    #[serde(default)]
    pub caller: Option<CaseCaller>,
    /// Default: `tools/call` when `tool` is given.
    #[serde(default)]
    pub method: Option<String>,
    #[serde(default)]
    pub tool: Option<String>,
    /// `params.arguments`.
    #[serde(default)]
    pub arguments: Option<serde_json::Value>,
    /// `params.name` of a prompt, `params.taskId` of a task.
    #[serde(default)]
    pub subject: Option<String>,
    /// `params.uri` of a resource method.
    #[serde(default)]
    pub uri: Option<String>,
    /// `params.url` of an elicitation; makes its mode `url`.
    #[serde(default)]
    pub url: Option<String>,
    /// All of `params`, instead of the fields above.
    #[serde(default)]
    pub params: Option<serde_json::Value>,
    /// What the legacy session has called.
    #[serde(default)]
    pub session: Option<CaseSession>,
    /// Where the request came from. Default: not by network.
    #[serde(default)]
    pub client: CaseClient,
    /// A program that acts for the caller.
    #[serde(default)]
    pub agent: Option<CaseAgent>,
    /// Who signed the request.
    #[serde(default)]
    pub signature: Option<CaseSignature>,
    /// Whose hands it went through, first hop first.
    #[serde(default)]
    pub chain: Vec<CaseHop>,
    /// RFC 3339 in UTC, such as `2026-07-28T09:30:00Z`. Default: noon of 2026-01-01, a Thursday.
    #[serde(default)]
    pub now: Option<String>,
    /// Instead of the file's server.
    #[serde(default)]
    pub server: Option<String>,
    /// Protocol revision. Default: 2025-11-25.
    #[serde(default)]
    pub version: Option<String>,
    pub expect: Expectation,
    /// `@id` of a policy that must be among those that decided.
    #[serde(default)]
    pub policy: Option<String>,
    /// Text that the refused caller must read, exactly.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Who calls in a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseCaller {
    pub name: String,
    /// How the name was proven. Default: `token` with an `issuer`, else `certificate` with a `spiffe`, else `api_key`.
    #[serde(default)]
    pub proof: Option<String>,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub issuer: Option<String>,
    #[serde(default)]
    pub client: Option<String>,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub spiffe: Option<String>,
    /// Tags.
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub actors: Vec<String>,
}

/// Where the request of a case came from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CaseClient {
    pub address: Option<IpAddr>,
    pub secure: bool,
    pub host: Option<String>,
    pub via_proxy: bool,
}

/// The agent of a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseAgent {
    pub name: String,
    pub issuer: String,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// The signature of a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CaseSignature {
    pub key_id: String,
    pub workload: String,
    #[serde(default)]
    pub session_scoped: bool,
    #[serde(default)]
    pub ephemeral: bool,
}

/// One hop of the chain of a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseHop {
    /// Its name in the chain; policies know it as `agent:NAME`.
    pub agent: String,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Default true.
    #[serde(default = "verified")]
    pub verified: bool,
}

const fn verified() -> bool {
    true
}

/// The session of a case. Both counts include the call of the case itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CaseSession {
    /// Tools called before, oldest first: all other facts follow from them.
    pub called: Vec<String>,
    /// Default: as many as `called` says.
    pub calls: Option<u64>,
    /// Default: as many as `called` says; without `called`, as many as `calls`.
    pub tool_calls: Option<u64>,
}

/// What must become of a call.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    Allow,
    Deny,
    /// Held for a person.
    Ask,
    /// Denied as if it did not exist, and not listed.
    Hidden,
}

impl Expectation {
    /// The word in the test file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
            Self::Hidden => "hidden",
        }
    }
}

/// How the tests went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestReport {
    pub passed: usize,
    pub failures: Vec<CaseFailure>,
}

/// A case that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFailure {
    /// From 1.
    pub number: usize,
    pub name: String,
    /// Lines that say what was expected, what came, and what each policy in scope said.
    pub lines: Vec<String>,
}

impl TestReport {
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "FAILED {}. {}", failure.number, failure.name)?;
            for line in &failure.lines {
                writeln!(f, "  {line}")?;
            }
        }
        write!(f, "{} passed, {} failed", self.passed, self.failures.len())
    }
}

/// The servers whose tools are known, by name.
pub type Servers = BTreeMap<String, Arc<Catalogue>>;

impl TestFile {
    /// The servers and their saved lists, as the file names them.
    pub fn saved(&self) -> impl Iterator<Item = (&str, &str)> {
        let one = self.catalogue.iter().map(|file| (self.server.as_str(), file.as_str()));
        one.chain(self.catalogues.iter().map(|(server, file)| (server.as_str(), file.as_str())))
    }
}

/// Runs all cases of a file. Cases that cannot be built (an unreadable time, an unknown revision) are failures that say so.
#[must_use]
pub fn run_tests(file: &TestFile, policies: &Arc<Policies>, servers: &Servers) -> TestReport {
    let guard = PolicyGuard::new(Arc::clone(policies), Limits::default());
    let mut report = TestReport::default();
    for (index, case) in file.tests.iter().enumerate() {
        match run(&guard, file, case, servers) {
            Ok(()) => report.passed += 1,
            Err(lines) => report.failures.push(CaseFailure { number: index + 1, name: title(case), lines }),
        }
    }
    report
}

fn title(case: &Case) -> String {
    let what = || case.tool.as_deref().or(case.method.as_deref()).unwrap_or("case");
    case.name.clone().unwrap_or_else(|| format!("{} → {}", what(), case.expect.as_str()))
}

fn run(guard: &PolicyGuard, file: &TestFile, case: &Case, servers: &Servers) -> Result<(), Vec<String>> {
    let call = build::call(file, case, servers).map_err(|problem| vec![problem])?;
    let decision = guard.check(&call);
    let (came, ids, public) = outcome(&decision);
    let mut lines = Vec::new();
    let agrees = came == case.expect || (case.expect == Expectation::Deny && came == Expectation::Hidden);
    if !agrees {
        lines.push(format!("expected {}, came {}", case.expect.as_str(), came.as_str()));
    }
    if let Some(wanted) = &case.policy
        && !ids.contains(wanted)
    {
        let decided = if ids.is_empty() { "no policy".to_owned() } else { ids.join(", ") };
        lines.push(format!("expected policy `{wanted}` to decide, decided by {decided}"));
    }
    if let Some(wanted) = &case.reason
        && Some(wanted.as_str()) != public
    {
        lines.push(format!("expected the caller to read {wanted:?}, it reads {:?}", public.unwrap_or_default()));
    }
    if lines.is_empty() {
        return Ok(());
    }
    if let Decision::Deny(denial) | Decision::Hold(denial) = &decision {
        lines.push(format!("{}: {}", denial.code.as_str(), denial.detail));
    }
    lines.extend(explain(guard, &call).iter().filter_map(line));
    for (agent, policies) in explain_agents(guard, &call) {
        lines.extend(policies.iter().filter_map(line).map(|line| format!("as `{agent}`: {line}")));
    }
    Err(lines)
}

fn line(policy: &Explained) -> Option<String> {
    let Explained { effect, id, file, line, verdict, .. } = policy;
    let in_scope = *verdict != Verdict::OutOfScope;
    in_scope.then(|| format!("{effect} `{id}` ({file}:{line}): {}", verdict.as_str()))
}

fn outcome(decision: &Decision) -> (Expectation, Vec<String>, Option<&str>) {
    let of_denial = |denial: &Denial| denial.policies.iter().map(ToString::to_string).collect();
    match decision {
        Decision::Pass(pass) => {
            let ids = pass.policies.iter().flat_map(|ids| ids.iter()).map(ToString::to_string).collect();
            (Expectation::Allow, ids, None)
        }
        Decision::Hold(denial) => (Expectation::Ask, of_denial(denial), Some(&denial.public)),
        Decision::Deny(denial) if denial.manner == Manner::Unknown => {
            (Expectation::Hidden, of_denial(denial), Some(&denial.public))
        }
        Decision::Deny(denial) => (Expectation::Deny, of_denial(denial), Some(&denial.public)),
    }
}
