//! TLS at the listener: certificates from files that are read again when they change, HTTP/2 and HTTP/1.1 by ALPN, client certificates where
//! the operator wants them. What a client certificate says is in `certificate.rs`; what it is worth is for the *identify* step.

pub(crate) mod certificate;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. 5 s: a look is three calls of `stat`, and no certificate is renewed in its last seconds.
pub(crate) const WATCH_ROUND: Duration = Duration::from_secs(5);
/// Bytes of one file. 1 MiB: several times the bundle of all public authorities.
const MOST_BYTES: u64 = 1 << 20;

/// TLS 1.2 and 1.3 at the listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file: our certificate, then its intermediates. Read again within five seconds when it changes, and on SIGHUP; while the new files
    /// cannot be used, the old ones stay in force, and the log says so.
    pub certificate: PathBuf,
    /// PEM file: the private key of the first certificate. Read again like it.
    pub key: PathBuf,
    /// PEM file: authorities that sign client certificates, and nobody else's. Read again like the others; after a change, certificates that
    /// were accepted before prove nothing until their connection is opened anew. Default: none.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for certificates. Default `off`, because without `client_ca` nobody could check them.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// Whether clients are asked for certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Nobody is asked.
    #[default]
    Off,
    /// Who shows none may prove itself otherwise; a wrong one ends the handshake all the same.
    Optional,
    /// Who shows none does not get past the handshake.
    Required,
}

/// The TLS of one listener.
#[derive(Debug)]
pub(crate) struct Tls {
    settings: TlsSettings,
    current: ArcSwap<InForce>,
    /// How the files looked when they were last read, well or badly.
    looks: Mutex<Vec<Option<Look>>>,
}

/// What handshakes use now.
#[derive(Clone, Debug)]
struct InForce {
    config: Arc<ServerConfig>,
    /// The authorities as they were read.
    authorities: Vec<CertificateDer<'static>>,
    /// Fires when other authorities take their place.
    trust: CancellationToken,
}

/// Enough of a file's metadata to notice a change: in place, or by another file (links as Kubernetes swaps them are followed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl TlsSettings {
    /// Makes paths start at the folder of the file that names them.
    pub fn relative_to(&mut self, folder: &Path) {
        for path in [Some(&mut self.certificate), Some(&mut self.key), self.client_ca.as_mut()].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }
}

impl Tls {
    /// # Errors
    /// Settings that contradict themselves, or files that cannot be used. The text names the key.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, String> {
        contradictions(settings)?;
        // Before they are read: what changes from now on is noticed.
        let looks = looks(settings);
        let (config, authorities) = read(settings)?;
        let in_force = InForce { config: Arc::new(config), authorities, trust: CancellationToken::new() };
        Ok(Self { settings: settings.clone(), current: ArcSwap::from_pointee(in_force), looks: Mutex::new(looks) })
    }

    /// What to shake hands with, and the token that fires when the authorities it knows are no longer trusted.
    pub(crate) fn acceptor(&self) -> (TlsAcceptor, CancellationToken) {
        let in_force = self.current.load();
        (TlsAcceptor::from(Arc::clone(&in_force.config)), in_force.trust.clone())
    }

    /// Reads the files again if they have changed, or if `asked`. `None`: there was nothing to do. Blocks on files.
    ///
    /// # Errors
    /// They cannot be used; the old ones stay in force, and the same files are not tried again.
    pub(crate) fn refresh(&self, asked: bool) -> Option<Result<(), String>> {
        let mut seen = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = looks(&self.settings);
        if !asked && *seen == now {
            return None;
        }
        *seen = now;
        let read = read(&self.settings).map(|(config, authorities)| {
            let before = self.current.load_full();
            let (config, same) = (Arc::new(config), before.authorities == authorities);
            let trust = if same { before.trust.clone() } else { CancellationToken::new() };
            self.current.store(Arc::new(InForce { config, authorities, trust }));
            if !same {
                before.trust.cancel();
            }
        });
        Some(read)
    }
}

/// # Errors
/// Authorities without a use for them, or the reverse.
pub(crate) fn contradictions(settings: &TlsSettings) -> Result<(), String> {
    match (&settings.client_ca, settings.client_certificates) {
        (Some(_), ClientCertificates::Off) => Err("tls.client_ca: nobody is asked for a certificate; set \
             `tls.client_certificates` to `optional` or `required`"
            .to_owned()),
        (None, ClientCertificates::Optional | ClientCertificates::Required) => {
            Err("tls.client_certificates: nobody could check them; name the authorities in `tls.client_ca`".to_owned())
        }
        _ => Ok(()),
    }
}

fn looks(settings: &TlsSettings) -> Vec<Option<Look>> {
    let look = |path: &Path| {
        let data = fs::metadata(path).ok()?;
        let modified = (data.mtime(), data.mtime_nsec());
        Some(Look { device: data.dev(), inode: data.ino(), bytes: data.len(), modified })
    };
    settings.files().map(look).collect()
}

/// Everything a handshake needs, from the files.
fn read(settings: &TlsSettings) -> Result<(ServerConfig, Vec<CertificateDer<'static>>), String> {
    let chain = certificates(&settings.certificate).map_err(|why| format!("tls.certificate: {why}"))?;
    let key = pem(&settings.key)
        .and_then(|pem| {
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable(&settings.key, "holds no private key"))
        })
        .map_err(|why| format!("tls.key: {why}"))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls: {error}"))?;
    let mut authorities = Vec::new();
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            authorities = certificates(path).map_err(|why| format!("tls.client_ca: {why}"))?;
            let mut roots = RootCertStore::empty();
            for authority in &authorities {
                let unfit = |error| format!("tls.client_ca: {}", unusable(path, error));
                roots.add(authority.clone()).map_err(unfit)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let optional = settings.client_certificates == ClientCertificates::Optional;
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| format!("tls.client_ca: {error}"))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("tls.certificate: {}", unusable(&settings.certificate, error)))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if settings.client_ca.is_some() {
        // A resumed session would carry a certificate that nobody looks at again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok((config, authorities))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = pem(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(|_| unusable(path, "is not PEM"))?;
    if all.is_empty() { Err(unusable(path, "holds no certificate")) } else { Ok(all) }
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        if fs::metadata(path)?.len() > MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MOST_BYTES} bytes")));
        }
        fs::read(path)
    };
    read().map_err(|error| unusable(path, format!("cannot be read: {error}")))
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> String {
    format!("`{}`: {why}", path.display())
}

#[cfg(test)]
mod tests;
