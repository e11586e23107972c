//! `portcullis policy show|init|schema|test`. None of them needs a running gateway.

use std::path::Path;
use std::sync::Arc;

use portcullis_core::catalogue::Catalogue;
use portcullis_policy::{PRESETS, Policies, Servers, TestFile, init_text, preset, run_tests, schema_text};

use crate::cli::{PolicyInitArgs, PolicySchemaArgs, PolicyTestArgs};
use crate::commands::catalogue::{find, write};
use crate::commands::{said, saved_catalogue};
use crate::config::{PolicyPath, yaml};
use crate::exit::{Exit, Failure};
use crate::out::{self, BAD, GOOD, Styled};
use crate::plan::{self, Known};

/// Prints a preset.
pub(crate) fn show(name: &str) -> Result<Exit, Failure> {
    let text = preset(name).ok_or_else(|| no_preset(name))?;
    out::raw(text)?;
    Ok(Exit::Success)
}

fn named(known: &Known) -> impl Iterator<Item = (&str, &Catalogue)> {
    known.iter().map(|(server, catalogue)| (server.as_str(), &**catalogue))
}

/// Writes a policy to start from.
pub(crate) fn init(args: &PolicyInitArgs) -> Result<Exit, Failure> {
    if preset(&args.preset).is_none() {
        return Err(no_preset(&args.preset));
    }
    let known = find(&args.source)?;
    let text = init_text(&args.preset, named(&known)).ok_or_else(|| no_preset(&args.preset))?;
    write(args.output.as_deref(), &text, false)?;
    if let Some(path) = &args.output {
        out::note(format_args!(
            "written to {}; edit it, then `portcullis check --policy {0}` and `portcullis run --policy {0}`",
            path.display()
        ));
    }
    Ok(Exit::Success)
}

/// Writes the Cedar schema of the servers.
pub(crate) fn schema(args: &PolicySchemaArgs) -> Result<Exit, Failure> {
    let known = find(&args.source)?;
    write(args.output.as_deref(), &schema_text(named(&known)), true)?;
    Ok(Exit::Success)
}

/// Runs test files.
pub(crate) fn test(args: &PolicyTestArgs) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    for path in &args.files {
        let report = test_file(path, args)?;
        let style = if report.is_success() { GOOD } else { BAD };
        out::line(format_args!("{}: {}", path.display(), Styled(style, &report)))?;
        if !report.is_success() {
            exit = Exit::Failure;
        }
    }
    Ok(exit)
}

fn test_file(path: &Path, args: &PolicyTestArgs) -> Result<portcullis_policy::TestReport, Failure> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("cannot read `{name}`: {error}")))?;
    let file: TestFile = yaml::read(&name, &text).map_err(|finding| said(&[*finding], Exit::Usage))?;
    let folder = path.parent().unwrap_or(Path::new(""));

    let paths: Vec<_> = if args.policy.is_empty() {
        file.policies.iter().map(|text| PolicyPath::new(text, folder)).collect()
    } else {
        args.policy.iter().map(|text| PolicyPath::new(text, Path::new(""))).collect()
    };
    if paths.is_empty() {
        return Err(Failure::usage(format!("`{name}` names no policies"))
            .help("add `policies: [FILE]` to it, or give `--policy`"));
    }
    let servers = match &args.catalogue {
        Some(path) => Servers::from([(file.server.clone(), saved_catalogue(path)?)]),
        None => {
            let saved =
                file.saved().map(|(server, path)| Ok((server.to_owned(), saved_catalogue(&folder.join(path))?)));
            saved.collect::<Result<Servers, Failure>>()?
        }
    };

    let sources = plan::policy_sources(&paths).map_err(|findings| said(&findings, Exit::Usage))?;
    let known = servers.iter().map(|(server, catalogue)| (server.as_str(), &**catalogue));
    let findings = |found: Vec<_>| found.into_iter().map(plan::from_policy).collect::<Vec<_>>();
    let (policies, warnings) = Policies::load(&sources, known).map_err(|found| said(&findings(found), Exit::Usage))?;
    findings(warnings).iter().for_each(out::note);
    Ok(run_tests(&file, &Arc::new(policies), &servers))
}

fn no_preset(name: &str) -> Failure {
    Failure::usage(format!("there is no preset `{}`", out::escaped(name)))
        .help(format!("there are: {}", PRESETS.join(", ")))
}
