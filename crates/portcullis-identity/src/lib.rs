//! What proves who somebody is: verified for those who call, and made for those who are called. Knows no listener and no upstream; both
//! sides of the gateway use it.

pub mod agent; // X-Agent-Identity: a program that acts for the caller
pub mod chain; // X-Upstream-Agents: whose hands a request went through
pub mod client; // the gateway as an OAuth client of an authorization server
pub mod dpop; // RFC 9449: proof of possession
mod failed; // one proof that is not good, and why
pub mod fetch; // JSON from an authorization server: bounded, no redirects
mod introspection; // RFC 7662: opaque tokens
pub mod issuer; // discovery and keys of one issuer
mod json; // claims, strictly read
mod keys; // keys that operators configure
mod secret; // a value that is never printed
pub mod signature; // RFC 9421: signed requests
pub mod token; // access tokens

pub use self::failed::Failed;
pub use self::secret::Secret;
