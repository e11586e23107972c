//! The program that started us, where that is the one client. Nothing but messages is written to our standard output.

use std::sync::Arc;

use portcullis_server::Gateway;
use tokio_util::sync::CancellationToken;

/// Serves it until it closes our input, or until `stop`.
pub(super) async fn serve(gateway: Arc<Gateway>, stop: CancellationToken) {
    gateway.serve_stdio(&user(), tokio::io::stdin(), tokio::io::stdout(), stop).await;
}

/// Whose processes the parent and we are, as the system's list of users calls them. Not from the environment, which the parent writes.
fn user() -> String {
    let own = rustix::process::getuid().as_raw();
    let listed = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
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
