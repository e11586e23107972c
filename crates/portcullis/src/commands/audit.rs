//! `portcullis audit tail|verify|show`: thin wrappers around the ledger's readers. Nothing here writes.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_ledger::{
    AuditError, Row, RowKind, Tail, VerifyOptions, show as entries_text, table_header, table_row, verify as verified,
};

use crate::cli::{LogArgs, TailArgs, VerifyArgs};
use crate::commands::config_failure;
use crate::config::{Config, Overrides, default_audit_folder};
use crate::exit::{Exit, Failure};
use crate::out::{self, BAD, DIM, GOOD, PLAIN, STRONG, Styled, WARN};

/// How often a follower looks: quick to a person's eye, nothing to the disk.
const LOOK: Duration = Duration::from_millis(200);

/// Prints the newest rows, and with `-f` those that follow.
pub(crate) fn tail(args: &TailArgs) -> Result<Exit, Failure> {
    let path = place(&args.log)?;
    let (mut tail, rows) = Tail::from_end(&path, args.lines).map_err(unreadable)?;
    out::line(Styled(STRONG, table_header()))?;
    for row in &rows {
        print(row)?;
    }
    if !args.follow {
        // A call that is still running has no row of its own yet.
        for row in tail.open_calls() {
            print(&row)?;
        }
        return Ok(Exit::Success);
    }
    loop {
        // Ends with Ctrl-C, or when the reader of a pipe goes away.
        std::thread::sleep(LOOK);
        for row in tail.poll().map_err(unreadable)? {
            print(&row)?;
        }
    }
}

/// Proves the chain, or names the first bad entry.
pub(crate) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let path = place(&args.log)?;
    let head = args.expect_head.as_deref().map(str::parse).transpose();
    let expected_head = head.map_err(|error: AuditError| Failure::usage(error.to_string()))?;
    let options = VerifyOptions { expected_head, partial: args.partial };
    let verdict = verified(&path, &options).map_err(unreadable)?;
    let (style, exit) = if verdict.is_good() { (GOOD, Exit::Success) } else { (BAD, Exit::Failure) };
    out::line(Styled(style, &verdict))?;
    Ok(exit)
}

/// Prints everything the log knows about one call.
pub(crate) fn show(id: &str, log: &LogArgs) -> Result<Exit, Failure> {
    let path = place(log)?;
    match entries_text(&path, id).map_err(unreadable)? {
        Some(text) => {
            out::raw(&text)?;
            Ok(Exit::Success)
        }
        None => Err(Failure::new(format!("no entry `{}` in {}", out::escaped(id), path.display()))
            .help("`portcullis audit tail` prints the ids of calls")),
    }
}

fn print(row: &Row) -> Result<(), Failure> {
    let style = match (row.kind, row.decision.as_deref()) {
        (RowKind::Notice, _) => DIM,
        (RowKind::Refused | RowKind::Damaged, _) | (_, Some("deny")) => BAD,
        (_, Some("ask")) => WARN,
        _ if row.code.is_some() => WARN,
        _ => PLAIN,
    };
    out::line(Styled(style, table_row(row)))?;
    Ok(())
}

/// Which log is meant: the path given, the configuration's, the usual one.
fn place(log: &LogArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &log.path {
        return Ok(path.clone());
    }
    if let Some(file) = &log.config {
        let config = Config::load(Some(file), &Overrides::default()).map_err(config_failure)?;
        return config.audit.path.ok_or_else(homeless);
    }
    default_audit_folder().ok_or_else(homeless)
}

fn homeless() -> Failure {
    Failure::usage("there is no home to look for the log in").help("name the log: `portcullis audit … PATH`")
}

fn unreadable(error: AuditError) -> Failure {
    let failure = Failure { exit: Exit::Usage, text: error.to_string(), help: None };
    match error {
        AuditError::NoLog { .. } => failure.help("`portcullis run` prints where its log is; name it here"),
        AuditError::Locked { .. }
        | AuditError::NotALogPath { .. }
        | AuditError::Setting { .. }
        | AuditError::Head { .. }
        | AuditError::Io { .. } => failure,
    }
}
