//! A gateway on our own standard input and output: nothing but messages is written there, and everything we say goes to standard error.

use std::path::Path;

use portcullis_core::upstream::Upstream as _;
use tokio_util::sync::CancellationToken;

use super::assembly::assemble_stdio;
use super::signals::{Asked, Signals};
use super::{Assembly, LAST_WAIT, Sources, finish, reload, stop_asked, watchman};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::plan::describe_upstream;

/// Serves the program that started us until it closes our input, or until the operating system asks to stop.
pub(crate) async fn wrap(config: &Config, sources: &Sources) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let assembly = tokio::select! {
        assembled = assemble_stdio(config) => assembled?,
        _ = stop_asked(&mut signals) => return Ok(Exit::Success),
    };
    let Assembly { gateway, upstream, ledger, chosen, reached, .. } = assembly;
    let guarded = config.upstream.as_ref().map(describe_upstream).unwrap_or_default();
    let log = ledger.layout().folder().display().to_string();
    out::note(format_args!("guarding `{}` ({guarded}); the log is in {log}", config.server_name));
    if chosen.by_default {
        out::note("nobody chose a policy: everything is permitted and recorded; choose one with --policy");
    }
    let stop = CancellationToken::new();
    if reached.is_err() {
        drop(tokio::spawn(watchman::recover(config.clone(), chosen, std::sync::Arc::clone(&upstream), stop.clone())));
    }
    let mut identity = config.server.identity.clone();
    let user = user();
    let mut serving = Box::pin(gateway.serve_stdio(&user, tokio::io::stdin(), tokio::io::stdout(), stop.clone()));
    loop {
        tokio::select! {
            () = &mut serving => break,
            asked = signals.next() => match asked {
                Asked::Reload => {
                    reload::reload(config, &mut identity, sources, &gateway, upstream.as_ref(), ledger.as_ref());
                }
                Asked::Stop if stop.is_cancelled() => break,
                Asked::Stop => stop.cancel(),
            },
        }
    }
    drop(serving);
    stop.cancel();
    // Already done after a drain; after a second signal this is what ends the children.
    let _late = tokio::time::timeout(LAST_WAIT, upstream.shut_down()).await;
    finish(&ledger).await
}

/// Whose processes the parent and we are, as the system's list of users calls them. Not from the environment, which the parent writes.
fn user() -> String {
    let own = rustix::process::getuid().as_raw();
    let listed = std::fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    named(&listed, own).unwrap_or_else(|| own.to_string())
}

/// The name of a user in a file like `/etc/passwd`.
fn named(listed: &str, wanted: u32) -> Option<String> {
    listed.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        (uid.parse() == Ok(wanted) && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_user_is_called_as_the_system_calls_it() {
        let listed = "root:x:0:0:root:/root:/bin/sh\n\nada:x:1000:1000::/home/ada:/bin/sh\nbroken\n";
        assert_eq!(super::named(listed, 1000).as_deref(), Some("ada"));
        assert_eq!(super::named(listed, 7), None);
    }
}
