//! The surroundings of a link: clock and events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::Event;
use strait_flow::ports::{Clock, EventSink};

/// A clock that moves only by hand, and the names and texts of the events.
#[derive(Default)]
pub struct World {
    ms: AtomicU64,
    pub events: Mutex<Vec<String>>,
    pub texts: Mutex<Vec<String>>,
}

impl World {
    pub fn clock(self: &Arc<Self>) -> Arc<dyn Clock> {
        Arc::<Self>::clone(self)
    }

    pub fn events(self: &Arc<Self>) -> Arc<dyn EventSink> {
        Arc::<Self>::clone(self)
    }

    pub fn pass(&self, time: Duration) {
        self.ms.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for World {
    fn now(&self) -> Duration {
        Duration::from_millis(self.ms.load(Ordering::SeqCst))
    }

    fn unix_ms(&self) -> i64 {
        1_700_000_000_000 + self.ms.load(Ordering::SeqCst) as i64
    }
}

impl EventSink for World {
    fn emit(&self, link: &str, event: Event) {
        assert_eq!(link, "aws-to-gcp");
        self.events.lock().unwrap().push(event.name().to_owned());
        self.texts.lock().unwrap().push(event.to_string());
    }
}
