//! The blind proxy: Debian's nginx with a configuration of ours, beside and never in place of one that the machine runs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::layout::Layout;
use crate::process;
use crate::{Failure, say};

const PACKAGE: &str = "nginx-light";
const INSTALL: Duration = Duration::from_secs(10 * 60);
/// Debian keeps it where only root's `PATH` leads.
pub(crate) const PROGRAM: &str = "/usr/sbin/nginx";

/// What the program says of itself, such as `nginx version: nginx/1.22.1`.
pub(crate) fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("-v").output().ok()?;
    String::from_utf8(output.stderr).ok().map(|text| text.trim().to_owned())
}

/// Installs the package where it is missing and that is allowed.
pub(crate) fn install(layout: &Layout) -> Result<(), Failure> {
    if version().is_some() {
        return Ok(());
    }
    say(format_args!("installing {PACKAGE}"));
    let apt = |words: &[&str]| {
        process::must(layout.program("apt-get", words).env("DEBIAN_FRONTEND", "noninteractive"), INSTALL)
    };
    let install = || apt(&["install", "-y", "--no-install-recommends", PACKAGE]);
    // A fresh machine may have no lists of packages, or old ones.
    if let Err(failure) = install().or_else(|_| apt(&["update"]).and_then(|_| install())) {
        return Err(format!("the benchmark needs nginx: install the package `{PACKAGE}`\n{failure}").into());
    }
    // The package starts a server of its own, which nobody asked for.
    let _none = layout.program("service", &["nginx", "stop"]).status();
    Ok(())
}

/// Keep-alive on both sides, nothing buffered, nothing logged. `client_body_buffer_size` and `proxy_buffer_size` are raised so that
/// large messages cost it neither temporary files nor many small reads: it is to be a good proxy, not a straw man.
pub(crate) fn configure(folder: &Path, listen: &str, upstream: &str, workers: usize) -> Result<(), Failure> {
    let folder_name = folder.display();
    let text = format!(
        "worker_processes {workers};
pid {folder_name}/nginx.pid;
error_log {folder_name}/nginx-error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 3600s;
  keepalive_requests 1000000000;
  client_max_body_size 8m;
  client_body_buffer_size 128k;
  client_body_temp_path {folder_name}/nginx-body;
  proxy_temp_path {folder_name}/nginx-proxy;
  fastcgi_temp_path {folder_name}/nginx-fastcgi;
  uwsgi_temp_path {folder_name}/nginx-uwsgi;
  scgi_temp_path {folder_name}/nginx-scgi;
  upstream server_behind {{
    server {upstream};
    keepalive 128;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
  }}
  server {{
    listen {listen} backlog=4096;
    location / {{
      proxy_pass http://server_behind;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_buffer_size 64k;
      proxy_buffers 8 64k;
      proxy_read_timeout 3600s;
    }}
  }}
}}
"
    );
    std::fs::write(folder.join("nginx.conf"), text)?;
    Ok(())
}
