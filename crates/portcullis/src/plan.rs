//! From a checked configuration to what runs: policies and guards into a plan, transports into upstreams. Everything here works
//! without a socket, so that `check`, `explain` and `run` judge by the very same plan.

mod care;
mod remarks; // what is worth a look in what servers offer
mod sources;
mod upstream;

use std::fmt::Write;
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::gate::Gate;
use portcullis_core::guard::Guard;
use portcullis_policy::{Policies, PolicyGuard, Summary};
use portcullis_server::Plan;
use portcullis_upstream::Choice;
use sha2::{Digest, Sha256};

pub(crate) use self::care::{Cared, Checked, board as health_board};
pub(crate) use self::remarks::remarks;
pub(crate) use self::sources::{find as policy_sources, from_policy};
pub(crate) use self::upstream::{
    chain_signer, check as check_upstreams, describe as describe_upstream, make as make_upstream,
};
use crate::config::{Config, EndpointConfig, PolicyPath, UpstreamConfig};
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

/// What an endpoint shows of each of its servers, in their order.
pub(crate) fn shown(endpoint: &EndpointConfig, known: &Known) -> Vec<Arc<Catalogue>> {
    let of = |(server, choice): (&usize, &Choice)| {
        let catalogue = known.get(*server).map(|(_, catalogue)| Arc::clone(catalogue)).unwrap_or_default();
        if choice.is_all() { catalogue } else { Arc::new(catalogue.only(&|name| choice.has(name))) }
    };
    endpoint.servers.iter().zip(&endpoint.tools).map(of).collect()
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
            findings.extend(remarks(config, known));
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
