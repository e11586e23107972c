//! Processes: a clean environment at the start, nothing left at the end.

use portcullis_core::upstream::Upstream;

use super::{fixture, is_alive, is_zombie, settings, until};
use crate::settings::{EraSetting, Secret};
use crate::testing::{all, text};

fn number(text: &str, key: &str) -> u32 {
    let after = text.split(&format!("\"{key}\": ")).nth(1).unwrap();
    after.split(['}', ',']).next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_child_gets_a_clean_environment_and_its_folder_e13() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(EraSetting::Legacy);
    settings.env.insert("API_KEY".into(), Secret::Value("k".into()));
    settings.cwd = Some(folder.path().to_owned());
    let fixture = fixture(&settings);
    fixture.open(1).await;
    let answer = text(&all(fixture.call(1, 1, "env").await.unwrap()).await[0]);
    let env = answer.split("\"env\": {").nth(1).unwrap().split('}').next().unwrap();
    let mut names: Vec<&str> = env.split(", ").map(|pair| pair.split('"').nth(1).unwrap()).collect();
    // Python sets this one itself.
    names.retain(|name| *name != "LC_CTYPE");
    let allowed = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "API_KEY"];
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    assert!(names.contains(&"API_KEY") && names.contains(&"PATH"));
    assert!(answer.contains(&*folder.path().canonicalize().unwrap().to_string_lossy()));
}

#[tokio::test]
async fn error_output_reaches_the_log_with_the_servers_name_and_a_bound() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    all(fixture.call(1, 1, "stderr").await.unwrap()).await;
    fixture.until_logged("srv: line 0").await;
    fixture.upstream.shut_down().await;
    let lines = fixture.log.lock().unwrap().len();
    assert!((100..=420).contains(&lines), "{lines} of 1000 lines");
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_and_its_grandchild_are_gone_after_shut_down() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let forked = text(&all(fixture.call(1, 1, "fork").await.unwrap()).await[0]);
    let deaf = text(&all(fixture.call(1, 2, "deaf").await.unwrap()).await[0]);
    let (grandchild, child) = (number(&forked, "child"), number(&deaf, "pid"));
    assert!(is_alive(child) && is_alive(grandchild));
    fixture.upstream.shut_down().await;
    assert!(!is_alive(child) && !is_zombie(child), "reaped");
    until(|| !is_alive(grandchild)).await;
}

#[tokio::test]
async fn a_grandchild_does_not_outlive_a_child_that_crashed() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let forked = text(&all(fixture.call(1, 1, "fork").await.unwrap()).await[0]);
    all(fixture.call(1, 2, "crash").await.unwrap()).await;
    until(|| !is_alive(number(&forked, "child"))).await;
    until(|| !is_zombie(number(&forked, "pid"))).await;
}

#[tokio::test]
async fn a_dropped_upstream_leaves_no_process() {
    let fixture = fixture(&settings(EraSetting::Legacy));
    fixture.open(1).await;
    let forked = text(&all(fixture.call(1, 1, "fork").await.unwrap()).await[0]);
    drop(fixture);
    until(|| !is_alive(number(&forked, "pid")) && !is_alive(number(&forked, "child"))).await;
}
