//! The works of a link, carried out as one: several within one announced batch, each for itself.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use strait_core::control::turn::Permit;
use strait_core::control::{Control, ControlRecord};

use crate::ports::{LinkWork, Now, PortError};

/// Minimum and maximum wait of a work after it has failed; doubles.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One work during a turn.
struct Slot<'a> {
    work: &'a dyn LinkWork,
    /// It has nothing to do, until it has.
    waiting: Option<Waiting<'a>>,
    /// How long it waits, as it has failed.
    retry: Option<Duration>,
}

impl<'a> Slot<'a> {
    /// Waits anew, with the control topic as it is now.
    fn wait(&mut self, known: Control) {
        let (work, rest) = (self.work, self.retry.unwrap_or_default());
        self.waiting = Some(Box::pin(async move {
            tokio::time::sleep(rest).await;
            work.wanted(known).await;
        }));
    }
}

/// The works of a link during one turn of its coordinator.
pub(super) struct Works<'a> {
    slots: Vec<Slot<'a>>,
    /// Numbers of those that want a batch; whoever has waited longest is first.
    wanting: Vec<usize>,
}

/// The end of a batch.
pub(super) struct Done {
    /// All that the control topic is to say of it.
    pub records: Vec<ControlRecord>,
    /// Names of the works that ran, with the failure of each that failed.
    pub ended: Vec<(&'static str, Option<PortError>)>,
    ran: Vec<(usize, bool)>,
    /// Numbers of the works that the permit was too short for.
    left: Vec<usize>,
}

impl<'a> Works<'a> {
    /// Begins to wait for all of them.
    pub fn new(all: &'a [Arc<dyn LinkWork>], known: &Control) -> Self {
        all.iter().for_each(|work| work.begins());
        let slot = |work: &'a Arc<dyn LinkWork>| Slot { work: &**work, waiting: None, retry: None };
        let mut slots: Vec<Slot<'a>> = all.iter().map(slot).collect();
        slots.iter_mut().for_each(|slot| slot.wait(known.clone()));
        Self { slots, wanting: Vec::new() }
    }

    /// Waits until another one wants a batch. Cancel safe: those that have nothing to do wait on,
    /// so that none is held up by one that often has.
    pub async fn wanted(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let before = self.wanting.len();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Some(waiting) = &mut slot.waiting else { continue };
            if waiting.as_mut().poll(context).is_ready() {
                slot.waiting = None;
                self.wanting.push(number);
            }
        }
        if self.wanting.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Returns the batch of those that want one by now, in the order in which they came.
    pub fn batch(&mut self, permit: Permit, now: Now<'a>) -> impl Future<Output = Done> + Send + use<'a> {
        let works: Vec<(usize, &'a dyn LinkWork)> = std::mem::take(&mut self.wanting)
            .into_iter()
            .filter_map(|number| Some((number, self.slots.get(number)?.work)))
            .collect();
        carried_out(works, permit, now)
    }

    /// The batch has ended: those that ran wait anew. Returns whether another batch is wanted.
    pub fn ended(&mut self, done: &Done, known: &Control) -> bool {
        for (number, failed) in &done.ran {
            let Some(slot) = self.slots.get_mut(*number) else { continue };
            let next = |last: Option<Duration>| last.map_or(RETRY.0, |wait| (wait * 2).min(RETRY.1));
            slot.retry = failed.then(|| next(slot.retry));
            slot.wait(known.clone());
        }
        self.wanting.splice(0..0, done.left.iter().copied());
        !self.wanting.is_empty()
    }
}

async fn carried_out(works: Vec<(usize, &dyn LinkWork)>, permit: Permit, now: Now<'_>) -> Done {
    let mut done = Done { records: Vec::new(), ended: Vec::new(), ran: Vec::new(), left: Vec::new() };
    for (number, work) in works {
        // Whoever is left out is first in the next batch.
        if !permit.allows(now()) {
            done.left.push(number);
            continue;
        }
        let error = match work.carry_out(permit, now).await {
            Ok(records) => {
                done.records.extend(records);
                None
            }
            Err(error) => Some(error),
        };
        done.ran.push((number, error.is_some()));
        done.ended.push((work.name(), error));
    }
    done
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use strait_core::OwnerEpoch;
    use strait_core::control::TopicRecord;
    use tokio::time::Instant;

    use super::*;
    use crate::lock::lock;
    use crate::ports::Class;

    const S: Duration = Duration::from_secs(1);

    /// Wants a batch after reading for `reads`; its batch takes `takes`.
    struct Script {
        name: &'static str,
        reads: Duration,
        takes: Duration,
        fails: bool,
        ran: AtomicU64,
        log: Arc<Mutex<Vec<&'static str>>>,
    }

    #[async_trait]
    impl LinkWork for Script {
        fn name(&self) -> &'static str {
            self.name
        }

        async fn wanted(&self, _known: Control) {
            tokio::time::sleep(self.reads).await;
        }

        async fn carry_out(&self, _permit: Permit, _now: Now<'_>) -> Result<Vec<ControlRecord>, PortError> {
            lock(&self.log).push(self.name);
            self.ran.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.takes).await;
            if self.fails {
                return Err(PortError::new(Class::Retry, self.name, "it is broken"));
            }
            Ok(vec![ControlRecord::Topic(self.name.into(), Some(TopicRecord::default()))])
        }
    }

    fn names(records: &[ControlRecord]) -> Vec<String> {
        let name = |record: &ControlRecord| match record {
            ControlRecord::Topic(name, _) => name.to_string(),
            other => panic!("{other:?}"),
        };
        records.iter().map(name).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_work_runs_for_itself_and_none_is_held_up() {
        let log = Arc::default();
        let script = |name, reads, takes, fails| {
            let log = Arc::clone(&log);
            Arc::new(Script { name, reads, takes, fails, ran: AtomicU64::new(0), log })
        };
        // One that always has something, one that reads for long, one that fails, and one that uses
        // a permit up.
        let often = script("often", S / 10, S / 10, false);
        let slow = script("slow", S * 7, S / 10, false);
        let broken = script("broken", S / 10, S / 10, true);
        let long = script("long", S / 10, S * 5, false);
        let all: Vec<Arc<dyn LinkWork>> = [&long, &often, &slow, &broken].map(|work| Arc::clone(work) as _).to_vec();
        let began = Instant::now();
        let now = move || began.elapsed();
        let mut works = Works::new(&all, &Control::default());
        let (mut left, mut written) = (0, Vec::new());
        while began.elapsed() < S * 120 {
            if works.wanting.is_empty() {
                works.wanted().await;
            }
            let permit = Permit { owner: OwnerEpoch::default(), batch: 1, until: began.elapsed() + S * 5 };
            let batch = works.batch(permit, &now);
            tokio::pin!(batch);
            let done = loop {
                tokio::select! { biased;
                    done = &mut batch => break done,
                    () = works.wanted() => {}
                }
            };
            for (name, error) in &done.ended {
                assert_eq!(error.is_some(), *name == "broken");
            }
            written.extend(names(&done.records));
            left += done.left.len();
            works.ended(&done, &Control::default());
        }
        let ran = |script: &Arc<Script>| script.ran.load(Ordering::Relaxed);
        assert!(left > 0, "no permit was too short");
        assert!(ran(&long) >= 15 && ran(&often) >= 15 && ran(&slow) >= 8, "{:?}", lock(&log));
        assert!((4..=12).contains(&ran(&broken)), "it rests longer and longer: {}", ran(&broken));
        let kept = ran(&often) + ran(&slow) + ran(&long);
        assert_eq!(written.len() as u64, kept, "the records of the others are kept");
    }
}
