//! The commands of a plugin's author: new, build, test, run, bench, capture.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use strait_core::Record;
use strait_core::config::Link;

use super::super::{End, link_of, print, print_message};
use super::jsonl;
use super::project::{self, Project, ProjectError};
use super::runner::{self, Detail, Ran, Subject};
use super::{Refusal, bench, build, cases, sdk};
use crate::cli::plugin::{AuthorCommand, Chosen, Lang};
use crate::cli::{Output, plugin};
use crate::compose;
use crate::load::Loaded;

/// How long reading the records of a topic may take.
const CAPTURE_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the command.
#[must_use]
pub fn run(command: &AuthorCommand) -> End {
    let done = match command {
        AuthorCommand::New { lang, name } => new(*lang, name),
        AuthorCommand::Build(project) => make(project),
        AuthorCommand::Update { project, force } => update(project, *force),
        AuthorCommand::Test { project, update, case } => test(project, case.as_deref(), *update),
        AuthorCommand::Run { plugin, link: None, records, changes, .. } => replay(plugin, records, *changes),
        AuthorCommand::Run { link: Some(name), config, records, changes, .. } => {
            let loaded = match super::super::load(config) {
                Ok(loaded) => loaded,
                Err(end) => return end,
            };
            match link_of(&loaded, name) {
                Ok(link) => replay_link(&loaded, link, records, *changes),
                Err(end) => return end,
            }
        }
        AuthorCommand::Bench { plugin, records, seconds, output } => {
            measure(plugin, records.as_deref(), *seconds, *output)
        }
        AuthorCommand::Capture { config, topic, cluster, link, max } => {
            let loaded = match super::super::load(config) {
                Ok(loaded) => loaded,
                Err(end) => return end,
            };
            capture(&loaded, topic, cluster.as_deref(), link.as_deref(), *max)
        }
    };
    done.unwrap_or_else(|refusal| refusal.told())
}

fn new(lang: Lang, name: &str) -> Result<End, Refusal> {
    let folder = project::create(Path::new("."), name, lang)?;
    let folder = folder.strip_prefix(".").unwrap_or(&folder).display();
    Ok(print(&format!(
        "{folder}/ holds a plugin in {} that drops test orders, redacts e-mails and routes by region.\n\n  cd {folder}\n  strait plugin build\n  strait plugin test\n",
        lang.name()
    )))
}

fn make(args: &plugin::Project) -> Result<End, Refusal> {
    let project = Project::open(&args.folder)?;
    let wasm = build::build(&project).map_err(|error| error.to_string())?;
    Ok(print(&wasm.display().to_string()))
}

fn update(args: &plugin::Project, force: bool) -> Result<End, Refusal> {
    let project = Project::open(&args.folder)?;
    let lang = project.recipe.lang();
    let lang = lang.ok_or_else(|| format!("{} names no lang, so the project has no SDK", project::FILE))?;
    let folder = project.folder.join(sdk::FOLDER);
    let done = sdk::update(&folder, lang, force)?;
    let lists = [("added", &done.added), ("changed", &done.changed), ("removed", &done.removed)];
    let lines: Vec<String> = lists
        .iter()
        .flat_map(|(verb, paths)| paths.iter().map(move |path| format!("  {verb:<9}{}/{path}\n", sdk::FOLDER)))
        .collect();
    if lines.is_empty() {
        return Ok(print(&format!("the SDK is up to date: {}", done.to)));
    }
    Ok(print(&format!("the SDK is updated from {} to {}\n{}", done.from, done.to, lines.concat())))
}

fn test(args: &plugin::Project, case: Option<&str>, update: bool) -> Result<End, Refusal> {
    let project = Project::open(&args.folder)?;
    let subject = built(&project)?;
    let tally = cases::run(&project.folder.join("tests"), &subject, case, update)?;
    let verb = if update { "taken as expected" } else { "passed" };
    let printed = print(&format!("{}{} {verb}, {} failed", tally.text, tally.passed, tally.failed));
    Ok(if tally.failed > 0 { End::Failed } else { printed })
}

fn replay(chosen: &Chosen, records: &Path, changes: bool) -> Result<End, Refusal> {
    let subject = subject(chosen)?;
    let lines = read(records)?;
    let chains = runner::load(&runner::engine()?, &subject)?;
    Ok(show(&runner::run(&chains, &lines, Detail::Outcome)?, changes))
}

/// Runs records through all plugins of a link.
fn replay_link(loaded: &Loaded, link: &Link, records: &Path, changes: bool) -> Result<End, Refusal> {
    let lines = read(records)?;
    let selector = link.selector().map_err(|error| error.to_string())?;
    let topics: BTreeSet<&str> = lines.iter().map(|record| record.topic.as_str()).collect();
    for topic in topics.into_iter().filter(|topic| !selector.selects(topic)) {
        let topic = jsonl::quoted(topic);
        print_message(&format!("the link does not copy topic {topic} (topics, topics_exclude); shown all the same"));
    }
    let chains = runner::load_chain(&runner::engine()?, compose::chain(loaded, link))?;
    Ok(show(&runner::run(&chains, &lines, Detail::Stages)?, changes))
}

/// Prints the outcomes, and beside them the partitions that were not judged to their end.
fn show(ran: &Ran, changes: bool) -> End {
    let shown = ran.outcomes.iter().filter(|outcome| !changes || !outcome.unchanged);
    let text: String = shown.map(|outcome| format!("{}\n", outcome.json)).collect();
    let printed = print(&text);
    ran.stopped.iter().for_each(|stopped| print_message(&stopped.to_string()));
    if ran.stopped.is_empty() { printed } else { End::Failed }
}

fn measure(chosen: &Chosen, records: Option<&Path>, seconds: u64, output: Output) -> Result<End, Refusal> {
    let subject = subject(chosen)?;
    let records = match records {
        Some(path) => path.to_owned(),
        None => {
            cases::first_records(Path::new("tests")).ok_or("give a file with records, or go to a project with tests")?
        }
    };
    let lines = read(&records)?;
    let figures = bench::run(&subject, &lines, seconds)?;
    match output {
        Output::Text => Ok(print(&bench::text(&figures))),
        Output::Json => Ok(print(&serde_json::to_string(&figures).map_err(|error| error.to_string())?)),
    }
}

fn capture(
    loaded: &Loaded,
    topic: &str,
    cluster: Option<&str>,
    link: Option<&str>,
    records_max: usize,
) -> Result<End, Refusal> {
    let source = |name: &str| {
        let link = loaded.config.links.iter().find(|link| link.name == name);
        link.map(|link| link.source.as_str()).ok_or_else(|| format!("the configuration has no link '{name}'"))
    };
    let alias = match (cluster, link) {
        (Some(alias), _) => alias,
        (None, Some(name)) => source(name)?,
        (None, None) => return Err("say which with --cluster or --link".into()),
    };
    let settings = loaded.config.clusters.get(alias);
    let settings = settings.ok_or_else(|| format!("the configuration has no cluster '{alias}'"))?;
    let cluster = compose::cluster(loaded, alias, settings);
    let records = strait_kafka::capture::capture(&cluster, topic, records_max, CAPTURE_TIMEOUT);
    let records = records.map_err(|error| format!("{topic} on {alias}: {error}"))?;
    let text: String = records.iter().map(|record| format!("{}\n", jsonl::write(record))).collect();
    if text.is_empty() {
        print_message(&format!("{topic} on {alias} holds no records"));
        return Ok(End::Ok);
    }
    Ok(print(&text))
}

/// Returns the named plugin, else the project's.
fn subject(chosen: &Chosen) -> Result<Subject, Refusal> {
    let config = chosen.plugin_config.as_deref().map(serde_json::from_str::<Value>).transpose();
    let config = config.map_err(|error| Refusal::unusable(&format!("--plugin-config: {error}")))?;
    if let Some(text) = &chosen.plugin {
        return Ok(Subject::named(text, config.unwrap_or(Value::Null)));
    }
    let project = match Project::open(Path::new(".")) {
        Err(error @ ProjectError::NoProject { .. }) => {
            return Err(format!("{error}\nor say which plugin with --plugin").into());
        }
        opened => opened?,
    };
    let mut subject = built(&project)?;
    subject.config = config.unwrap_or(subject.config);
    Ok(subject)
}

fn built(project: &Project) -> Result<Subject, String> {
    let wasm = project.wasm();
    if !wasm.is_file() {
        return Err(format!("{} is not there; build it: strait plugin build", wasm.display()));
    }
    Ok(Subject::file(&project.name, &wasm, project.config.clone()))
}

fn read(path: &Path) -> Result<Vec<Record>, String> {
    let of = |error: String| format!("{}: {error}", path.display());
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let lines = jsonl::parse(&text.map_err(|error| of(error.to_string()))?).map_err(of)?;
    if lines.is_empty() {
        return Err(of("no records".to_owned()));
    }
    Ok(lines)
}
