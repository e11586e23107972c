//! Callers by client certificate (mTLS): which certificates of the configured authorities are callers, and what they are called. That a
//! certificate is genuine was found out by the handshake.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::caller::{Caller, Proof};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::peer::ClientCertificate;

/// One kind of client certificate, and who it is. Everything that is given must hold; at least one of `spiffe`, `subject`, `dns`, `uri` and
/// `email` must be given, since who signs certificates for many purposes signs them for strangers too.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateCaller {
    /// SPIFFE id, such as `spiffe://prod.example.com/agents/mail`, or with `/*` at its end everything below it. The caller is named by its id.
    pub spiffe: Option<String>,
    /// The whole subject as RFC 4514 writes it, most specific part first: `CN=mail,O=Example`. The caller is `cert:SUBJECT`.
    pub subject: Option<String>,
    /// One of its DNS names. The caller is `cert:dns:NAME`, unless a line above names it.
    pub dns: Option<String>,
    /// One of its URIs. The caller is `cert:uri:URI`, unless a line above names it.
    pub uri: Option<String>,
    /// One of its mail addresses. The caller is `cert:email:ADDRESS`, unless a line above names it.
    pub email: Option<String>,
    /// Groups of the caller in policies. Default none.
    pub groups: Vec<String>,
    /// Attributes of the caller in policies, beside `certificate_subject`, `certificate_dns`, `certificate_uri` and `certificate_email`, which the
    /// certificate gives. Default none.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// Words that the certificate itself fills in.
const GIVEN: [&str; 4] = ["certificate_subject", "certificate_dns", "certificate_uri", "certificate_email"];

impl CertificateCaller {
    /// What contradicts itself; `at` counts from 0.
    pub(super) fn check(&self, at: usize) -> Result<(), String> {
        let place = format!("identity.certificates[{at}]");
        let parts = [&self.spiffe, &self.subject, &self.dns, &self.uri, &self.email];
        if parts.iter().all(|part| part.is_none()) {
            return Err(format!(
                "{place}: says of no certificate whose it is; give `spiffe`, `subject`, `dns`, `uri` or `email`"
            ));
        }
        if parts.into_iter().flatten().any(String::is_empty) {
            return Err(format!("{place}: an empty text is in no certificate"));
        }
        if let Some(id) = &self.spiffe {
            let path = id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
            let whole = |(domain, path): (&str, &str)| {
                !domain.is_empty() && !path.is_empty() && !path.strip_suffix("/*").unwrap_or(path).contains('*')
            };
            if !path.is_some_and(|(domain, path)| path == "*" && !domain.is_empty() || whole((domain, path))) {
                return Err(format!(
                    "{place}.spiffe: `{id}` is no SPIFFE id such as `spiffe://prod.example.com/agents/*`"
                ));
            }
        }
        match self.attributes.keys().find(|name| GIVEN.contains(&name.as_str())) {
            Some(name) => Err(format!("{place}.attributes: `{name}` is what the certificate says")),
            None => Ok(()),
        }
    }

    /// What a certificate that this is about is called.
    fn name(&self, certificate: &ClientCertificate) -> Option<String> {
        let id = certificate.spiffe.as_deref();
        let spiffe = self.spiffe.as_deref().is_none_or(|rule| id.is_some_and(|id| covers(rule, id)));
        let subject = self.subject.as_ref().is_none_or(|rule| *rule == certificate.subject);
        let dns =
            self.dns.as_ref().is_none_or(|rule| certificate.dns.iter().any(|name| name.eq_ignore_ascii_case(rule)));
        let uri = self.uri.as_ref().is_none_or(|rule| certificate.uris.contains(rule));
        let email = self.email.as_ref().is_none_or(|rule| certificate.emails.contains(rule));
        if !(spiffe && subject && dns && uri && email) {
            return None;
        }
        let other = |kind: &str, value: &Option<String>| value.as_ref().map(|value| format!("cert:{kind}{value}"));
        id.filter(|_| self.spiffe.is_some())
            .map(str::to_owned)
            .or_else(|| other("", &self.subject))
            .or_else(|| other("dns:", &self.dns).map(|name| name.to_ascii_lowercase()))
            .or_else(|| other("uri:", &self.uri))
            .or_else(|| other("email:", &self.email))
    }
}

/// Whether a SPIFFE id is the rule's, or below it.
fn covers(rule: &str, id: &str) -> bool {
    match rule.strip_suffix('*') {
        // The slash stays, so that `…/mail/*` is nothing about `…/mailbox`.
        Some(above) => id.strip_prefix(above).is_some_and(|rest| !rest.is_empty()),
        None => id == rule,
    }
}

/// The caller that a certificate stands for: the first rule that is about it decides.
pub(super) fn caller(rules: &[CertificateCaller], certificate: &ClientCertificate) -> Option<Arc<Caller>> {
    let (rule, name) = rules.iter().find_map(|rule| Some((rule, rule.name(certificate)?)))?;
    let mut caller = Caller::new(name, Proof::Certificate, rule.groups.clone());
    caller.spiffe.clone_from(&certificate.spiffe);
    caller.attributes.clone_from(&rule.attributes);
    let subject = std::slice::from_ref(&certificate.subject);
    for (name, values) in GIVEN.iter().zip([subject, &certificate.dns, &certificate.uris, &certificate.emails]) {
        if values.iter().any(|value| !value.is_empty()) {
            caller.attributes.insert((*name).to_owned(), values.to_vec());
        }
    }
    Some(Arc::new(caller))
}

#[cfg(test)]
mod tests {
    use portcullis_core::caller::Proof;
    use portcullis_core::clock::Timestamp;

    use super::{CertificateCaller, caller};
    use crate::peer::ClientCertificate;

    fn certificate() -> ClientCertificate {
        ClientCertificate {
            subject: "CN=mail,O=Example".into(),
            dns: vec!["mail.example".into()],
            uris: vec!["spiffe://prod.example/agents/mail".into()],
            emails: Vec::new(),
            spiffe: Some("spiffe://prod.example/agents/mail".into()),
            thumbprint: [0; 32],
            expires: Timestamp(1000),
        }
    }

    fn rule(key: &str, value: &str) -> CertificateCaller {
        let mut rule = CertificateCaller { groups: vec!["agents".into()], ..CertificateCaller::default() };
        let part = match key {
            "spiffe" => &mut rule.spiffe,
            "subject" => &mut rule.subject,
            "dns" => &mut rule.dns,
            "uri" => &mut rule.uri,
            _ => &mut rule.email,
        };
        *part = Some(value.to_owned());
        rule
    }

    #[test]
    fn a_certificate_is_called_by_what_its_rule_says_of_it() {
        for (key, value, name) in [
            ("spiffe", "spiffe://prod.example/agents/mail", "spiffe://prod.example/agents/mail"),
            ("spiffe", "spiffe://prod.example/agents/*", "spiffe://prod.example/agents/mail"),
            ("spiffe", "spiffe://prod.example/*", "spiffe://prod.example/agents/mail"),
            ("subject", "CN=mail,O=Example", "cert:CN=mail,O=Example"),
            ("dns", "MAIL.example", "cert:dns:mail.example"),
            ("uri", "spiffe://prod.example/agents/mail", "cert:uri:spiffe://prod.example/agents/mail"),
        ] {
            let found = caller(&[rule(key, value)], &certificate()).unwrap_or_else(|| panic!("{value}"));
            assert_eq!((found.name.as_str(), found.proof), (name, Proof::Certificate));
            assert_eq!(found.groups, ["agents"]);
            assert_eq!(found.spiffe.as_deref(), Some("spiffe://prod.example/agents/mail"));
            assert_eq!(found.attributes["certificate_dns"], ["mail.example"]);
            assert!(!found.attributes.contains_key("certificate_email"));
        }
    }

    #[test]
    fn a_certificate_that_no_rule_is_about_is_nobody() {
        for (key, value) in [
            ("spiffe", "spiffe://prod.example/agents/mai"),
            ("spiffe", "spiffe://prod.example/agents/mail/*"),
            ("spiffe", "spiffe://prod.example/agent/*"),
            ("spiffe", "spiffe://prod.example.evil/*"),
            ("subject", "CN=mail"),
            ("dns", "example"),
            ("email", "mail@example"),
        ] {
            assert!(caller(&[rule(key, value)], &certificate()).is_none(), "{key} {value}");
        }
        let both = CertificateCaller { dns: Some("other.example".into()), ..rule("subject", "CN=mail,O=Example") };
        assert!(caller(&[both], &certificate()).is_none(), "everything that is given must hold");
    }

    #[test]
    fn a_rule_that_is_about_everybody_or_about_nobody_is_a_mistake() {
        let bad = [
            CertificateCaller::default(),
            rule("spiffe", "https://prod.example/agents"),
            rule("spiffe", "spiffe://prod.example"),
            rule("spiffe", "spiffe:///agents"),
            rule("spiffe", "spiffe://prod.example/*/mail"),
            rule("spiffe", "spiffe://prod.example/agents*"),
            rule("subject", ""),
            CertificateCaller { attributes: [("certificate_dns".to_owned(), Vec::new())].into(), ..rule("dns", "a") },
        ];
        for rule in bad {
            assert!(rule.check(3).unwrap_err().starts_with("identity.certificates[3]"), "{rule:?}");
        }
        for value in ["spiffe://prod.example/*", "spiffe://prod.example/agents/*", "spiffe://prod.example/agents/mail"]
        {
            assert_eq!(rule("spiffe", value).check(0), Ok(()));
        }
    }
}
