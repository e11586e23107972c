//! From a checked configuration to what runs: policies and guards into a plan, transports into upstreams. Everything here works
//! without a socket, so that `check`, `explain` and `run` judge by the very same plan.

mod care;
mod sources;
mod upstream;

use std::fmt::Write;
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Gate;
use portcullis_core::guard::Guard;
use portcullis_core::naming::{Conflict, ConflictKind};
use portcullis_policy::{Policies, PolicyGuard, Summary};
use portcullis_server::Plan;
use sha2::{Digest, Sha256};

pub(crate) use self::care::{Cared, Checked, board as health_board};
pub(crate) use self::sources::{find as policy_sources, from_policy};
pub(crate) use self::upstream::{
    chain_signer, check as check_upstreams, describe as describe_upstream, make as make_upstream,
};
use crate::config::{Config, PolicyPath, PrefixWord, UpstreamConfig};
use crate::finding::Finding;

/// The plans of all paths, ready to be put in force, and what there is to say about them.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Of every path without policies of its own.
    pub(crate) common: Judged,
    /// Of the others, by path.
    own: Vec<(String, Judged)>,
    pub(crate) warnings: Vec<Finding>,
}

/// One plan.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) plan: Plan,
    /// The decision point itself, for `explain`.
    pub(crate) policy: Arc<PolicyGuard>,
    pub(crate) summary: Summary,
}

impl Loaded {
    /// What judges at a path.
    pub(crate) fn at(&self, path: &str) -> &Judged {
        self.own.iter().find(|(own, _)| own == path).map_or(&self.common, |(_, judged)| judged)
    }

    /// Every path with its plan.
    pub(crate) fn plans(&self, config: &Config) -> Vec<(String, Plan)> {
        config.endpoints.iter().map(|endpoint| (endpoint.path.clone(), self.at(&endpoint.path).plan.clone())).collect()
    }
}

/// The servers by name, each with what it offers; the catalogue of one that could not be asked is unread. Empty: nobody said which servers
/// there are.
pub(crate) type Known = Vec<(String, Arc<Catalogue>)>;

/// Which policies are in force, and whether anybody chose them.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) paths: Vec<PolicyPath>,
    /// Nobody chose: `observe`, on a loopback listener only.
    pub(crate) by_default: bool,
}

/// The policies to use, or `None` when nobody chose any and the listener is not loopback: an open port without a policy is a mistake.
pub(crate) fn choose(config: &Config) -> Option<Chosen> {
    if !config.policy.is_empty() {
        return Some(Chosen { paths: config.policy.clone(), by_default: false });
    }
    let loopback = config.server.listen.ip().is_loopback();
    loopback.then(|| Chosen { paths: vec![PolicyPath::Preset("observe")], by_default: true })
}

/// What of the servers is known; of the others, that they are there.
pub(crate) fn known(config: &Config, read: impl Fn(&str) -> Option<Arc<Catalogue>>) -> Known {
    let of = |server: &UpstreamConfig| (server.name.clone(), read(&server.name).unwrap_or_default());
    config.servers.iter().map(of).collect()
}

/// Loads the policies and builds the gates.
///
/// # Errors
/// Everything that was found, warnings included, when something is an error.
pub(crate) fn load(config: &Config, chosen: &Chosen, known: &Known) -> Result<Loaded, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut take = |made: Result<(Judged, Vec<Finding>), Vec<Finding>>| match made {
        Ok((judged, warnings)) => {
            findings.extend(warnings);
            Some(judged)
        }
        Err(found) => {
            findings.extend(found);
            None
        }
    };
    let common = take(judged(config, &chosen.paths, known));
    let mut own = Vec::new();
    for endpoint in config.endpoints.iter().filter(|endpoint| !endpoint.policy.is_empty()) {
        let here =
            |(name, _): &&(String, Arc<Catalogue>)| config.servers_of(endpoint).any(|server| server.name == *name);
        let here: Known = known.iter().filter(here).cloned().collect();
        own.extend(take(judged(config, &endpoint.policy, &here)).map(|judged| (endpoint.path.clone(), judged)));
    }
    // One text may be in force at several paths.
    let mut seen = Vec::with_capacity(findings.len());
    findings.retain(|finding| {
        !seen.contains(finding) && {
            seen.push(finding.clone());
            true
        }
    });
    match common {
        Some(common) if !findings.iter().any(Finding::is_error) => {
            findings.extend(conflicts(config, known));
            Ok(Loaded { common, own, warnings: findings })
        }
        _ => Err(findings),
    }
}

fn judged(config: &Config, paths: &[PolicyPath], known: &Known) -> Result<(Judged, Vec<Finding>), Vec<Finding>> {
    let sources = policy_sources(paths)?;
    let convert = |findings: Vec<portcullis_policy::Finding>| findings.into_iter().map(from_policy).collect::<Vec<_>>();
    let known = known.iter().map(|(name, catalogue)| (name.as_str(), &**catalogue));
    let (policies, warnings) = Policies::load(&sources, known).map_err(convert)?;
    let digest = digest(config, &policies);
    let summary = policies.summary();
    let policy = Arc::new(PolicyGuard::new(Arc::new(policies), config.server.limits.reader()));
    let decides: Arc<dyn Guard> = Arc::clone(&policy) as Arc<dyn Guard>;
    let gate = Arc::new(Gate::new(decides, portcullis_guards::build(&config.guards)));
    let plan = Plan { gate, digest: Arc::from(digest), refusals: config.refusals };
    Ok((Judged { plan, policy, summary }, convert(warnings)))
}

/// Names that clients of merged servers could mistake, once for each path where they meet first.
pub(crate) fn conflicts(config: &Config, known: &Known) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for endpoint in &config.endpoints {
        let Some(names) = &endpoint.names else { continue };
        let shown: Vec<Arc<Catalogue>> = endpoint
            .servers
            .iter()
            .zip(&endpoint.tools)
            .map(|(server, choice)| {
                let catalogue = known.get(*server).map(|(_, catalogue)| Arc::clone(catalogue)).unwrap_or_default();
                if choice.is_all() { catalogue } else { Arc::new(catalogue.only(&|name| choice.has(name))) }
            })
            .collect();
        for (kind, text) in in_few_words(names.conflicts(&shown), config.gateway.prefix) {
            if !findings.iter().any(|finding| finding.text == text) {
                let key = endpoint.key.as_deref().unwrap_or("upstreams");
                let finding = config.finding(key, text).warning().named(kind.code());
                findings.push(finding.help(way_out(kind, config.gateway.prefix)));
            }
        }
    }
    findings
}

/// Each as a sentence. Where every name has a prefix, servers that have many names in common (two of the same kind, say) are one sentence: it is no news
/// about each name, and must not hide what is.
fn in_few_words(conflicts: Vec<Conflict>, prefix: PrefixWord) -> Vec<(ConflictKind, String)> {
    let same = |one: &Conflict, other: &Conflict| {
        let servers = |of: &Conflict| of.names.iter().map(|named| Arc::clone(&named.server)).collect::<Vec<_>>();
        let common = one.kind == ConflictKind::Same && prefix == PrefixWord::Always;
        common && (one.kind, one.of) == (other.kind, other.of) && servers(one) == servers(other)
    };
    let mut groups: Vec<Vec<Conflict>> = Vec::new();
    for conflict in conflicts {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| same(first, &conflict))) {
            Some(group) => group.push(conflict),
            None => groups.push(vec![conflict]),
        }
    }
    groups.iter().filter_map(|group| Some((group.first()?.kind, sentence(group)?))).collect()
}

fn sentence(group: &[Conflict]) -> Option<String> {
    let [first, _, ..] = group else { return group.first().map(ToString::to_string) };
    let quoted = |name: &str| format!("`{}`", name.escape_debug());
    let names = group.iter().filter_map(|conflict| Some(quoted(&conflict.names.first()?.name)));
    let (names, servers): (Vec<_>, Vec<_>) =
        (names.collect(), first.names.iter().map(|named| quoted(&named.server)).collect());
    Some(format!(
        "{} offer {} {}s of the same names: {}",
        servers.join(" and "),
        group.len(),
        first.of.as_str(),
        names.join(", ")
    ))
}

/// What an operator can do about it, if it is meant to stay.
const fn way_out(kind: ConflictKind, prefix: PrefixWord) -> &'static str {
    match (kind, prefix) {
        (ConflictKind::Same, PrefixWord::Never) => {
            "the first server keeps the name; `gateway: { prefix: always }` shows both, `endpoints` can leave one out"
        }
        (ConflictKind::Same, PrefixWord::Always | PrefixWord::OnConflict) => {
            "the prefix tells them apart; `endpoints` can leave one out"
        }
        (ConflictKind::Alike, _) => "make sure that none imitates another; `endpoints` can leave one out",
        (ConflictKind::Long, _) => {
            "clients see it shortened, always in the same way; policies and the log have its own name"
        }
    }
}

/// Names configuration and policies in the log: equal plans, equal digests. 32 hexadecimal digits are plenty to tell plans apart.
fn digest(config: &Config, policies: &Policies) -> String {
    let mut hash = Sha256::new();
    hash.update(policies.digest().as_bytes());
    // Debug shows everything that decides, and no secret.
    let Config { server, refusals, servers, gateway, endpoints, guards, .. } = config;
    // They come and go while the plan stays; notices in the log tell of them.
    let mut server = server.clone();
    server.identity.managed.clear();
    hash.update(format!("{server:?} {refusals:?} {servers:?} {gateway:?} {endpoints:?} {guards:?}").as_bytes());
    hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
