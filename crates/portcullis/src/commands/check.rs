//! `portcullis check`: everything that can be told about a configuration and its policies without opening a socket.

use crate::cli::CheckArgs;
use crate::commands::{config_failure, offline_config, saved_known};
use crate::config::{Config, ConfigError};
use crate::exit::{Exit, Failure};
use crate::finding::Finding;
use crate::out::{self, GOOD, STRONG, Styled};
use crate::plan::{self, Loaded};
use crate::run::banner;

/// Prints findings, and the plan when there is one.
pub(crate) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    if args.offline.plan.config.is_none() && args.offline.plan.policy.is_empty() {
        return Err(Failure::usage("nothing to check")
            .help("name a configuration with `--config FILE`, or a policy with `--policy FILE`"));
    }
    let config = match offline_config(&args.offline) {
        Ok(config) => config,
        Err(ConfigError::Wrong(findings)) => return report(args, &findings, None),
        Err(unreadable @ ConfigError::Unreadable { .. }) => return Err(config_failure(unreadable)),
    };
    let known = saved_known(&config, &args.offline.catalogue)?;
    let mut findings = plan::check_upstreams(&config);
    let Some(chosen) = plan::choose(&config) else {
        let open = format!("no policy, and `{}` is reachable from the network", config.server.listen);
        findings.push(config.finding("policy", open).help("name policies: Cedar files, folders, or a preset"));
        return report(args, &findings, None);
    };
    match plan::load(&config, &chosen, &known) {
        Ok(loaded) => {
            findings.extend(loaded.warnings.iter().cloned());
            report(args, &findings, Some((&config, &loaded)))
        }
        Err(found) => {
            findings.extend(found);
            report(args, &findings, None)
        }
    }
}

fn report(args: &CheckArgs, findings: &[Finding], plan: Option<(&Config, &Loaded)>) -> Result<Exit, Failure> {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let exit = if errors == 0 { Exit::Success } else { Exit::Failure };
    if args.json {
        let text = serde_json::to_string_pretty(findings).map_err(|error| Failure::new(error.to_string()))?;
        out::line(text)?;
        return Ok(exit);
    }
    for finding in findings {
        out::line(finding)?;
    }
    match plan {
        Some((config, loaded)) if errors == 0 => show(config, loaded, findings.len(), checked(config, args))?,
        _ => out::line(format_args!("{errors} {}", plural(errors, "error", "errors")))?,
    }
    Ok(exit)
}

/// How far the policies were held against tools.
fn checked(config: &Config, args: &CheckArgs) -> &'static str {
    match args.offline.catalogue.len() {
        0 => "not checked against tools: give --catalogue",
        count if count < config.servers.len() => "checked against the tools of some servers",
        _ => "checked against the tools",
    }
}

/// The plan in a few lines: what would run.
fn show(config: &Config, loaded: &Loaded, warnings: usize, types: &str) -> Result<(), Failure> {
    let summary = &loaded.common.summary;
    let state = match warnings {
        0 => "ok".to_owned(),
        count => format!("ok, {count} {}", plural(count, "warning", "warnings")),
    };
    out::line(Styled(GOOD, state))?;
    let row =
        |name: &str, text: String| out::line(format_args!("  {} {text}", Styled(STRONG, format_args!("{name:<8}"))));
    row("listen", format!("{}{}", config.server.listen, config.path()))?;
    for server in &config.servers {
        row("upstream", format!("`{}`: {}", server.name, plan::describe_upstream(server)))?;
    }
    for endpoint in config.endpoints.iter().filter(|endpoint| endpoint.key.is_some() || endpoint.names.is_some()) {
        row("path", banner::of_path(config, endpoint))?;
    }
    row(
        "policy",
        format!(
            "{} permit, {} forbid, {} ask from {} {} ({types})",
            summary.permits,
            summary.forbids,
            summary.asks,
            summary.files,
            plural(summary.files, "text", "texts")
        ),
    )?;
    let guards: Vec<_> = config.guards.modes().map(|(name, mode)| format!("{name} {}", mode.as_str())).collect();
    row("guards", guards.join(", "))?;
    if let Some(path) = &config.audit.path {
        row("log", path.display().to_string())?;
    }
    row("plan", loaded.common.plan.digest.to_string())?;
    Ok(())
}

const fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}
