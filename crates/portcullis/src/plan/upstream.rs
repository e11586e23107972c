//! One arm for each transport: the only place that knows which upstreams exist.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_core::clock::Clock;
use portcullis_core::ledger::{Ledger, Notice, Record};
use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use portcullis_identity::chain::{ChainSigner, Direction};
use portcullis_server::SystemClock;
use portcullis_upstream::{Children, EventStreams, HttpUpstream, PipeUpstream, SettingsError, StderrSink, WebSockets};

use crate::config::{Config, Transport, UpstreamConfig};
use crate::finding::Finding;
use crate::out;

/// Makes the upstream; opens no connection and starts no child. `chain` signs what call chains tell the next gateway.
///
/// # Errors
/// A setting that cannot work, naming its key.
pub(crate) fn make(
    config: &UpstreamConfig,
    limits: Limits,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    chain: Option<Arc<ChainSigner>>,
) -> Result<Arc<dyn Upstream>, SettingsError> {
    let told = Arc::clone(&clock);
    let code = if matches!(config.transport, Transport::Stdio(_)) { "child_stderr" } else { "server_noise" };
    let sink = StderrSink::new(move |server, line| {
        tracing::info!(%server, "{}", out::escaped(line));
        let (at, server, detail) = (told.now(), Some(Arc::from(server)), line.to_owned());
        // What cannot be written is counted by the ledger, like everything it loses.
        let _lost = ledger.append(Record::Notice(Box::new(Notice { at, code, server, detail })));
    });
    build(config, limits, clock, chain, sink, true)
}

/// Whether the settings can work, as far as that can be told without contacting anyone.
pub(crate) fn check(config: &Config) -> Option<Finding> {
    let upstream = config.upstream.as_ref()?;
    let (limits, sink) = (config.server.limits.reader(), StderrSink::new(|_, _| {}));
    let chain = match chain_signer(config) {
        Ok(chain) => chain,
        Err(finding) => return Some(*finding),
    };
    let error = build(upstream, limits, Arc::new(SystemClock), chain, sink, false).err()?;
    Some(complaint(config, upstream, &error))
}

/// What signs our entry in call chains, if there is a key to sign with. Its keys are read once: the upstream is made at the start.
pub(crate) fn chain_signer(config: &Config) -> Result<Option<Arc<ChainSigner>>, Box<Finding>> {
    let chains = &config.server.identity.chains;
    let signs = chains.keys.iter().any(|key| key.direction != Direction::Incoming);
    let signer = signs.then(|| ChainSigner::new(chains).map(Arc::new)).transpose();
    signer.map_err(|why| Box::new(config.finding("identity.chains", why)))
}

/// A setting that cannot work, with its place. The settings' own errors begin with the name of the key.
pub(crate) fn complaint(config: &Config, upstream: &UpstreamConfig, error: &SettingsError) -> Finding {
    complaint_in(config, &format!("upstream.{}", upstream.transport.key()), error)
}

/// The same in a section that is known.
pub(super) fn complaint_in(config: &Config, section: &str, error: &SettingsError) -> Finding {
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

/// `here`: the server is to be started on this machine, so its program must exist; a check may run elsewhere.
fn build(
    config: &UpstreamConfig,
    limits: Limits,
    clock: Arc<dyn Clock>,
    chain: Option<Arc<ChainSigner>>,
    sink: StderrSink,
    here: bool,
) -> Result<Arc<dyn Upstream>, SettingsError> {
    let name = Arc::from(config.name.as_str());
    Ok(match &config.transport {
        Transport::Http(settings) => HttpUpstream::new(name, settings, limits, clock, chain)?,
        Transport::Stdio(settings) => {
            let upstream = PipeUpstream::<Children>::new(name, settings, limits, guardian(), sink)?;
            if here {
                upstream.find_program()?;
            }
            upstream
        }
        Transport::WebSocket(settings) => PipeUpstream::<WebSockets>::new(name, settings, limits, clock, sink)?,
        Transport::HttpSse(settings) => PipeUpstream::<EventStreams>::new(name, settings, limits, clock, chain, sink)?,
    })
}

/// Our own program, which ties the life of a child to ours. The kernel's name for it stays right when the file is replaced by an upgrade.
fn guardian() -> Option<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Some(own) } else { std::env::current_exe().ok() }
}

/// What the server is, for a person. Shows no secret: headers and environment are left out.
pub(crate) fn describe(config: &UpstreamConfig) -> String {
    match &config.transport {
        Transport::Http(settings) => match &settings.socket {
            Some(socket) => out::clipped(&format!("{} on {}", settings.url, socket.display()), 100),
            None => out::clipped(&settings.url, 100),
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
