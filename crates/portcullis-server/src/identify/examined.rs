//! One request's proofs looked at without a gateway: for whoever wants to know what each yields. Keys of issuers are fetched; nothing else leaves.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri};
use portcullis_core::call::Call;
use portcullis_core::caller::Caller;
use portcullis_core::clock::Timestamp;
use portcullis_core::memory::Embedded;
use portcullis_core::proofs::Proofs;
use portcullis_core::refusal::Denial;

use super::{Asking, Directory};
use crate::answer::Refusal;
use crate::peer::Peer;
use crate::proxies::Proxies;
use crate::settings::ServerSettings;

/// What a request proves.
#[derive(Debug)]
pub struct Examined {
    pub caller: Arc<Caller>,
    pub proofs: Arc<Proofs>,
    /// When what proves the caller ends.
    pub until: Option<Timestamp>,
    directory: Arc<Directory>,
}

impl Examined {
    /// Takes a POST of `body` through *identify*, as if it came from this machine. What can be used once is new here.
    ///
    /// # Errors
    /// The settings cannot be used, or the request is refused.
    pub async fn new(
        settings: &ServerSettings,
        mut headers: HeaderMap,
        body: &[u8],
        server: &str,
        now: Timestamp,
    ) -> Result<Result<Self, Denial>, String> {
        let directory = Arc::new(Directory::new(settings, &settings.identity, None)?);
        let uri: Uri = settings.path.parse().map_err(|_| "path: no path".to_owned())?;
        headers.entry(HOST).or_insert(HeaderValue::from_static("localhost"));
        let proxies = Proxies::new(&settings.trusted_proxies)?;
        let peer = Peer::new(&proxies, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None);
        let via = match proxies.via(&peer, &uri, &headers) {
            Ok(via) => via,
            Err(Refusal::Denial(denial)) => return Ok(Err(denial)),
            Err(other) => return Err(other.detail()),
        };
        let (uri, headers, via) = (&uri, &headers, &via);
        let servers = &[Arc::from(server)];
        let asking = Asking { method: "POST", uri, headers, via, certificate: None, servers, now };
        let memory = Embedded::new(16);
        let identified = match directory.prove(&asking, &memory).await {
            Ok(mut identified) => match directory.bind(&asking, body, None, &memory, &mut identified).await {
                Ok(()) => identified,
                Err(denial) => return Ok(Err(denial)),
            },
            Err(denial) => return Ok(Err(denial)),
        };
        let caller = Arc::clone(&identified.known.caller);
        Ok(Ok(Self { caller, proofs: identified.proofs, until: identified.until, directory }))
    }

    /// Why a call with these proofs is refused for want of scope.
    #[must_use]
    pub fn lacks_scope(&self, call: &Call) -> Option<Denial> {
        self.directory.lacks_scope(call)
    }
}
