//! From texts to policies: parsing, ids, annotations, weakened forms, and then the checker. One error anywhere and nothing is loaded: a
//! policy that was dropped with a warning could have been the one that denies.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::pst::{self, PstConstructionError, StaticPolicy, Template};
use cedar_policy::{Effect, Policy, PolicyId, PolicySet};
use miette::Diagnostic;
use portcullis_core::catalogue::Catalogue;
use sha2::{Digest as _, Sha256};

use super::{Ask, Entry, Form, MOST_SLICES, Policies};
use crate::bounded::Bounded;
use crate::check::{Parsed, check};
use crate::index::{Index, Scope};
use crate::mentions::needs_of_policy;
use crate::names::nearest;
use crate::source::{Finding, Severity, Source};
use crate::visibility::{Unknown, bare, may};

/// Annotations that mean something here.
const ANNOTATIONS: [&str; 4] = ["id", "reason", "ask", "note"];
/// Characters of an `@id`. 128: it stands in log entries and in findings.
const MOST_ID: usize = 128;

impl Policies {
    /// Parses and checks policies. `catalogues` are the servers there are; what depends on the tools of one that was never read is not
    /// checked, and a warning says so. Without any server, a policy may speak of any.
    ///
    /// # Errors
    /// All findings, warnings included, when at least one is an error. Nothing is loaded then.
    pub fn load<'a>(
        sources: &[Source],
        catalogues: impl IntoIterator<Item = (&'a str, &'a Catalogue)>,
    ) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let mut findings = Vec::new();
        if sources.is_empty() {
            let none = Source::new("policy", "");
            findings.push(
                none.finding(Severity::Error, None, None, "no policy files")
                    .help("name a `.cedar` file, a folder that holds some, or a preset"),
            );
        }
        let mut parsed = Vec::new();
        for (file, source) in sources.iter().enumerate() {
            parse(file, source, &mut parsed, &mut findings);
        }
        find_duplicates(sources, &parsed, &mut findings);
        if !findings.iter().any(|finding| finding.severity == Severity::Error) {
            let catalogues: Vec<_> = catalogues.into_iter().collect();
            findings.extend(check(sources, &parsed, &catalogues));
        }
        sort(sources, &mut findings);
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(findings);
        }
        Ok((Self::assemble(parsed, sources), findings))
    }

    /// Everything that is made ahead of traffic.
    fn assemble(parsed: Vec<Parsed>, sources: &[Source]) -> Self {
        let entries: Vec<Entry> = parsed.into_iter().map(|policy| entry(policy, sources)).collect();
        Self {
            index: Index::new(entries.iter().map(|entry| &entry.scope)),
            entries,
            digest: digest(sources),
            files: sources.len(),
            slices: Bounded::new(MOST_SLICES),
        }
    }

    /// Without the checker, so that tests can hold policies against it that it would refuse.
    #[cfg(test)]
    pub(crate) fn unchecked(text: &str) -> Self {
        let sources = [Source::new("p.cedar", text)];
        let (mut parsed, mut findings) = (Vec::new(), Vec::new());
        parse(0, &sources[0], &mut parsed, &mut findings);
        assert!(findings.is_empty(), "{findings:#?}\n{text}");
        Self::assemble(parsed, &sources)
    }
}

/// Parses one file and reads its annotations.
fn parse(file: usize, source: &Source, parsed: &mut Vec<Parsed>, findings: &mut Vec<Finding>) {
    let set: PolicySet = match source.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: &cedar_policy::ParseErrors = &errors;
            for error in errors.iter() {
                let offset = first_label(error).map(|(offset, _)| offset);
                let mut finding = source.finding(Severity::Error, offset, None, error.to_string());
                finding.help = error.help().map(|help| help.to_string());
                findings.push(finding);
            }
            return;
        }
    };
    if set.num_of_templates() > 0 {
        findings.push(
            source
                .finding(
                    Severity::Error,
                    source.text.find("?principal").or_else(|| source.text.find("?resource")),
                    None,
                    "templates are not supported",
                )
                .help("write one policy per caller or group; a group keeps that short"),
        );
    }
    // Cedar numbers the policies of a text in their order.
    for number in 0..set.num_of_policies() {
        let Some(policy) = set.policy(&PolicyId::new(format!("policy{number}"))) else {
            // A policy that is passed over could be the one that denies.
            findings.push(source.finding(Severity::Error, None, None, format!("policy {} is not usable", number + 1)));
            continue;
        };
        let start = policy.as_ref().loc().map(|loc| loc.start());
        let derived = format!("{}:{}", source.file, number + 1);
        let id = policy.annotation("id").unwrap_or(&derived).to_owned();
        let mut report = |message: String, help: &str| {
            findings.push(source.finding(Severity::Error, start, Some(&id), message).help(help));
        };
        if id.is_empty() || id.len() > MOST_ID || id.chars().any(char::is_control) {
            report("`@id` must have 1 to 128 printable characters".to_owned(), "the id names the policy in the log");
        }
        let ask = match policy.annotation("ask") {
            None => None,
            Some(_) if policy.effect() == Effect::Permit => {
                report("`@ask` on a `permit`".to_owned(), "put `@ask` on a `forbid`: it says who may lift it");
                None
            }
            Some("operator") => Some(Ask::Operator),
            Some("caller") => Some(Ask::Caller),
            Some(_) => {
                report("`@ask` takes \"operator\" or \"caller\"".to_owned(), "say who must approve");
                None
            }
        };
        let policy = policy.new_id(PolicyId::new(&id));
        let usable = policy.to_pst().and_then(|tree| {
            let tree = tree.body().clone();
            Ok((form(&tree)?, tree))
        });
        match usable {
            Ok((full, tree)) => {
                warn_annotations(source, start, &id, &policy, findings);
                parsed.push(Parsed { file, start, id, ask, tree, full, policy });
            }
            Err(error) => {
                findings.push(source.finding(Severity::Error, start, Some(&id), format!("not usable: {error}")))
            }
        }
    }
}

fn warn_annotations(source: &Source, start: Option<usize>, id: &str, policy: &Policy, findings: &mut Vec<Finding>) {
    for (name, _) in policy.annotations() {
        if !ANNOTATIONS.contains(&name) {
            let mut finding = source.finding(Severity::Error, start, Some(id), format!("unknown annotation `@{name}`"));
            let near = nearest(name, ANNOTATIONS);
            finding.help = Some(match near.first() {
                Some(near) => format!("did you mean `@{near}`?"),
                None => "known are `@id`, `@reason`, `@ask`, and `@note` for anything else".to_owned(),
            });
            findings.push(finding);
        }
    }
    let unheard = policy.effect() == Effect::Permit && policy.annotation("reason").is_some();
    if unheard {
        findings.push(
            source
                .finding(Severity::Warning, start, Some(id), "nobody reads the `@reason` of a `permit`")
                .help("callers read the reasons of `forbid` policies; use `@note` for remarks"),
        );
    }
}

fn find_duplicates(sources: &[Source], parsed: &[Parsed], findings: &mut Vec<Finding>) {
    let mut seen: HashMap<&str, &Parsed> = HashMap::new();
    for policy in parsed {
        let Some(first) = seen.insert(&policy.id, policy) else { continue };
        let (Some(source), Some(other)) = (sources.get(policy.file), sources.get(first.file)) else { continue };
        let (line, _) = other.position(first.start.unwrap_or_default());
        findings.push(
            source
                .finding(
                    Severity::Error,
                    policy.start,
                    Some(&policy.id),
                    format!("the id is already taken in {}:{line}", other.file),
                )
                .help("give every policy its own `@id`"),
        );
    }
}

/// Offset and length of the first place a diagnostic points at.
pub(crate) fn first_label(diagnostic: &dyn Diagnostic) -> Option<(usize, usize)> {
    let label = diagnostic.labels()?.next()?;
    Some((label.offset(), label.len()))
}

fn sort(sources: &[Source], findings: &mut Vec<Finding>) {
    let place = |file: &str| sources.iter().position(|source| source.file == file);
    findings.sort_by(|left, right| {
        (place(&left.file), left.line, left.column, left.severity).cmp(&(
            place(&right.file),
            right.line,
            right.column,
            right.severity,
        ))
    });
    findings.dedup();
}

fn entry(parsed: Parsed, sources: &[Source]) -> Entry {
    let Parsed { file, start, id, ask, tree, full, policy } = parsed;
    let source = sources.get(file);
    let id: Arc<str> = Arc::from(id);
    Entry {
        alone: Arc::from([Arc::clone(&id)]),
        id,
        effect: policy.effect(),
        reason: policy.annotation("reason").filter(|reason| !reason.is_empty()).map(Arc::from),
        ask,
        scope: Scope::of(&tree),
        full,
        may_call: weakened(&tree, Unknown::Call),
        may_subject: weakened(&tree, Unknown::Subject),
        file: source.map(|source| source.file.clone()).unwrap_or_default(),
        line: source.map_or(0, |source| source.position(start.unwrap_or_default()).0),
    }
}

fn weakened(tree: &Template, unknown: Unknown) -> Option<Form> {
    match may(tree, unknown).and_then(|weak| weak.as_ref().map(form).transpose()) {
        Ok(form) => form,
        // Not expressible: a permit then may allow anything in its scope, a forbid may forbid nothing. Both show too much, never too little.
        Err(_) if tree.effect == pst::Effect::Permit => form(&bare(tree)).ok(),
        Err(_) => None,
    }
}

fn form(tree: &Template) -> Result<Form, PstConstructionError> {
    let policy = Policy::from_pst(pst::Policy::Static(StaticPolicy::try_from(tree.clone())?))?;
    let policy: &cedar_policy_core::ast::Policy = policy.as_ref();
    Ok(Form { condition: Arc::new(policy.condition()), needs: needs_of_policy(tree) })
}

/// Texts only, in order, each with its length in front so that no two sets share an input. The same policies in another folder are the same policies.
fn digest(sources: &[Source]) -> String {
    let mut hash = Sha256::new();
    for source in sources {
        hash.update(u64::try_from(source.text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(source.text.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
