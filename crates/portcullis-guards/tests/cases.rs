//! Runs every case of `cases/*.md` through the real gate, and checks that guards, files and cases are the same set.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
#![expect(clippy::disallowed_methods, reason = "the cases are files")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::call::{Call, Context, Subject};
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::catalogue::Catalogue;
use portcullis_core::clock::Timestamp;
use portcullis_core::gate::{Gate, Inspection, Verdict};
use portcullis_core::guard::{About, Decision, Effect, Finding, Guard, Mode, Phase};
use portcullis_core::refusal::{Denial, Manner};
use portcullis_core::trace::TraceContext;
use portcullis_core::upstream::Arrived;
use portcullis_core::version::Version;
use portcullis_core::wire::{Direction, Limits, Message, view_json};
use portcullis_guards::{GUARDS, GuardsSettings, build};

#[test]
fn every_case_decides_as_its_page_says() {
    let mut run = 0;
    for registration in GUARDS {
        let name = registration.about.name;
        for case in cases(&page(name)) {
            for mode in [Mode::Enforce, Mode::Shadow, Mode::Off] {
                let title = format!("{name}: {} ({})", case.title, mode.as_str());
                case.check(&judged(name, mode, &case), mode, &title);
                run += 1;
            }
        }
    }
    assert!(run > 100, "only {run} runs: are the pages read at all?");
}

/// One guard is one file, one registration and one page of cases, under one name.
#[test]
fn guards_files_and_pages_are_the_same_set() {
    let names: BTreeSet<_> = GUARDS.iter().map(|registration| registration.about.name.to_owned()).collect();
    assert_eq!(stems("cases", "md"), names);
    let mut files = stems("src", "rs");
    for shared in ["lib", "registry", "remembered", "schema"] {
        assert!(files.remove(shared), "{shared}");
    }
    assert_eq!(files, names);
    for registration in GUARDS {
        let first = page(registration.about.name).lines().next().unwrap().to_owned();
        assert_eq!(first, format!("# `{}` ({})", registration.about.name, registration.about.code));
    }
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    std::fs::read_to_string(folder().join("cases").join(format!("{name}.md"))).expect("every guard has a page of cases")
}

fn stems(of: &str, extension: &str) -> BTreeSet<String> {
    std::fs::read_dir(folder().join(of))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[derive(Debug, Default)]
struct Case {
    title: String,
    tool: Option<String>,
    /// Exchanges before the one on trial; they pass.
    earlier: Vec<Exchange>,
    exchange: Exchange,
    expect: String,
}

#[derive(Debug, Default)]
struct Exchange {
    version: String,
    /// Nobody in particular when empty.
    caller: String,
    call: String,
    reply: Option<String>,
}

/// Cases end with their `expect` block; a `tool` block stays for the cases after it. Of several calls the last is on trial.
fn cases(page: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let (mut title, mut tool) = (String::new(), None::<String>);
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("### ") {
            assert!(exchanges.is_empty(), "{title}: a case without `expect`");
            text.clone_into(&mut title);
        }
        let Some(label) = line.strip_prefix("```") else { continue };
        let body = lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
        let words: Vec<_> = label.split(' ').skip(1).collect();
        match words.as_slice() {
            ["tool"] => tool = Some(body),
            ["call", version, caller @ ..] => exchanges.push(Exchange {
                version: (*version).to_owned(),
                caller: caller.concat(),
                call: body,
                reply: None,
            }),
            ["reply"] => exchanges.last_mut().unwrap_or_else(|| panic!("{title}: no call")).reply = Some(body),
            ["expect"] => {
                let exchange = exchanges.pop().unwrap_or_else(|| panic!("{title}: no call"));
                let earlier = std::mem::take(&mut exchanges);
                cases.push(Case { title: title.clone(), tool: tool.clone(), earlier, exchange, expect: body });
            }
            _ => {}
        }
    }
    cases
}

/// What came of a case: the refusal that the client meets, if any, and what was recorded.
#[derive(Debug)]
struct Outcome {
    refusal: Option<(&'static str, Denial)>,
    findings: Vec<Finding>,
    /// The reply's text as the client gets it.
    passed: Option<String>,
}

impl Case {
    fn check(&self, outcome: &Outcome, mode: Mode, title: &str) {
        let mut lines = self.expect.lines();
        let decision: Vec<_> = lines.next().unwrap().split(' ').collect();
        let public = lines.collect::<Vec<_>>().join("\n");
        let recorded: Vec<_> = outcome
            .findings
            .iter()
            .filter(|finding| finding.effect != Effect::Noted)
            .map(|finding| (finding.code, finding.effect))
            .collect();
        if decision == ["pass"] || mode == Mode::Off {
            assert!(outcome.refusal.is_none() && recorded.is_empty(), "{title}: {outcome:?}");
            return;
        }
        if let ["replace", code] = decision[..] {
            let effect = if mode == Mode::Enforce { Effect::Replaced } else { Effect::Shadowed };
            assert_eq!(recorded, [(code, effect)], "{title}: {outcome:?}");
            let passed = if mode == Mode::Enforce { public } else { self.exchange.reply.clone().unwrap() };
            assert_eq!(outcome.passed.as_deref(), Some(passed.as_str()), "{title}");
            return;
        }
        let [what, code, manner] = decision[..] else { panic!("{title}: expected `deny CODE MANNER`") };
        let Some((_, refused)) = &outcome.refusal else {
            assert_eq!(mode, Mode::Shadow, "{title}: nothing was refused: {outcome:?}");
            assert_eq!(recorded, [(code, Effect::Shadowed)], "{title}");
            return;
        };
        assert_eq!(mode, Mode::Enforce, "{title}: {outcome:?}");
        let effect = if what == "cut" { Effect::Cut } else { Effect::Denied };
        assert_eq!(
            recorded.iter().map(|(code, effect)| (code.to_owned(), *effect)).collect::<Vec<_>>(),
            [(code, effect)],
            "{title}"
        );
        assert_eq!(outcome.refusal.as_ref().unwrap().0, what, "{title}");
        assert_eq!(refused.code.as_str(), code, "{title}");
        assert_eq!(manner_name(refused.manner), manner, "{title}");
        assert_eq!(refused.public, public, "{title}");
    }
}

fn manner_name(manner: Manner) -> &'static str {
    match manner {
        Manner::Unknown => "unknown",
        Manner::Correctable => "correctable",
        Manner::Plain => "plain",
    }
}

fn judged(name: &str, mode: Mode, case: &Case) -> Outcome {
    // One guard alone, so that a page speaks of its own guard only.
    let settings: GuardsSettings = serde_json::from_value(serde_json::json!({ name: mode.as_str() })).unwrap();
    let guards = build(&settings).into_iter().filter(|(guard, _)| guard.about().name == name).collect();
    let gate = Arc::new(Gate::new(Arc::new(PermitAll), guards));
    for exchange in &case.earlier {
        let outcome = exchanged(&gate, exchange, case);
        assert!(outcome.refusal.is_none(), "{name}: {}: an earlier call: {outcome:?}", case.title);
    }
    exchanged(&gate, &case.exchange, case)
}

fn exchanged(gate: &Arc<Gate>, exchange: &Exchange, case: &Case) -> Outcome {
    let limits = Limits::default();
    let tool = case.tool.iter().map(|tool| view_json(tool.as_bytes(), &limits).expect("a tool definition"));
    let caller = match exchange.caller.as_str() {
        "" => Caller::anonymous(),
        name => Caller::new(name, Proof::ApiKey, Vec::new()),
    };
    let context = Context {
        caller: Arc::new(caller),
        proofs: Arc::default(),
        version: Version::parse(&exchange.version).expect("a protocol version"),
        session: None,
        server: "server".into(),
        trace: TraceContext { trace_id: [1; 16], parent: None, span: [1; 8], flags: 0, state: None, given: false },
        now: Timestamp(0),
        catalogue: Arc::new(Catalogue::from_tools(tool).unwrap()).into(),
        param_headers: Vec::new(),
        transports: Vec::new(),
        answers: None,
    };
    let read =
        |text: &str, direction| Message::read(Bytes::copy_from_slice(text.as_bytes()), direction, &limits).expect(text);
    let call =
        Call { context: Arc::new(context), subject: Subject::Message(read(&exchange.call, Direction::ToServer)) };
    let judgement = gate.judge(call);
    let mut findings = judgement.findings;
    let mut passed = None;
    let refusal = match judgement.verdict {
        Verdict::Denied(denial) => Some(("deny", denial)),
        Verdict::Held(denial) => Some(("hold", denial)),
        Verdict::Cleared(_, mut inspector) => exchange.reply.as_deref().and_then(|reply| {
            let message = Some(read(reply, Direction::ToClient));
            let (cut, more) = match inspector.inspect(Arrived { message, ..Arrived::default() }) {
                Inspection::Pass(inspected, more) => {
                    passed = Some(String::from_utf8(inspected.bytes().to_vec()).unwrap());
                    (None, more)
                }
                Inspection::Cut(denial, more) => (Some(("cut", denial)), more),
                Inspection::Drop(denial, more) => (Some(("drop", denial)), more),
                Inspection::Refuse(_, denial, more) => (Some(("refuse", denial)), more),
            };
            findings.extend(more);
            cut
        }),
    };
    Outcome { refusal, findings, passed }
}

/// A gate needs a policy; this one leaves every decision to the guard on trial.
#[derive(Debug)]
struct PermitAll;

impl Guard for PermitAll {
    fn about(&self) -> &'static About {
        static ABOUT: About =
            About { code: "G000", name: "policy", phase: Phase::Policy, purpose: "Permits everything." };
        &ABOUT
    }

    fn check(&self, _call: &Call) -> Decision {
        Decision::pass()
    }
}
