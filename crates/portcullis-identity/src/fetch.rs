//! JSON from an authorization server: one bounded exchange that follows nothing. Which addresses may be asked at all is decided here and
//! nowhere else; what the answers mean is not.

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url, form_urlencoded};

/// Bytes of one answer. 256 KiB: the largest key sets and metadata of identity providers have some 20 KiB.
const MOST_BYTES: usize = 256 << 10;

/// For one exchange, from the name's lookup to the last byte. 5 s: somebody's request waits for it, and a provider that needs longer is
/// as good as down.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks authorization servers. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why there is no answer. Holds neither form fields nor credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Plain HTTP to another machine, another scheme, or user information in the URL.
    Insecure,
    /// The answer sends us elsewhere. Redirects are not followed: the address was configured, its replacement was not (F40).
    Redirect(StatusCode),
    /// Another status than 200, from `get`.
    Status(StatusCode),
    /// The answer is over 256 KiB.
    TooLarge,
    /// No complete answer within 5 s.
    TimedOut,
    /// Names, TCP, TLS or HTTP failed.
    Unreachable(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insecure => f.write_str("only https is asked, and http on loopback"),
            Self::Redirect(status) => write!(f, "status {}: redirects are not followed", status.as_u16()),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::TooLarge => write!(f, "the answer is over {MOST_BYTES} bytes"),
            Self::TimedOut => write!(f, "no complete answer within {LIMIT:?}"),
            Self::Unreachable(reason) => f.write_str(reason),
        }
    }
}

impl Error for FetchError {}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Trusts the certificates in the PEM file `ca` and no others; without it, the system's.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn new(ca: Option<&Path>) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match ca {
            Some(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
            // A machine without root certificates can still serve loopback and keys from files; https then fails when it is tried.
            None => match builder.clone().with_native_roots() {
                Ok(trusting) => trusting.with_no_client_auth(),
                Err(error) => {
                    tracing::warn!(%error, "no https authorization server can be asked");
                    builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
                }
            },
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// The body of a 200.
    ///
    /// # Errors
    /// Any other answer, or none.
    pub async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        let request = Request::builder().method(Method::GET);
        match self.exchange(url, request, Full::default()).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(FetchError::Status(status)),
        }
    }

    /// Posts a form, as the client `basic` if given (RFC 6749 §2.3.1: both halves are form-encoded first).
    ///
    /// # Errors
    /// No answer, or a redirect. What other statuses mean is for the caller to say.
    pub async fn post_form(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::builder()
            .method(Method::POST)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some((id, secret)) = basic {
            request = request.header(AUTHORIZATION, credentials(id, secret)?);
        }
        self.exchange(url, request, Full::from(body)).await
    }

    async fn exchange(
        &self,
        url: &Url,
        request: http::request::Builder,
        body: Full<Bytes>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        if !may_be_asked(url) {
            return Err(FetchError::Insecure);
        }
        let request = request
            .uri(url.as_str().split('#').next().unwrap_or_default())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .body(body)
            .map_err(|error| FetchError::Unreachable(error.to_string()))?;
        let exchange = async {
            let answer =
                self.client.request(request).await.map_err(|error| FetchError::Unreachable(innermost(&error)))?;
            let status = answer.status();
            if status.is_redirection() {
                return Err(FetchError::Redirect(status));
            }
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    FetchError::TooLarge
                } else {
                    FetchError::Unreachable(innermost(error.as_ref()))
                }
            })?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(LIMIT, exchange).await.unwrap_or(Err(FetchError::TimedOut))
    }
}

/// Whether an authorization server may be asked at this address: https, or plain http that does not leave the machine (F11, F40).
#[must_use]
pub fn may_be_asked(url: &Url) -> bool {
    let clean = url.username().is_empty() && url.password().is_none();
    clean
        && match url.scheme() {
            "https" => url.has_host(),
            "http" => is_loopback(url),
            _ => false,
        }
}

/// Whether the address is on this machine, whatever the resolver says: a literal address, or `localhost`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn credentials(id: &str, secret: &str) -> Result<HeaderValue, FetchError> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let value = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))));
    let mut value = HeaderValue::try_from(value).map_err(|error| FetchError::Unreachable(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let unusable = |reason: String| format!("`{}`: {reason}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("no certificate in it".to_owned())) } else { Ok(roots) }
}

/// The first cause: the layers around it say only that sending failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
