//! SIGHUP: configuration, policies and callers read again. The new plan is whole or it is not used: the old one stays in force and says so.
//! A changed key file: its keys alone, whatever state the rest is in, because taking back a key must not wait for a policy to be right.

use std::sync::Arc;

use portcullis_core::ledger::Ledger;
use portcullis_core::upstream::Upstream;
use portcullis_server::{Gateway, IdentitySettings};

use super::assembly::offered;
use super::{Sources, notice};
use crate::config::{Config, EndpointConfig, key_file};
use crate::exit::Exit;
use crate::{commands, out, plan};

/// Reads everything again and swaps the plan, or says why not. `identity`: who may call, as in force.
pub(crate) fn reload(
    running: &Config,
    identity: &mut IdentitySettings,
    sources: &Sources,
    gateway: &Gateway,
    upstreams: &[Arc<dyn Upstream>],
    ledger: &dyn Ledger,
) {
    // On its own: certificates that cannot be used say nothing about the rest, nor the rest about them.
    gateway.refresh_tls(true);
    let kept = |why: &str| {
        tracing::error!("the old plan stays in force: {why}");
        notice(ledger, "plan_kept", format!("reload failed, the old plan stays in force: {why}"));
    };
    let config = match Config::load(sources.file.as_deref(), &sources.overrides) {
        Ok(config) => config,
        Err(error) => {
            let failure = commands::config_failure(error);
            out::failure(&failure);
            return kept(if failure.text.is_empty() { "the configuration is wrong" } else { &failure.text });
        }
    };
    if names(&config) != names(running) {
        // Policies name tools by their server; under another name they would match nothing that is called.
        return kept("the names of the servers have changed; that takes a restart");
    }
    if paths(&config) != paths(running) {
        // A plan is made for a path, its servers and their tools; what was opened or closed with them stays as it is until then.
        return kept("`endpoints` have changed in more than their policies; that takes a restart");
    }
    let Some(chosen) = plan::choose(&config) else { return kept("there is no policy any more") };
    match plan::load(&config, &chosen, &offered(&config, upstreams)) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(out::note);
            for section in fixed(running, &config) {
                tracing::warn!("`{section}` has changed; that takes a restart");
            }
            // First who may call: a key that was taken back must not be judged by the new plan either.
            if let Err(error) = gateway.reload_identity(&config.server.identity) {
                return kept(&error.to_string());
            }
            *identity = config.server.identity.clone();
            let digest = loaded.common.plan.digest.clone();
            gateway.reload_plans(loaded.plans(&config));
            tracing::info!(plan = %digest, "policies, guards and callers reloaded");
            notice(ledger, "plan", format!("plan {digest} in force after a reload"));
        }
        Err(findings) => {
            commands::said(&findings, Exit::Failure);
            kept("the policies are wrong");
        }
    }
}

/// Reads the key file again and swaps its keys, or says why not.
pub(crate) fn keys(identity: &mut IdentitySettings, gateway: &Gateway, ledger: &dyn Ledger) {
    let Some(file) = identity.key_file.as_ref().map(|file| file.display().to_string()) else { return };
    let kept = |why: &str| {
        tracing::error!("the old keys stay in force: {why}");
        notice(ledger, "keys_kept", format!("`{file}` cannot be used, the old keys stay in force: {why}"));
    };
    let managed = match key_file::managed(identity, None) {
        Ok(managed) if managed == identity.managed => return,
        Ok(managed) => managed,
        Err(findings) => {
            commands::said(&findings, Exit::Failure);
            let why = findings.first().map_or("it is wrong", |finding| finding.text.as_str());
            return kept(why);
        }
    };
    let renewed = IdentitySettings { managed, ..identity.clone() };
    match gateway.reload_keys(&renewed) {
        Ok(()) => {
            let count = renewed.managed.len();
            tracing::info!(keys = count, "key file reloaded");
            notice(ledger, "keys", format!("{count} keys of `{file}` in force"));
            *identity = renewed;
        }
        Err(error) => kept(&error.to_string()),
    }
}

fn names(config: &Config) -> Vec<&str> {
    config.servers.iter().map(|server| server.name.as_str()).collect()
}

/// The endpoints but for their policies.
fn paths(config: &Config) -> Vec<String> {
    let of =
        |EndpointConfig { path, servers, tools, patterns: _, names, missing, policy: _, key: _ }: &EndpointConfig| {
            format!("{path:?} {servers:?} {tools:?} {names:?} {missing:?}")
        };
    config.endpoints.iter().map(of).collect()
}

/// Sections that are read only at start and differ now.
fn fixed(running: &Config, new: &Config) -> Vec<&'static str> {
    let differs = |old: &dyn std::fmt::Debug, new: &dyn std::fmt::Debug| format!("{old:?}") != format!("{new:?}");
    let (old, server) = (&running.server, &new.server);
    let sections = [
        ("listen", differs(&old.listen, &server.listen)),
        ("path", differs(&old.path, &server.path)),
        ("allowed_hosts", differs(&old.allowed_hosts, &server.allowed_hosts)),
        ("allowed_origins", differs(&old.allowed_origins, &server.allowed_origins)),
        ("public_url", differs(&old.public_url, &server.public_url)),
        ("websocket", differs(&old.websocket, &server.websocket)),
        ("tls", differs(&old.tls, &server.tls)),
        ("trusted_proxies", differs(&old.trusted_proxies, &server.trusted_proxies)),
        ("proxy_protocol", differs(&old.proxy_protocol, &server.proxy_protocol)),
        // Those that come are verified by the new ones at once; the upstream signs ours with the keys it was made with.
        ("identity.chains", differs(&old.identity.chains, &server.identity.chains)),
        ("sessions", differs(&old.sessions, &server.sessions)),
        ("limits", differs(&old.limits, &server.limits)),
        ("timeouts", differs(&old.timeouts, &server.timeouts)),
        (if new.servers.len() == 1 { "upstream" } else { "upstreams" }, differs(&running.servers, &new.servers)),
        ("gateway", differs(&running.gateway, &new.gateway)),
        ("audit", differs(&running.audit, &new.audit)),
        ("admin", differs(&running.admin, &new.admin)),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
