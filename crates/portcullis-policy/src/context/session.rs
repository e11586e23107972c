//! What the session has called, as a record that holds only what policies mention.

use std::sync::Arc;

use portcullis_core::call::Session;

use super::Unfit;
use super::fact::{Fact, Fields};
use crate::mentions::Needs;

/// # Errors
/// Something is mentioned that was not counted, or that nobody can tell any more.
pub(super) fn record(session: &Session, needs: &Needs) -> Result<Fact, Unfit> {
    let mut fields = Fields::new();
    // Whether there is a session can be asked without looking into it.
    if needs.is_empty() {
        return Fact::record(fields);
    }
    let tally = session.tally.as_ref().ok_or_else(|| Unfit::new("session", "what it called was not counted"))?;
    let wants = |name: &str| needs.below(name).is_some();
    let long = |count: u64| Fact::long(i64::try_from(count).unwrap_or(i64::MAX));
    let set = |tools: &[Arc<str>]| Fact::set(tools.iter().map(|tool| Fact::string(tool)).collect());
    if wants("calls") {
        fields.push(("calls".into(), long(tally.calls)));
    }
    if wants("toolCalls") {
        fields.push(("toolCalls".into(), long(tally.tool_calls)));
    }
    if wants("firstUse") {
        fields.push(("firstUse".into(), Fact::bool(tally.is_first_use())));
    }
    if let (true, Some(tool)) = (wants("previousTool"), tally.previous_tool()) {
        fields.push(("previousTool".into(), Fact::string(tool)));
    }
    if wants("lastTools") {
        fields.push(("lastTools".into(), set(&tally.last_tools)));
    }
    if wants("usedTools") {
        let tools = tally.used_tools.as_deref();
        let tools = tools.ok_or_else(|| Unfit::new("session.usedTools", "too many different tools to remember"))?;
        fields.push(("usedTools".into(), set(tools)));
    }
    Fact::record(fields)
}

#[cfg(test)]
mod tests {
    use portcullis_core::call::Call;
    use portcullis_core::guard::Guard as _;
    use portcullis_core::refusal::DenialCode;
    use portcullis_core::tally::Tally;
    use serde_json::{Value, json};

    use crate::PolicyGuard;
    use crate::testing::{call, denied, guard, passes, with_context};

    fn when(conditions: &str) -> PolicyGuard {
        guard(&format!("permit (principal, action, resource) when {{ context has session && {conditions} }};"))
    }

    fn pay(session: &Value) -> Call {
        call(json!({"tool": "pay", "session": session}))
    }

    fn with_tally(change: impl FnOnce(&mut Option<Tally>)) -> Call {
        with_context(&pay(&json!({"called": ["list_notes"]})), |context| {
            change(&mut context.session.as_mut().unwrap().tally);
        })
    }

    #[test]
    fn policies_see_what_the_session_has_called_and_are_asked_again_for_every_call() {
        let called = |tools: &[&str]| pay(&json!({ "called": tools }));
        for (conditions, yes, no) in [
            ("context.session.firstUse", called(&["list_notes"]), called(&["pay", "list_notes"])),
            ("context.session.lastTools.contains(\"pay\")", called(&["pay", "list_notes"]), called(&["list_notes"])),
            ("context.session.lastTools.isEmpty()", called(&[]), called(&["pay"])),
            ("context.session has previousTool", called(&["pay"]), called(&[])),
            (
                "context.session has previousTool && context.session.previousTool == \"pay\"",
                called(&["list_notes", "pay"]),
                called(&["pay", "list_notes"]),
            ),
            ("context.session.usedTools.contains(\"pay\")", called(&["pay"]), called(&["list_notes"])),
            ("context.session.calls == 3", called(&["pay", "pay"]), called(&["pay"])),
            ("context.session.toolCalls == 2", called(&["pay", "list_notes"]), called(&["pay", "pay"])),
        ] {
            let guard = when(conditions);
            assert!(guard.heeds_tally(), "{conditions}");
            for _ in 0..2 {
                assert!(passes(&guard, &yes) && !passes(&guard, &no), "{conditions}");
            }
        }
    }

    #[test]
    fn an_order_is_asked_for_only_where_a_policy_looks_into_the_session() {
        assert!(guard("permit (principal, action, resource) when { context has session.calls };").heeds_tally());
        assert!(!when("true").heeds_tally());
        assert!(passes(&when("true"), &with_tally(|tally| *tally = None)));
    }

    #[test]
    fn what_nobody_counted_or_remembers_is_denied() {
        let denies = |conditions: &str, call: &Call| {
            assert_eq!(denied(&when(conditions), call).code, DenialCode::PolicyError, "{conditions}");
        };
        denies("context.session.calls < 5", &with_tally(|tally| *tally = None));
        let forgotten = with_tally(|tally| tally.as_mut().unwrap().used_tools = None);
        denies("!context.session.usedTools.contains(\"pay\")", &forgotten);
        assert!(passes(&when("context.session.calls == 2"), &forgotten));
    }
}
