//! Plugins that were rolled back, remembered from one start to the next: their files are still in
//! place, and a start loads them again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use strait_core::{ChainEvent, Event, Generation};
use strait_flow::ports::EventSink;
use tempfile::NamedTempFile;

/// Takes the events of a link's plugins, and keeps which ones were rolled back.
pub struct RolledBack {
    events: Arc<dyn EventSink>,
    folder: PathBuf,
    link: String,
}

impl RolledBack {
    /// Keeps them below a process's `state_dir`.
    #[must_use]
    pub fn new(events: Arc<dyn EventSink>, state_dir: PathBuf, link: &str) -> Self {
        Self { events, folder: state_dir.join("rolled-back"), link: link.to_owned() }
    }

    /// Says of plugins that a process begins with whether they were rolled back before.
    pub fn begins_with(&self, generation: &Generation) {
        let known = self.read();
        let again: Vec<&str> = plugins(&generation.0).filter(|plugin| known.contains(*plugin)).collect();
        if !again.is_empty() {
            let event = ChainEvent::Returned { plugins: again.join(", ").into() };
            self.events.emit(&self.link, Event::Chain(event));
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.link))
    }

    fn read(&self) -> BTreeSet<String> {
        let read = fs::read(self.file()).and_then(|text| Ok(serde_json::from_slice(&text)?));
        match read {
            Ok(known) => known,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                let file = self.file();
                tracing::warn!(link = self.link, file = %file.display(), %error, "plugins that were rolled back are not known");
                BTreeSet::new()
            }
        }
    }

    fn write(&self, known: &BTreeSet<String>) {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut aside = NamedTempFile::new_in(&self.folder)?;
            aside.write_all(&serde_json::to_vec(known)?)?;
            aside.persist(self.file())?;
            Ok(())
        };
        if let Err(error) = write() {
            let file = self.file();
            tracing::warn!(link = self.link, file = %file.display(), %error, "plugins that were rolled back are not remembered");
        }
    }

    /// Remembers the plugins of the last roll-back alone: those before it are not in use any more.
    fn rolled_back(&self, generation: &str, serving: &str) {
        let good: BTreeSet<&str> = plugins(serving).collect();
        let bad = plugins(generation).filter(|plugin| !good.contains(plugin));
        self.write(&bad.map(str::to_owned).collect());
    }

    /// Forgets plugins that an operator has made active again.
    fn reloaded(&self, generation: &str) {
        let mut known = self.read();
        let before = known.len();
        for plugin in plugins(generation) {
            known.remove(plugin);
        }
        if known.len() != before {
            self.write(&known);
        }
    }
}

fn plugins(generation: &str) -> impl Iterator<Item = &str> {
    generation.split(',')
}

impl EventSink for RolledBack {
    fn emit(&self, link: &str, event: Event) {
        match &event {
            Event::Chain(ChainEvent::RolledBack { generation, serving, .. }) => self.rolled_back(generation, serving),
            Event::Chain(ChainEvent::Reloaded { generation, .. }) => self.reloaded(generation),
            _ => {}
        }
        self.events.emit(link, event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Said(Mutex<Vec<Event>>);

    impl EventSink for Said {
        fn emit(&self, _: &str, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn a_start_says_of_plugins_that_were_rolled_back_that_they_are_in_force_again() {
        let folder = tempfile::tempdir().unwrap();
        let said = Arc::new(Said::default());
        let (good, bad) = ("filter@a+1,redact@b+2", "filter@c+1,redact@b+2");
        let process = || RolledBack::new(Arc::clone(&said) as Arc<dyn EventSink>, folder.path().to_owned(), "l");
        let begin = |generation: &str| {
            said.0.lock().unwrap().clear();
            process().begins_with(&Generation(generation.into()));
            said.0.lock().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(begin(bad).is_empty());
        let reason = "why".to_owned();
        let rolled_back = ChainEvent::RolledBack { generation: bad.into(), serving: good.into(), reason };
        process().emit("l", Event::Chain(rolled_back));
        assert!(begin(good).is_empty());
        let again = begin(bad);
        assert!(again.len() == 1 && again[0].contains("filter@c+1") && !again[0].contains("redact"), "{again:?}");
        assert_eq!(begin(bad), again, "until something is changed");
        // Somebody has insisted.
        let reloaded = ChainEvent::Reloaded { generation: bad.into(), took_ms: 1, reason: String::new() };
        process().emit("l", Event::Chain(reloaded));
        assert!(begin(bad).is_empty());
    }
}
