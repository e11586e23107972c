//! `portcullis keys new`: a random key for a caller, printed once. Nothing is stored; the configuration gets only the hash.

use portcullis_core::own::{hex, quoted};
use rustls::crypto::aws_lc_rs;
use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure};
use crate::out::{self, DIM, Styled};

/// 256 bits: nothing shorter can be guessed from its hash either, so a fast hash is enough.
const KEY_BYTES: usize = 32;
/// Tells secret scanners and people what the string is.
const PREFIX: &str = "pck_";

/// Prints a key and its entry for `identity.keys`.
pub(crate) fn new(name: &str, groups: &[String]) -> Result<Exit, Failure> {
    for word in std::iter::once(name).chain(groups.iter().map(String::as_str)) {
        if word.is_empty() || word.len() > 128 || word.chars().any(char::is_control) {
            return Err(Failure::usage(format!("`{}` cannot be a name", out::escaped(word)))
                .help("use 1 to 128 printable characters"));
        }
    }
    let mut secret = [0; KEY_BYTES];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut secret)
        .map_err(|_| Failure::new("the operating system gives no random bytes"))?;
    let key = format!("{PREFIX}{}", hex(&secret));

    out::line(format_args!(
        "{}",
        Styled(DIM, "# Give this key to the caller; it is shown only now. Sent as `Authorization: Bearer …`.")
    ))?;
    out::line(format_args!("# key: {key}"))?;
    out::line("identity:\n  keys:")?;
    // A JSON string is a YAML string, whatever is in it.
    out::line(format_args!("    - name: {}", quoted(name)))?;
    out::line(format_args!("      sha256: {}", hex(&Sha256::digest(key.as_bytes()))))?;
    if !groups.is_empty() {
        let groups: Vec<_> = groups.iter().map(|group| quoted(group)).collect();
        out::line(format_args!("      groups: [{}]", groups.join(", ")))?;
    }
    Ok(Exit::Success)
}
