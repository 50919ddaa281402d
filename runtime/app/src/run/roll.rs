//! Takes lanes again one by one, for certificates that changed.

use std::collections::VecDeque;
use std::time::Duration;

use strait_core::LaneId;
use strait_flow::LaneState;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a lane may take until it runs with new certificates.
const ROLL: Duration = Duration::from_secs(60);
/// Lanes that are named; the others are counted.
const NAMED_MAX: usize = 10;

/// A lane of this process: the number of its link, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the link.
    pub link: usize,
    /// The lane.
    pub lane: LaneId,
}

/// The lanes of this process that use a cluster.
pub trait Lanes: Sync {
    /// Returns the state of a lane; `None` if it is not here any more.
    fn state(&self, place: Place) -> Option<LaneState>;

    /// Asks a lane to be taken again. Answered once it runs, closed if it leaves this process.
    fn roll(&self, place: Place) -> oneshot::Receiver<()>;

    /// Returns the name of a lane.
    fn name(&self, place: Place) -> String;
}

/// How far a roll is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rolling {
    /// It goes on.
    Goes,
    /// This lane ran, and has not come back. It is waited for.
    Waits(Place),
    /// Every lane has the new certificates, or has them from its next take on.
    Done,
}

/// A roll under way. A lane that runs has to come back before the next one is taken again, as what
/// keeps it may be the new files. One that does not run anyway holds nobody up: each take makes new
/// clients, and those have the files that are valid then.
pub struct Roll {
    left: VecDeque<Place>,
    current: Option<Current>,
    later: Vec<Place>,
}

struct Current {
    place: Place,
    answer: oneshot::Receiver<()>,
    since: Instant,
    /// It ran when it was asked.
    ran: bool,
}

impl Roll {
    /// Begins a roll of these lanes.
    #[must_use]
    pub fn of(lanes: impl IntoIterator<Item = Place>) -> Self {
        Self { left: lanes.into_iter().collect(), current: None, later: Vec::new() }
    }

    /// Goes on for this long.
    pub async fn go_on(&mut self, lanes: &dyn Lanes, long: Duration) -> Rolling {
        let until = Instant::now() + long;
        loop {
            if let Some(current) = &mut self.current {
                // An answer that cannot come any more is of a lane that has left.
                if tokio::time::timeout_at(until, &mut current.answer).await.is_err() {
                    let (place, is_late) = (current.place, current.since.elapsed() >= ROLL);
                    if lanes.state(place).is_none() {
                        // It was leaving when it was asked.
                        self.current = None;
                        continue;
                    }
                    if !current.ran && (is_late || lanes.state(place) != Some(LaneState::Taking)) {
                        self.pass();
                        continue;
                    }
                    if is_late {
                        current.since = Instant::now();
                    }
                    return if is_late { Rolling::Waits(place) } else { Rolling::Goes };
                }
                self.current = None;
            }
            let Some(place) = self.left.pop_front() else { return Rolling::Done };
            match lanes.state(place) {
                None => {}
                // One that is being taken may have made clients before the files changed. Once it
                // runs, it is taken again, however late that is.
                Some(state @ (LaneState::Running | LaneState::Taking)) => {
                    let (answer, since) = (lanes.roll(place), Instant::now());
                    self.current = Some(Current { place, answer, since, ran: state == LaneState::Running });
                }
                Some(LaneState::Waiting | LaneState::Refused | LaneState::Standby) => self.later.push(place),
            }
        }
    }

    /// Does not wait for the present lane any more: something else than the files keeps it.
    pub fn pass(&mut self) {
        self.later.extend(self.current.take().map(|current| current.place));
    }

    /// Returns the lanes that take the files later, in words.
    #[must_use]
    pub fn later(&self, lanes: &dyn Lanes) -> Option<String> {
        let named = self.later.iter().take(NAMED_MAX).map(|place| lanes.name(*place));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if self.later.len() > NAMED_MAX {
            named.push_str(&format!(" and {} more", self.later.len() - NAMED_MAX));
        }
        (!named.is_empty()).then_some(named)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    const LOOK: Duration = Duration::from_secs(1);

    /// Lanes of one link, by number.
    struct Fake {
        states: Mutex<BTreeMap<u32, LaneState>>,
        asked: Mutex<Vec<(u32, oneshot::Sender<()>)>>,
    }

    impl Fake {
        fn of(states: &[(u32, LaneState)]) -> Self {
            Self { states: Mutex::new(states.iter().copied().collect()), asked: Mutex::default() }
        }

        /// Returns the lanes that were asked to be taken again.
        fn asked(&self) -> Vec<u32> {
            self.asked.lock().unwrap().iter().map(|(lane, _)| *lane).collect()
        }

        fn runs_again(&self, lane: u32) {
            let mut asked = self.asked.lock().unwrap();
            let at = asked.iter().position(|(asked, _)| *asked == lane).unwrap();
            asked.remove(at).1.send(()).unwrap();
        }
    }

    impl Lanes for Fake {
        fn state(&self, place: Place) -> Option<LaneState> {
            self.states.lock().unwrap().get(&place.lane.0).copied()
        }

        fn roll(&self, place: Place) -> oneshot::Receiver<()> {
            let (sender, receiver) = oneshot::channel();
            self.asked.lock().unwrap().push((place.lane.0, sender));
            receiver
        }

        fn name(&self, place: Place) -> String {
            format!("lane {}", place.lane)
        }
    }

    fn roll(count: u32) -> Roll {
        Roll::of((0..count).map(|lane| Place { link: 0, lane: LaneId(lane) }))
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_that_do_not_run_hold_up_no_other_and_have_the_files_later() {
        use LaneState::{Refused, Running, Taking, Waiting};
        let lanes = Fake::of(&[(0, Waiting), (1, Running), (2, Refused), (3, Taking), (4, Running)]);
        let mut roll = roll(6);
        assert_eq!(roll.go_on(&lanes, LOOK).await, Rolling::Goes);
        assert_eq!(lanes.asked(), [1], "one at a time");
        lanes.runs_again(1);
        assert_eq!(roll.go_on(&lanes, LOOK).await, Rolling::Goes);
        assert_eq!(lanes.asked(), [3], "it may have the old files yet");
        lanes.states.lock().unwrap().insert(3, Waiting);
        assert_eq!(roll.go_on(&lanes, LOOK).await, Rolling::Goes);
        assert_eq!(lanes.asked(), [3, 4]);
        lanes.runs_again(4);
        assert_eq!(roll.go_on(&lanes, LOOK).await, Rolling::Done);
        assert_eq!(roll.later(&lanes).as_deref(), Some("lane 0, lane 2, lane 3"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_does_not_come_back_holds_up_the_others_until_it_does_or_is_passed() {
        let lanes = Fake::of(&[(0, LaneState::Running), (1, LaneState::Running)]);
        let mut roll = roll(2);
        let mut told = Vec::new();
        for _ in 0..150 {
            told.push(roll.go_on(&lanes, LOOK).await);
        }
        let waits = |told: &Rolling| matches!(told, Rolling::Waits(place) if place.lane == LaneId(0));
        assert_eq!(told.iter().filter(|told| waits(told)).count(), 2, "once a minute");
        assert_eq!(lanes.asked(), [0]);
        roll.pass();
        assert_eq!(roll.go_on(&lanes, LOOK).await, Rolling::Goes);
        assert_eq!(lanes.asked(), [0, 1]);
        // The lane leaves this process, before it has heard of the request or after that.
        lanes.states.lock().unwrap().remove(&1);
        assert_eq!(roll.go_on(&lanes, LOOK).await, Rolling::Done);
        let mut another = Roll::of([Place { link: 0, lane: LaneId(0) }]);
        assert_eq!(another.go_on(&lanes, LOOK).await, Rolling::Goes);
        lanes.asked.lock().unwrap().clear();
        assert_eq!(another.go_on(&lanes, LOOK).await, Rolling::Done);
        assert_eq!(roll.go_on(&lanes, LOOK).await, Rolling::Done);
        assert_eq!(roll.later(&lanes).as_deref(), Some("lane 0"));
    }
}
