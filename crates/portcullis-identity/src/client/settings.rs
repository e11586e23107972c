//! What an operator may set about the tokens for one upstream. Contradictions are found before anything is sent.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::authentication::Authentication;
use super::{BadCredentials, bad};
use crate::Secret;
use crate::fetch::may_be_asked;

/// How the gateway gets access tokens for one server from an authorization server (OAuth 2.1). Each token is for this server alone (`resource`, F22), and
/// a caller's own token never goes to the server (F31, F32).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialSettings {
    /// How a token is got.
    pub grant: Grant,
    /// Issuer identifier of the authorization server, such as `https://login.example.com`. Its metadata says where tokens are given, unless
    /// `token_endpoint` does. One of the two is required; https only, except to loopback.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Address of the token endpoint, for a server without metadata. Default: what the metadata of `issuer` says.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// Who the gateway is at the authorization server; registered there beforehand.
    pub client_id: String,
    /// How the gateway proves to be this client. Default `client_secret_basic`: what every authorization server must support (RFC 6749 §2.3.1).
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
    /// The client's secret, for `client_secret_basic` and `client_secret_post`. Read anew for each token, so that a file can be replaced
    /// without a restart.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// The client's private key as PKCS #8 in PEM form (RSA also as PKCS #1), for `private_key_jwt`. Read anew for each token.
    #[serde(default)]
    pub private_key: Option<Secret>,
    /// Algorithm the private key is for. Default `ES256`: short signatures, and every authorization server knows it.
    #[serde(default)]
    pub private_key_algorithm: KeyAlgorithm,
    /// `kid` for the authorization server to find the public key by. Default none: it has one key for this client.
    #[serde(default)]
    pub private_key_id: Option<String>,
    /// Scopes to ask for. Default none: the authorization server gives its default for this client.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// `resource` (RFC 8707) of each token request. Default: the server's `url` without query and without a slash at its end, which is how MCP
    /// names a server.
    #[serde(default)]
    pub resource: Option<String>,
    /// `audience` of each token request, for authorization servers that want one beside `resource`. Default none.
    #[serde(default)]
    pub audience: Option<String>,
    /// For `token_exchange`: a JWT that says who acts for the caller (`actor_token`, RFC 8693 §2.1), such as the gateway's own workload token. Read anew
    /// for each token. Default none: the authorization server knows the actor as the client.
    #[serde(default)]
    pub actor_token: Option<Secret>,
    /// For `token_exchange`: how the gateway asks on its own account, for the server's version and its tools, and ends sessions whose callers are gone;
    /// there is no caller then. Default `client_credentials`: servers that want a token want it for these questions too.
    #[serde(default)]
    pub own_questions: OwnQuestions,
    /// A PEM file of the root certificates to trust for the authorization server, and no others. Default: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// Whose token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// One token of the gateway's own for all calls (RFC 6749 §4.4).
    ClientCredentials,
    /// One token for each caller, made from the access token with which the caller proved who it is (RFC 8693). A caller that proved itself in
    /// another way is refused.
    TokenExchange,
}

/// How a client proves to be itself at the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// The secret in the `Authorization` header (RFC 6749 §2.3.1).
    #[default]
    ClientSecretBasic,
    /// The secret in the form.
    ClientSecretPost,
    /// A signed assertion for each request (RFC 7523 §2.2); no secret leaves the gateway.
    PrivateKeyJwt,
}

/// Algorithms for assertions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    #[default]
    ES256,
    /// Ed25519.
    EdDSA,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
}

/// What the gateway's own questions carry when tokens are made from those of callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnQuestions {
    /// A token of the gateway's own; the client needs this grant too.
    #[default]
    ClientCredentials,
    /// Nothing: the server answers these to everybody.
    Unauthenticated,
}

impl Grant {
    /// Name on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }
}

/// Where tokens are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `issuer`, when known, is whom assertions are for.
    Given { endpoint: Url, issuer: Option<String> },
    /// In the issuer's metadata.
    Discovered { issuer: String },
}

impl CredentialSettings {
    /// Relative files are beside the configuration.
    pub fn relative_to(&mut self, folder: &Path) {
        let secrets = [&mut self.client_secret, &mut self.private_key, &mut self.actor_token];
        secrets.into_iter().flatten().for_each(|secret| secret.relative_to(folder));
        if let Some(file) = &mut self.ca_file {
            *file = folder.join(&*file);
        }
    }

    pub(super) fn place(&self) -> Result<Place, BadCredentials> {
        if let Some(issuer) = &self.issuer {
            address("issuer", issuer)?;
        }
        match (&self.token_endpoint, &self.issuer) {
            (Some(endpoint), issuer) => {
                Ok(Place::Given { endpoint: address("token_endpoint", endpoint)?, issuer: issuer.clone() })
            }
            (None, Some(issuer)) => Ok(Place::Discovered { issuer: issuer.clone() }),
            (None, None) => Err(bad("issuer", "is missing; set it, or `token_endpoint`")),
        }
    }

    pub(super) fn authentication(&self) -> Result<Authentication, BadCredentials> {
        let unused = |key, set: bool| {
            let method = self.client_authentication;
            if set {
                Err(bad(key, format!("is not used with `client_authentication: {}`", method.as_str())))
            } else {
                Ok(())
            }
        };
        if self.client_id.is_empty() {
            return Err(bad("client_id", "is empty"));
        }
        let authentication = match self.client_authentication {
            ClientAuthentication::PrivateKeyJwt => {
                unused("client_secret", self.client_secret.is_some())?;
                let key = self.private_key.clone().ok_or_else(|| bad("private_key", "is missing"))?;
                Authentication::PrivateKey {
                    key,
                    algorithm: self.private_key_algorithm,
                    id: self.private_key_id.clone(),
                }
            }
            method => {
                unused("private_key", self.private_key.is_some())?;
                unused("private_key_id", self.private_key_id.is_some())?;
                let secret = self.client_secret.clone().ok_or_else(|| bad("client_secret", "is missing"))?;
                match method {
                    ClientAuthentication::ClientSecretPost => Authentication::Post(secret),
                    _ => Authentication::Basic(secret),
                }
            }
        };
        Ok(authentication)
    }

    /// The scopes as they are asked for (RFC 6749 §3.3).
    pub(super) fn scope(&self) -> Result<Option<String>, BadCredentials> {
        let fits = |byte: u8| byte == b'!' || (b'#'..=b'[').contains(&byte) || (b']'..=b'~').contains(&byte);
        match self.scopes.iter().find(|scope| scope.is_empty() || !scope.bytes().all(fits)) {
            Some(scope) => Err(bad("scopes", format!("`{scope}` is not one scope"))),
            None => Ok((!self.scopes.is_empty()).then(|| self.scopes.join(" "))),
        }
    }

    /// What tokens are for. `upstream`: the server's endpoint.
    pub(super) fn resource(&self, upstream: &str) -> Result<String, BadCredentials> {
        let Some(given) = &self.resource else {
            let mut url =
                Url::parse(upstream).map_err(|error| bad("resource", format!("cannot be made from `url`: {error}")))?;
            // A query may hold a key.
            url.set_query(None);
            url.set_fragment(None);
            return Ok(url.as_str().trim_end_matches('/').to_owned());
        };
        match Url::parse(given) {
            Ok(url) if url.fragment().is_none() => Ok(given.clone()),
            Ok(_) => Err(bad("resource", "has a fragment (RFC 8707 §2)")),
            Err(error) => Err(bad("resource", format!("is not an absolute URI: {error}"))),
        }
    }

    /// What makes no sense without exchange.
    pub(super) fn check_exchange(&self) -> Result<(), BadCredentials> {
        if self.grant == Grant::TokenExchange {
            return Ok(());
        }
        if self.actor_token.is_some() {
            return Err(bad("actor_token", "is used with `grant: token_exchange` only"));
        }
        if self.own_questions == OwnQuestions::Unauthenticated {
            return Err(bad("own_questions", "is used with `grant: token_exchange` only"));
        }
        Ok(())
    }
}

impl ClientAuthentication {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

impl KeyAlgorithm {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
        }
    }
}

fn address(key: &'static str, text: &str) -> Result<Url, BadCredentials> {
    let url = Url::parse(text).map_err(|error| bad(key, format!("is not a URL: {error}")))?;
    if may_be_asked(&url) {
        Ok(url)
    } else {
        Err(bad(key, "must be https (http only to loopback), without user information"))
    }
}
