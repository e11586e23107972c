//! The story of the demo, and its own check: every step compares what came with what must come, so a demo that ends well has proved it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_core::wire::{Limits, View, view_json};
use portcullis_ledger::{AuditLog, Row, Tail, VerifyOptions, verify};

use super::client::{Arrival, Client, spoken, string};
use super::server::{Sample, TOOLS};
use crate::exit::Failure;
use crate::out::{self, BAD, DIM, GOOD, NAME, STRONG, Styled, escaped};
use crate::run::LAST_WAIT;

/// Rows of the log that are shown.
const ROWS: usize = 12;

/// Plays all scenes.
pub(super) async fn tell(gateway: SocketAddr, sample: &Sample, ledger: &Arc<AuditLog>) -> Result<(), Failure> {
    let mut client = Client::connect(gateway).await?;
    visible(&mut client).await?;
    allowed(&mut client).await?;
    refused(&mut client, sample).await?;
    hidden(&mut client).await?;
    streamed(&mut client).await?;
    client.close().await?;
    log(ledger).await
}

async fn visible(client: &mut Client) -> Result<(), Failure> {
    scene("1. The caller sees only what it may use")?;
    asked("tools/list", "")?;
    let list = client.request("tools/list", "{}").await?;
    let (seen, all) = (names(&list, &["result", "tools"]), names(TOOLS, &[]));
    let missing: Vec<_> = all.difference(&seen).map(String::as_str).collect();
    yes(&format!(
        "{} of the server's {} tools: {}",
        seen.len(),
        all.len(),
        seen.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    ))?;
    remark(&format!("no policy permits {}, so for this caller it does not exist", missing.join(", ")))?;
    must(missing == ["delete_everything"], "the list shows other tools than the policy permits")
}

async fn allowed(client: &mut Client) -> Result<(), Failure> {
    scene("\n2. An allowed call")?;
    let arguments = r#"{"text":"Order more coffee."}"#;
    asked("add_note", arguments)?;
    let answer = spoken(&client.call("add_note", arguments, |_| {}).await?);
    yes(&answer)?;
    must(answer == "Saved as note 1.", "the note was not saved")
}

async fn refused(client: &mut Client, sample: &Sample) -> Result<(), Failure> {
    scene("\n3. The same tool, allowed or refused by its arguments")?;
    let small = r#"{"recipient":"ACME","amount":40}"#;
    asked("send_payment", small)?;
    let paid = spoken(&client.call("send_payment", small, |_| {}).await?);
    yes(&paid)?;
    let large = r#"{"recipient":"ACME","amount":4000}"#;
    asked("send_payment", large)?;
    let answer = spoken(&client.call("send_payment", large, |_| {}).await?);
    no(&answer)?;
    let payments = sample.payments();
    remark(&format!(
        "the reason is the policy's own `@reason`; payments asked for: 2, seen by the server: {payments}"
    ))?;
    must(paid.starts_with("Paid 40 EUR"), "the small payment was not made")?;
    must(answer.starts_with("Payments above 100 EUR"), "the large payment was not refused with its reason")?;
    must(payments == 1, "the server saw a payment that was refused")
}

async fn hidden(client: &mut Client) -> Result<(), Failure> {
    scene("\n4. What the caller does not see it cannot call")?;
    asked("delete_everything", "{}")?;
    let real = client.call("delete_everything", "{}", |_| {}).await?;
    no(&spoken(&real))?;
    asked("no_such_tool", "{}")?;
    let invented = client.call("no_such_tool", "{}", |_| {}).await?;
    no(&spoken(&invented))?;
    remark("a forbidden tool and an invented one get the same kind of answer: nothing is given away")?;
    must(
        error_code(&real).is_some() && error_code(&real) == error_code(&invented),
        "the hidden tool answers otherwise than an unknown one",
    )?;
    must(!spoken(&real).contains("gone"), "the hidden tool was called")
}

async fn streamed(client: &mut Client) -> Result<(), Failure> {
    scene("\n5. A streamed call, passed on as it happens")?;
    asked("archive_notes", "{}")?;
    let mut times = Vec::new();
    let mut printed = Ok(());
    let answer = client
        .call("archive_notes", "{}", |arrival: &Arrival| {
            times.push(arrival.after);
            let text = match progress(&arrival.text) {
                Some(text) => text,
                None => format!("{} {}", Styled(GOOD, "✓"), escaped(&spoken(&arrival.text))),
            };
            let line = format!("   {} {text}", Styled(DIM, format_args!("{:>4} ms", arrival.after.as_millis())));
            printed = std::mem::replace(&mut printed, Ok(())).and_then(|()| out::line(line));
        })
        .await?;
    printed?;
    let spread = times.last().zip(times.first()).map(|(last, first)| last.saturating_sub(*first)).unwrap_or_default();
    must(times.len() == 6 && spread.as_millis() >= 500, "the progress did not come step by step")?;
    must(spoken(&answer) == "All notes are archived.", "the streamed call did not end well")
}

async fn log(ledger: &Arc<AuditLog>) -> Result<(), Failure> {
    scene("\n6. Every decision is in the log, and the log proves itself")?;
    let log = Arc::clone(ledger);
    let read = tokio::task::spawn_blocking(move || {
        log.flush(LAST_WAIT).map_err(|error| Failure::new(error.to_string()))?;
        let folder = log.layout().folder();
        let trouble = |error: portcullis_ledger::AuditError| Failure::new(error.to_string());
        let (_, rows) = Tail::from_end(folder, 1000).map_err(trouble)?;
        let verdict = verify(folder, &VerifyOptions::default()).map_err(trouble)?;
        Ok::<_, Failure>((rows, verdict))
    });
    let (rows, verdict) = read.await.map_err(|error| Failure::new(error.to_string()))??;
    let calls: Vec<_> = rows.iter().filter(|row| row.method.as_deref() == Some("tools/call")).collect();
    for row in calls.iter().take(ROWS) {
        let style = if row.decision.as_deref() == Some("allow") { GOOD } else { BAD };
        out::line(format_args!("   {}", Styled(style, line(row))))?;
    }
    let style = if verdict.is_good() { GOOD } else { BAD };
    for line in verdict.to_string().lines() {
        out::line(format_args!("   {}", Styled(style, line)))?;
    }
    out::line("")?;
    must(verdict.is_good(), "the log does not verify")?;
    must(
        calls.iter().filter(|row| row.decision.as_deref() == Some("deny")).count() == 3,
        "the log does not hold three refusals",
    )
}

/// One decision in the width of a terminal: when, what, which, by whom, how long.
fn line(row: &Row) -> String {
    let or_dash = |text: Option<&String>| text.map_or_else(|| "-".to_owned(), |text| out::clipped(text, 20));
    let time = row.at.split_once('T').map_or(row.at.as_str(), |(_, time)| time.trim_end_matches('Z'));
    let decided = if row.policies.is_empty() { "no policy permits it".to_owned() } else { row.policies.join(", ") };
    let took = row.latency_us.unwrap_or_default() / 1000;
    let (name, decision, status) =
        (or_dash(row.name.as_ref()), or_dash(row.decision.as_ref()), or_dash(row.status.as_ref()));
    format!("{} {name:<18} {decision:<6} {status:<9} {took:>5} ms  {}", escaped(time), out::clipped(&decided, 30))
}

/// `progress 1 of 5` of a progress notification.
fn progress(text: &str) -> Option<String> {
    let view = view_json(text.as_bytes(), &Limits::default()).ok()?;
    view.get("method").filter(|method| method.as_str().as_deref() == Some("notifications/progress"))?;
    let number = |key: &str| view.path(&["params", key]).map(View::text);
    Some(format!("progress {} of {}", number("progress")?, number("total")?))
}

fn names(text: &str, path: &[&str]) -> BTreeSet<String> {
    let Ok(view) = view_json(text.as_bytes(), &Limits::default()) else { return BTreeSet::new() };
    let tools = view.path(path).into_iter().flat_map(View::elements);
    tools.filter_map(|tool| string(tool.text(), &["name"])).collect()
}

fn error_code(text: &str) -> Option<i64> {
    view_json(text.as_bytes(), &Limits::default()).ok()?.path(&["error", "code"])?.as_i64()
}

fn scene(title: &str) -> Result<(), Failure> {
    out::line(format_args!("{}", Styled(STRONG, title)))?;
    Ok(())
}

fn asked(what: &str, arguments: &str) -> Result<(), Failure> {
    out::line(format_args!("   {} {}", Styled(NAME, what), arguments))?;
    Ok(())
}

fn yes(text: &str) -> Result<(), Failure> {
    out::line(format_args!("   {} {}", Styled(GOOD, "✓"), escaped(text)))?;
    Ok(())
}

fn no(text: &str) -> Result<(), Failure> {
    out::line(format_args!("   {} {}", Styled(BAD, "✗"), Styled(BAD, escaped(text))))?;
    Ok(())
}

fn remark(text: &str) -> Result<(), Failure> {
    out::line(format_args!("   {}", Styled(DIM, text)))?;
    Ok(())
}

fn must(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    Err(Failure::new(format!("the demo went wrong: {otherwise}")).help("this is a defect; please report it"))
}
