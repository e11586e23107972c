//! One arm for each transport: the only place that knows which upstreams exist.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::{Ledger, Notice, Record};
use portcullis_core::upstream::Upstream;
use portcullis_identity::chain::{ChainSigner, Direction};
use portcullis_server::SystemClock;
use portcullis_upstream::{
    Children, EventStreams, HealthBoard, HttpUpstream, PipeUpstream, SettingsError, StderrSink, WebSockets,
};

use super::care::{self, Cared};
use crate::config::{Config, Transport, UpstreamConfig};
use crate::finding::Finding;
use crate::out;

/// Makes the upstream of one server with everything around it; opens no connection and starts no child. `chain` signs what call chains tell
/// the next gateway.
///
/// # Errors
/// Everything that cannot work, with its place.
pub(crate) fn make(
    config: &Config,
    server: &UpstreamConfig,
    board: &HealthBoard,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    chain: Option<Arc<ChainSigner>>,
) -> Result<Cared, Vec<Finding>> {
    let told = Arc::clone(&clock);
    let has_child = server.ways.iter().any(|way| matches!(way.transport, Transport::Stdio(_)));
    let code = if has_child { "child_stderr" } else { "server_noise" };
    let sink = StderrSink::new(move |server, line| {
        tracing::info!(%server, "{}", out::escaped(line));
        let (at, server, detail) = (told.now(), Some(Arc::from(server)), line.to_owned());
        // What cannot be written is counted by the ledger, like everything it loses.
        let _lost = ledger.append(Record::Notice(Box::new(Notice { at, code, server, detail })));
    });
    let ways = Maker { config, server, clock, chain, sink, here: true }.ways()?;
    care::care(config, server, ways, board)
}

/// What cannot work, as far as that can be told without contacting anyone.
pub(crate) fn check(config: &Config) -> Vec<Finding> {
    let (clock, sink): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), StderrSink::new(|_, _| {}));
    let chain = match chain_signer(config) {
        Ok(chain) => chain,
        Err(finding) => return vec![*finding],
    };
    let board = HealthBoard::new(Arc::new(|_| {}));
    let of = |server| {
        let (clock, chain, sink) = (Arc::clone(&clock), chain.clone(), sink.clone());
        let ways = Maker { config, server, clock, chain, sink, here: false }.ways();
        ways.and_then(|ways| care::care(config, server, ways, &board)).err().unwrap_or_default()
    };
    config.servers.iter().flat_map(of).collect()
}

/// What signs our entry in call chains, if there is a key to sign with. Its keys are read once: the upstream is made at the start.
pub(crate) fn chain_signer(config: &Config) -> Result<Option<Arc<ChainSigner>>, Box<Finding>> {
    let chains = &config.server.identity.chains;
    let signs = chains.keys.iter().any(|key| key.direction != Direction::Incoming);
    let signer = signs.then(|| ChainSigner::new(chains).map(Arc::new)).transpose();
    signer.map_err(|why| Box::new(config.finding("identity.chains", why)))
}

/// A setting that cannot work, with its place. The settings' own errors begin with the name of the key.
pub(super) fn complaint(config: &Config, section: &str, error: &SettingsError) -> Finding {
    let text = error.to_string();
    let named = text.strip_prefix('`').and_then(|rest| rest.split_once("`: "));
    match named {
        Some((key, rest)) => config.finding(&format!("{section}.{key}"), format!("`{key}` {}", colon(rest))),
        None => config.finding(section, text),
    }
}

/// `is empty` follows its subject as it is; anything else after a colon.
fn colon(text: &str) -> String {
    let verb = ["is ", "has ", "must ", "cannot "].iter().any(|verb| text.starts_with(verb));
    if verb { text.to_owned() } else { format!("cannot work: {text}") }
}

/// What the upstream of one server is made of.
struct Maker<'a> {
    config: &'a Config,
    server: &'a UpstreamConfig,
    clock: Arc<dyn Clock>,
    chain: Option<Arc<ChainSigner>>,
    sink: StderrSink,
    /// The server is to be started on this machine, so its program must exist; a check may run elsewhere.
    here: bool,
}

impl Maker<'_> {
    /// The upstreams of each way, in their order: one, or its replicas.
    fn ways(&self) -> Result<Vec<Vec<Arc<dyn Upstream>>>, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut ways = Vec::with_capacity(self.server.ways.len());
        for way in &self.server.ways {
            match self.transport(&way.transport) {
                Ok(upstream) => ways.push(upstream),
                Err(error) => findings.push(complaint(self.config, &way.key, &error)),
            }
        }
        if findings.is_empty() { Ok(ways) } else { Err(findings) }
    }

    fn transport(&self, transport: &Transport) -> Result<Vec<Arc<dyn Upstream>>, SettingsError> {
        let name = Arc::from(self.server.name.as_str());
        let limits = self.config.server.limits.reader();
        let alone = |upstream: Arc<dyn Upstream>| vec![upstream];
        Ok(match transport {
            Transport::Http(settings) => {
                let mut replicas: Vec<Arc<dyn Upstream>> = Vec::new();
                for settings in settings.replicas()? {
                    let (name, limits, clock) = (Arc::clone(&name), limits, Arc::clone(&self.clock));
                    replicas.push(HttpUpstream::new(name, &settings, limits, clock, self.chain.clone())?);
                }
                replicas
            }
            Transport::Stdio(settings) => {
                let upstream = PipeUpstream::<Children>::new(name, settings, limits, guardian(), self.sink.clone())?;
                if self.here {
                    upstream.find_program()?;
                }
                alone(upstream)
            }
            Transport::WebSocket(settings) => {
                let (clock, sink) = (Arc::clone(&self.clock), self.sink.clone());
                alone(PipeUpstream::<WebSockets>::new(name, settings, limits, clock, sink)?)
            }
            Transport::HttpSse(settings) => {
                let (clock, chain, sink) = (Arc::clone(&self.clock), self.chain.clone(), self.sink.clone());
                alone(PipeUpstream::<EventStreams>::new(name, settings, limits, clock, chain, sink)?)
            }
        })
    }
}

/// Our own program, which ties the life of a child to ours. The kernel's name for it stays right when the file is replaced by an upgrade.
fn guardian() -> Option<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Some(own) } else { std::env::current_exe().ok() }
}

/// What the server is, for a person: its ways. Shows no secret: headers and environment are left out.
pub(crate) fn describe(config: &UpstreamConfig) -> String {
    let ways: Vec<_> = config.ways.iter().map(|way| describe_transport(&way.transport)).collect();
    ways.join(", else ")
}

fn describe_transport(transport: &Transport) -> String {
    match transport {
        Transport::Http(settings) => match &settings.socket {
            Some(socket) => out::clipped(&format!("{} on {}", settings.url, socket.display()), 100),
            None if settings.urls.is_empty() => out::clipped(&settings.url, 100),
            None => out::clipped(&settings.urls.join(", "), 100),
        },
        Transport::WebSocket(settings) => out::clipped(&settings.url, 100),
        Transport::HttpSse(settings) => out::clipped(&settings.url, 100),
        Transport::Stdio(settings) => {
            // The end of a long path says more than its beginning.
            let program = Path::new(&settings.command).file_name().and_then(|name| name.to_str());
            let words: Vec<&str> = std::iter::once(program.unwrap_or(&settings.command))
                .chain(settings.args.iter().map(String::as_str))
                .collect();
            out::clipped(&words.join(" "), 100)
        }
    }
}
