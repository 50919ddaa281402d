//! Files and configurations that change in every way that files change, without a broker.

#[path = "../../tests/stamp/mod.rs"]
mod stamp;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use strait_core::Event;
use strait_flow::ports::{ChainFactory as _, EventSink};
use strait_host::{ActiveChainDeps, HistoryOutcome};
use tempfile::TempDir;

use super::*;
use crate::board::plugins::ReloadOutcome;
use crate::load::{self, Environment};

const SETTLE_MS: u64 = 500;

#[derive(Default)]
struct World {
    ms: AtomicU64,
    events: Mutex<Vec<String>>,
}

impl Clock for World {
    fn now(&self) -> Duration {
        Duration::from_millis(self.ms.load(Ordering::Relaxed))
    }

    fn unix_ms(&self) -> i64 {
        0
    }
}

impl EventSink for World {
    fn emit(&self, _link: &str, event: Event) {
        self.events.lock().unwrap().push(event.to_string());
    }
}

fn stamp(version: &str) -> Vec<u8> {
    stamp::stamp(version, "")
}

/// A link with a chain from files, and a clock that only the test moves.
struct Bed {
    folder: TempDir,
    world: Arc<World>,
    reloads: Reloads,
}

fn config(plugins: &str, more: &str) -> String {
    format!(
        "[clusters.a]\nbootstrap_servers = \"a:9092\"\n[clusters.b]\nbootstrap_servers = \"b:9092\"\n\
         [[links]]\nname = \"l\"\nsource = \"a\"\ntarget = \"b\"\ntopics = [\"t\"]\n{more}\nplugins = [{plugins}]\n"
    )
}

const STAMP: &str = "{ plugin = \"stamp\" }";

impl Bed {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        let file = folder.path().join("strait.toml");
        fs::write(&file, config(STAMP, "")).unwrap();
        prepare(&folder.path().join("plugins"));
        let loaded = Arc::new(load::load(&file, &Environment::default()).unwrap());
        let engine = HostEngine::new().unwrap();
        let world = Arc::new(World::default());
        let link = &loaded.config.links[0];
        let chains = strait_host::HostChains::load(&engine, compose::chain(&loaded, link)).unwrap();
        let deps = ActiveChainDeps {
            link: "l".into(),
            clock: Arc::<World>::clone(&world),
            events: Arc::<World>::clone(&world),
        };
        let slot = ActiveChain::new(deps, chains);
        let clock = Arc::<World>::clone(&world);
        let reloads = Reloads::new(&loaded, engine, clock, Arc::default(), vec![("l".to_owned(), slot)]);
        let bed = Self { folder, world, reloads };
        assert_eq!(bed.settle(), Vec::new());
        bed
    }

    fn plugins(&self) -> std::path::PathBuf {
        self.folder.path().join("plugins")
    }

    fn put(&self, version: &str) {
        fs::write(self.plugins().join("new"), stamp(version)).unwrap();
        fs::rename(self.plugins().join("new"), self.plugins().join("stamp.wasm")).unwrap();
    }

    fn configure(&self, plugins: &str, more: &str) {
        fs::write(self.folder.path().join("new"), config(plugins, more)).unwrap();
        fs::rename(self.folder.path().join("new"), self.folder.path().join("strait.toml")).unwrap();
    }

    /// Polls once, without time passing, and returns the outcomes.
    fn poll(&self) -> Vec<HistoryOutcome> {
        let before = self.history().len();
        self.reloads.shared.tick();
        self.reloads.shared.poll();
        self.history().split_off(before).into_iter().map(|entry| entry.outcome).collect()
    }

    /// Polls until no file is still settling.
    fn settle(&self) -> Vec<HistoryOutcome> {
        let mut outcomes = self.poll();
        self.world.ms.fetch_add(SETTLE_MS, Ordering::Relaxed);
        outcomes.extend(self.poll());
        outcomes
    }

    fn history(&self) -> Vec<HistoryEntry> {
        self.reloads.history("l").unwrap()
    }

    fn reason(&self) -> String {
        self.history().pop().unwrap().reason
    }

    fn serving(&self) -> String {
        self.reloads.state()[0].chain.plugins.iter().map(|plugin| plugin.version.as_str()).collect()
    }

    fn ask(&self, request: ReloadRequest) -> ReloadReport {
        self.reloads.shared.reload("l", request).unwrap()
    }
}

#[test]
fn a_secret_that_is_rotated_comes_into_force_by_itself() {
    let bed = Bed::new(|plugins| {
        plain(plugins);
        fs::write(plugins.with_file_name("key"), "the first canary\n").unwrap();
    });
    bed.configure("{ plugin = \"stamp\", config = { tokens = [\"${file:key}\"] } }", "");
    assert_eq!(bed.settle(), [HistoryOutcome::Reloaded]);
    assert_eq!(bed.settle(), []);
    let before = bed.reloads.state()[0].chain.generation.clone();
    fs::write(bed.plugins().with_file_name("key"), "the second canary\n").unwrap();
    assert_eq!(bed.settle(), [HistoryOutcome::Reloaded]);
    assert_ne!(bed.reloads.state()[0].chain.generation, before);
    // A message that is late may still quote the old one.
    let said = bed.reloads.shared.first.mask().apply("the first canary, the second canary").into_owned();
    assert!(!said.contains("canary"), "{said}");
}

fn plain(plugins: &Path) {
    fs::write(plugins.join("stamp.wasm"), stamp("A")).unwrap();
}

#[test]
fn settled_files_are_loaded_and_a_chain_that_does_not_load_changes_nothing() {
    let bed = Bed::new(plain);
    let slot = bed.reloads.slot("l").unwrap().clone();
    let lane = slot.chain().unwrap();
    assert_eq!(bed.serving(), "A");

    // Renamed over: taken once it has rested, and only then.
    bed.put("B");
    assert_eq!((bed.poll(), bed.poll(), bed.serving().as_str()), (vec![], vec![], "A"));
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Reloaded], "B"));
    assert_eq!(bed.settle(), vec![]);

    // In the words of `check` and `run` (tests/cli.rs).
    fs::write(bed.plugins().join("stamp.wasm"), stamp::stamp("X", include_str!("../../tests/doubling.json").trim()))
        .unwrap();
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], "B"));
    let words = "its references are followed 2047 times, each counted with what it leads to, 1000 are allowed";
    assert!(bed.reason().contains(words), "{}", bed.reason());

    // Half written in place: nothing while it grows, refused when it rests like that, taken when it
    // is whole.
    let whole = stamp("C");
    let file = bed.plugins().join("stamp.wasm");
    for part in [10, 100, 200] {
        fs::write(&file, &whole[..part]).unwrap();
        bed.world.ms.fetch_add(SETTLE_MS - 1, Ordering::Relaxed);
        assert_eq!(bed.poll(), vec![]);
    }
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], "B"));
    assert!(bed.reason().contains("not valid WebAssembly"), "{}", bed.reason());
    assert_eq!(bed.reloads.state()[0].problem.as_deref(), Some(bed.reason().as_str()));
    assert_eq!(bed.settle(), vec![], "the same bad file was loaded twice");
    fs::write(&file, &whole).unwrap();
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Reloaded], "C"));
    assert_eq!(bed.reloads.state()[0].problem, None);

    // Touched, or the same bytes again: the same version.
    bed.put("C");
    assert_eq!(bed.settle(), vec![]);

    // Deleted: refused once, and the active chain stays. Put back: no problem is left.
    fs::remove_file(&file).unwrap();
    assert_eq!((bed.settle(), bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], vec![], "C"));
    assert!(bed.reason().contains("cannot be read"), "{}", bed.reason());
    bed.put("C");
    assert_eq!((bed.settle(), bed.reloads.state()[0].problem.clone()), (vec![], None));

    // Taken back by an operator: not taken again until it is another file, or somebody insists.
    bed.put("D");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Reloaded], "D"));
    let entry = bed.reloads.shared.rollback("l", false).unwrap();
    assert_eq!((entry.outcome, bed.serving().as_str()), (HistoryOutcome::RolledBack, "C"));
    bed.put("D");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], "C"));
    assert!(bed.reason().contains("broke before or was rolled back"), "{}", bed.reason());
    let report = bed.ask(ReloadRequest { force: true, ..ReloadRequest::default() });
    assert_eq!((report.outcome, bed.serving().as_str()), (ReloadOutcome::Reloaded, "D"), "{}", report.reason);
    assert_eq!(bed.ask(ReloadRequest::default()).outcome, ReloadOutcome::Unchanged);
    drop(lane);
    println!("{:#?}", bed.world.events.lock().unwrap());
}

#[test]
fn a_link_with_residency_takes_over_no_plugin_that_is_not_required() {
    let bed = Bed::new(|plugins| {
        plain(plugins);
        let required = config("{ plugin = \"stamp\", required = true }", "residency = true");
        fs::write(plugins.with_file_name("strait.toml"), required).unwrap();
    });
    bed.configure(STAMP, "residency = true");
    assert_eq!(bed.settle(), [HistoryOutcome::Refused]);
    let reason = bed.reason();
    assert!(reason.contains("plugin stamp") && reason.contains("set required = true"), "{reason}");
}

#[test]
fn a_link_waits_for_no_other_one_whose_plugins_are_being_loaded() {
    let bed = Bed::new(plain);
    let shared = &bed.reloads.shared;
    let (events, clock) = (Arc::<World>::clone(&bed.world), Arc::<World>::clone(&bed.world));
    let deps = ActiveChainDeps { link: "m".into(), clock: Arc::<World>::clone(&bed.world), events };
    let slots = vec![
        ("l".to_owned(), shared.links["l"].slot.clone()),
        ("m".to_owned(), ActiveChain::new(deps, shared.links["l"].slot.chains())),
    ];
    let both = Reloads::new(&shared.first, shared.engine.clone(), clock, Arc::default(), slots);
    let _compiling = lock(&both.shared.links["l"].changing);
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let other = Arc::clone(&both.shared);
    std::thread::spawn(move || {
        other.tick();
        answer.send(other.rollback("m", false)).unwrap();
    });
    let rolled = answered.recv_timeout(Duration::from_secs(60)).expect("it waits for link l");
    assert!(rolled.unwrap_err().to_string().contains("no chain to go back to"));
}

#[test]
fn symbolic_links_are_followed_to_their_targets() {
    // As a mounted volume of Kubernetes: the file leads through a folder that is exchanged as a
    // whole.
    let bed = Bed::new(|plugins| {
        for (folder, version) in [("..1", "A"), ("..2", "B")] {
            fs::create_dir(plugins.join(folder)).unwrap();
            fs::write(plugins.join(folder).join("stamp.wasm"), stamp(version)).unwrap();
        }
        symlink("..1", plugins.join("..data")).unwrap();
        symlink("..data/stamp.wasm", plugins.join("stamp.wasm")).unwrap();
    });
    assert_eq!(bed.serving(), "A");
    symlink("..2", bed.plugins().join("..data_tmp")).unwrap();
    fs::rename(bed.plugins().join("..data_tmp"), bed.plugins().join("..data")).unwrap();
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Reloaded], "B"));
}

#[test]
fn of_the_configuration_only_the_plugins_change_while_it_runs() {
    let bed = Bed::new(plain);
    let second = "{ plugin = \"stamp\" }, { plugin = \"other\" }";
    // Another plugin, whose file comes later.
    bed.configure(second, "");
    assert_eq!(bed.settle(), vec![HistoryOutcome::Refused]);
    fs::write(bed.plugins().join("other.wasm"), stamp("Z")).unwrap();
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Reloaded], "AZ"));

    // Not valid: nothing happens.
    bed.configure(second, "nonsense = 1");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], "AZ"));
    assert!(bed.reason().contains("nonsense"), "{}", bed.reason());

    // An option that needs a restart, alone and together with plugins; files still change
    // meanwhile.
    bed.configure(second, "drain_ms_max = 5");
    assert_eq!(bed.settle(), vec![]);
    assert_eq!(bed.reloads.state()[0].needs_restart, ["links.l.drain_ms_max"]);
    bed.put("B");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Reloaded], "BZ"));
    bed.configure(STAMP, "drain_ms_max = 5");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], "BZ"));
    assert!(bed.reason().contains("changed together"), "{}", bed.reason());
    bed.configure(STAMP, "");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Reloaded], "B"));
    assert_eq!(bed.reloads.state()[0].needs_restart, Vec::<String>::new());

    // What would protect less must be meant.
    bed.configure("{ plugin = \"stamp\", required = true }", "");
    assert_eq!(bed.settle(), vec![HistoryOutcome::Reloaded]);
    let error = bed.reloads.shared.rollback("l", false).unwrap_err().to_string();
    assert!(error.contains("plugin stamp is not required any more") && error.contains("--confirm"), "{error}");
    assert_eq!(bed.reloads.state()[0].chain.standing, strait_host::TrialPhase::Steady);
    bed.configure(STAMP, "");
    assert_eq!(bed.settle(), vec![HistoryOutcome::Refused]);
    assert!(bed.reason().contains("--confirm"), "{}", bed.reason());
    // So must another file of it.
    bed.configure("{ plugin = \"stamp\", required = true }", "");
    bed.put("E");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], "B"));
    assert!(bed.reason().contains("plugin stamp has another file"), "{}", bed.reason());
    bed.put("B");
    assert_eq!(bed.settle(), vec![]);
    bed.configure("", "");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::Refused], "B"));
    let report = bed.ask(ReloadRequest { confirm: true, ..ReloadRequest::default() });
    assert_eq!((report.outcome, bed.serving().as_str()), (ReloadOutcome::Reloaded, ""), "{}", report.reason);
    assert_eq!(bed.reloads.state()[0].chain.generation, "none");

    // Only when it is asked for.
    bed.configure(STAMP, "reload = { mode = \"manual\" }");
    assert_eq!(bed.settle(), vec![HistoryOutcome::Reloaded]);
    bed.put("C");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![], "B"));
    assert_eq!((bed.ask(ReloadRequest::default()).outcome, bed.serving().as_str()), (ReloadOutcome::Reloaded, "C"));
    // And first in the shadow, withdrawn when the file is changed back.
    bed.configure(STAMP, "reload = { mode = \"shadow\" }");
    assert_eq!(bed.ask(ReloadRequest::default()).outcome, ReloadOutcome::Unchanged);
    bed.put("D");
    assert_eq!((bed.settle(), bed.serving().as_str()), (vec![HistoryOutcome::OnTrial], "C"));
    bed.put("C");
    assert_eq!((bed.settle(), bed.reloads.state()[0].chain.beside.clone()), (vec![HistoryOutcome::RolledBack], None));
}
