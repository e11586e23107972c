//! The headers of a signature as structured fields (RFC 9421 §4), read one way only. Verifies nothing.

use http::{HeaderMap, HeaderName};
use portcullis_core::refusal::ProofFailure;
use sfv::{BareItem, Dictionary, FieldType as _, InnerList, ListEntry, Parser, Version};

use crate::Failed;

/// Bytes of `Signature-Input` and `Signature` together. 8,192: four signatures over 32 components each take about 5,000.
const MOST_BYTES: usize = 8 << 10;
/// Signatures in one request. 4: the client's and those of a few proxies.
const MOST_SIGNATURES: usize = 4;
/// Components under one signature. 32: six are asked for, and no request of the protocol has more than a dozen headers of its own.
const MOST_COMPONENTS: usize = 32;
/// Characters of a nonce or key id. 256: four times the longest digest in hexadecimal.
const MOST_CHARACTERS: usize = 256;

/// Headers that mean one thing: a second line is refused, for it and the reader behind us may each take another one.
const SINGLETONS: [&str; 15] = [
    "authorization",
    "content-length",
    "content-type",
    "date",
    "dpop",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "user-agent",
    "x-agent-identity",
    "x-upstream-agents",
];

/// Both headers of a request.
#[derive(Debug)]
pub(super) struct Fields {
    inputs: Dictionary,
    signatures: Dictionary,
}

/// One signature as it was given.
#[derive(Debug)]
pub(super) struct Given {
    /// In the signer's order.
    pub(super) components: Vec<String>,
    /// Value of `@signature-params`.
    pub(super) parameters: String,
    /// Seconds since the epoch.
    pub(super) created: u64,
    /// Seconds since the epoch.
    pub(super) expires: u64,
    pub(super) nonce: String,
    pub(super) algorithm: Option<String>,
    pub(super) signature: Vec<u8>,
}

pub(super) fn malformed(detail: impl Into<String>) -> Failed {
    Failed::new(ProofFailure::SignatureMalformed, detail)
}

impl Fields {
    /// `None`: the request is not signed.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Failed> {
        let (inputs, signatures) = match (value(headers, "signature-input")?, value(headers, "signature")?) {
            (None, None) => return Ok(None),
            (Some(inputs), Some(signatures)) => (inputs, signatures),
            _ => return Err(malformed("one of `Signature-Input` and `Signature` without the other")),
        };
        if inputs.len() + signatures.len() > MOST_BYTES {
            return Err(malformed(format!("signature headers of more than {MOST_BYTES} bytes")));
        }
        let fields =
            Self { inputs: dictionary("Signature-Input", &inputs)?, signatures: dictionary("Signature", &signatures)? };
        if fields.inputs.len() > MOST_SIGNATURES {
            return Err(malformed(format!("more than {MOST_SIGNATURES} signatures")));
        }
        let paired = fields.inputs.keys().all(|label| fields.signatures.contains_key(label));
        if fields.inputs.is_empty() || !paired || fields.inputs.len() != fields.signatures.len() {
            return Err(malformed("`Signature-Input` and `Signature` do not have the same labels"));
        }
        Ok(Some(fields))
    }

    /// Label and key id of each signature that names its key.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inputs.iter().filter_map(|(label, entry)| {
            let ListEntry::InnerList(list) = entry else { return None };
            Some((label.as_str(), list.params.get("keyid")?.as_string()?.as_str()))
        })
    }

    pub(super) fn signature(&self, label: &str) -> Result<Given, Failed> {
        let Some(ListEntry::InnerList(list)) = self.inputs.get(label) else {
            return Err(malformed("a signature's input is not a list"));
        };
        let Some(ListEntry::Item(item)) = self.signatures.get(label) else {
            return Err(malformed("a signature is a list"));
        };
        let signature = item.bare_item.as_byte_sequence().ok_or_else(|| malformed("a signature is not bytes"))?;
        for (name, value) in &list.params {
            let right = match name.as_str() {
                "created" | "expires" => value.as_integer().is_some(),
                "nonce" | "keyid" | "alg" | "tag" => {
                    value.as_string().is_some_and(|text| text.as_str().len() <= MOST_CHARACTERS)
                }
                _ => false,
            };
            if !right {
                return Err(malformed(format!("parameter `{name}` is unknown, too long or of the wrong type")));
            }
        }
        let nonce = text(list, "nonce").filter(|nonce| !nonce.is_empty()).ok_or_else(|| malformed("no nonce"))?;
        Ok(Given {
            components: components(list)?,
            parameters: vec![ListEntry::InnerList(list.clone())].serialize().ok_or_else(|| malformed("no input"))?,
            created: seconds(list, "created")?,
            expires: seconds(list, "expires")?,
            nonce,
            algorithm: text(list, "alg"),
            signature: signature.to_vec(),
        })
    }
}

fn text(list: &InnerList, name: &str) -> Option<String> {
    Some(list.params.get(name)?.as_string()?.as_str().to_owned())
}

fn seconds(list: &InnerList, name: &str) -> Result<u64, Failed> {
    let value = list.params.get(name).and_then(BareItem::as_integer).map(i64::from);
    value
        .and_then(|seconds| u64::try_from(seconds).ok())
        .ok_or_else(|| malformed(format!("no `{name}`, or a negative one")))
}

fn components(list: &InnerList) -> Result<Vec<String>, Failed> {
    if list.items.len() > MOST_COMPONENTS {
        return Err(malformed(format!("more than {MOST_COMPONENTS} components")));
    }
    let mut components: Vec<String> = Vec::with_capacity(list.items.len());
    for item in &list.items {
        // Parameters choose part of a component, or one of another message; what is asked for here is always the whole of this one.
        let name = match item.bare_item.as_string() {
            Some(name) if item.params.is_empty() => name.as_str(),
            _ => return Err(malformed("a component with parameters, or one that is not a string")),
        };
        if components.iter().any(|before| before == name) {
            return Err(malformed(format!("component `{name}` twice")));
        }
        components.push(name.to_owned());
    }
    Ok(components)
}

/// The lines of one header as one value (RFC 9421 §2.1). `None`: no such header.
pub(super) fn value(headers: &HeaderMap, name: &str) -> Result<Option<String>, Failed> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("a component that is no header name"))?;
    let mut lines = headers.get_all(&name).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let mut value = line(first)?.to_owned();
    for more in lines {
        if SINGLETONS.contains(&name.as_str()) {
            return Err(malformed(format!("`{name}` more than once")));
        }
        value.push_str(", ");
        value.push_str(line(more)?);
    }
    Ok(Some(value))
}

/// Without white space around it. What is not visible ASCII has no place in a signature base (RFC 9421 §2.5), line folds included.
fn line(value: &http::HeaderValue) -> Result<&str, Failed> {
    let text = value.to_str().map_err(|_| malformed("a header that is not ASCII"))?;
    Ok(text.trim_matches([' ', '\t']))
}

/// A dictionary whose text says nothing that the dictionary does not: a key or parameter given twice, or bits that base64 ignores, would be
/// dropped by the reader and seen by another one.
pub(super) fn dictionary(name: &str, text: &str) -> Result<Dictionary, Failed> {
    let dictionary: Dictionary = Parser::new(text)
        .with_version(Version::Rfc8941)
        .parse()
        .map_err(|error| malformed(format!("`{name}` is no dictionary: {error}")))?;
    let again = dictionary.serialize().unwrap_or_default();
    let letters = |text: &str| text.bytes().filter(|byte| !matches!(byte, b' ' | b'\t')).collect::<Vec<u8>>();
    if letters(&again) != letters(text) {
        return Err(malformed(format!("`{name}` repeats a key, or has another form than the canonical one")));
    }
    Ok(dictionary)
}
