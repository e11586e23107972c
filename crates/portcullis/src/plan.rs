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
use portcullis_policy::{Policies, PolicyGuard, Summary};
use portcullis_server::Plan;
use sha2::{Digest, Sha256};

pub(crate) use self::care::{Cared, board as health_board, care, check as check_care, complaint as care_complaint};
pub(crate) use self::sources::{find as policy_sources, from_policy};
pub(crate) use self::upstream::{
    chain_signer, check as check_upstream, complaint as upstream_complaint, describe as describe_upstream,
    make as make_upstream,
};
use crate::config::{Config, PolicyPath};
use crate::finding::Finding;

/// A plan ready to be put in force, and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) plan: Plan,
    /// The decision point itself, for `explain`.
    pub(crate) policy: Arc<PolicyGuard>,
    pub(crate) summary: Summary,
    pub(crate) warnings: Vec<Finding>,
}

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

/// Loads the policies and builds the gate. `catalogue`: what the server offers, if it is known.
///
/// # Errors
/// Everything that was found, warnings included, when something is an error.
pub(crate) fn load(config: &Config, chosen: &Chosen, catalogue: Option<&Catalogue>) -> Result<Loaded, Vec<Finding>> {
    let sources = policy_sources(&chosen.paths)?;
    let known =
        catalogue.filter(|catalogue| catalogue.is_read()).map(|catalogue| (config.server_name.as_str(), catalogue));
    let convert = |findings: Vec<portcullis_policy::Finding>| findings.into_iter().map(from_policy).collect::<Vec<_>>();
    let (policies, warnings) = Policies::load(&sources, known).map_err(convert)?;
    let digest = digest(config, &policies);
    let summary = policies.summary();
    let policy = Arc::new(PolicyGuard::new(Arc::new(policies), config.server.limits.reader()));
    let decides: Arc<dyn Guard> = Arc::clone(&policy) as Arc<dyn Guard>;
    let gate = Arc::new(Gate::new(decides, portcullis_guards::build(&config.guards)));
    let plan = Plan { gate, digest: Arc::from(digest), refusals: config.refusals };
    Ok(Loaded { plan, policy, summary, warnings: convert(warnings) })
}

/// Names configuration and policies in the log: equal plans, equal digests. 32 hexadecimal digits are plenty to tell plans apart.
fn digest(config: &Config, policies: &Policies) -> String {
    let mut hash = Sha256::new();
    hash.update(policies.digest().as_bytes());
    // Debug shows everything that decides, and no secret.
    let Config { server, refusals, server_name, upstream, guards, .. } = config;
    // They come and go while the plan stays; notices in the log tell of them.
    let mut server = server.clone();
    server.identity.managed.clear();
    hash.update(format!("{server:?} {refusals:?} {server_name:?} {upstream:?} {guards:?}").as_bytes());
    hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
