use super::*;
use crate::testing::{call_raw, guard};

#[test]
fn every_policy_says_its_part_of_a_decision() {
    let guard = guard(
        r#"@id("a") permit (principal, action, resource);
        @id("b") @reason("No.") forbid (principal, action == notes::Action::"pay", resource) when { context.args.recipient == "eve" };
        @id("c") @ask("caller") forbid (principal, action == notes::Action::"pay", resource) when { context.args.amount.greaterThan(decimal("1.0")) };
        @id("d") forbid (principal, action == notes::Action::"read-note", resource);"#,
    );
    let explained = explain(&guard, &call_raw("pay", r#"{"recipient":"bob","amount":"much"}"#));
    let verdicts: Vec<_> =
        explained.iter().map(|policy| (&*policy.id, policy.line, policy.effect, policy.verdict.as_str())).collect();
    assert_eq!(
        verdicts,
        [
            ("a", 1, "permit", "satisfied"),
            ("b", 2, "forbid", "not satisfied"),
            ("c", 3, "forbid", "`args.amount`: not a number"),
            ("d", 4, "forbid", "about something else"),
        ]
    );
    assert_eq!(explained[2].ask, Some(Ask::Caller));
}
