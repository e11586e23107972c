//! The guardian, for real: this program stands in for the gateway's binary. It is its own guardian, and it starts a second
//! copy of itself as a gateway that is then killed without a chance to clean up.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test without a harness")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use portcullis_core::upstream::Upstream;
use portcullis_core::wire::Limits;
use portcullis_upstream::{Children, EraSetting, GUARDIAN_WORD, PipeUpstream, StderrSink, StdioSettings, exec_child};

/// Says its own and its child's pid and its file limit, then answers the gateway's two questions and stays.
const SERVER: &str = r#"
import json, os, resource, sys, time
print("pid %d files %d memory %d" % (os.getpid(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_AS)[0]), file=sys.stderr)
for _ in ("server/discover", "tools/list"):
    message = json.loads(sys.stdin.readline())
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": []}}), flush=True)
time.sleep(600)
"#;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(word) if word == GUARDIAN_WORD => panic!("{}", exec_child(arguments)),
        Some(word) if word == "gateway" => gateway(),
        _ => {
            a_killed_gateway_leaves_no_child();
            a_guardian_whose_parent_is_gone_starts_nothing();
            println!("guardian: ok");
        }
    }
}

#[tokio::main]
async fn gateway() {
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap().trim().to_owned();
    let mut settings = StdioSettings::of_command(python, vec!["-c".into(), SERVER.into()]);
    (settings.era, settings.max_open_files, settings.max_memory) = (EraSetting::Modern, Some(64), Some(8 << 30));
    let sink = StderrSink::new(|_, line| println!("{line}"));
    let itself = std::env::current_exe().unwrap();
    let upstream =
        PipeUpstream::<Children>::new("srv".into(), &settings, Limits::default(), Some(itself), sink).unwrap();
    upstream.refresh().await.unwrap();
    println!("ready");
    std::future::pending::<()>().await;
}

fn a_killed_gateway_leaves_no_child() {
    let mut gateway =
        Command::new(std::env::current_exe().unwrap()).arg("gateway").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(gateway.stdout.take().unwrap()).lines() {
        said.push(line.unwrap());
        if said.len() == 2 {
            break;
        }
    }
    let greeting = said.iter().find(|line| line.starts_with("pid ")).unwrap();
    let words: Vec<&str> = greeting.split(' ').collect();
    let &[_, pid, _, files, _, memory] = words.as_slice() else { panic!("{greeting}") };
    assert_eq!((files, memory), ("64", (8_u64 << 30).to_string().as_str()));
    let folder = format!("/proc/{pid}/stat");
    let alive = || std::fs::read_to_string(&folder).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(alive());
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    for _ in 0..500 {
        if !alive() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the child {pid} outlived its gateway");
}

fn a_guardian_whose_parent_is_gone_starts_nothing() {
    let mut guardian = Command::new(std::env::current_exe().unwrap());
    let status = guardian.args([GUARDIAN_WORD, "1", "-", "-", "/bin/true"]).stderr(Stdio::null()).status().unwrap();
    assert!(!status.success());
}
