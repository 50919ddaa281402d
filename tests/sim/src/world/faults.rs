//! The faults of a run: random ones, planted ones, and hooks at chosen points of the protocol.

use super::World;

/// How often things go wrong, in cases of 1000. All are zero once the faults have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A request or its answer is lost.
    pub lost: u64,
    /// A produce request fails for good.
    pub produce: u64,
    /// A delivery report comes without an offset.
    pub no_offset: u64,
    /// The result of a commit is unknown (request or answer lost).
    pub commit: u64,
    /// Reading a source partition fails.
    pub read: u64,
    /// The source client breaks as a whole.
    pub read_broken: u64,
    /// Quarantine does not take a record.
    pub quarantine: u64,
    /// The target says that the books cannot be written.
    pub books: u64,
    /// The target refuses a lane's producers for lack of a right.
    pub denied: u64,
    /// The producer's queue is full although it is not.
    pub queue_full: u64,
    /// A list of the source's topics comes from a broker that is behind.
    pub stale_topics: u64,
    /// A list of the source's topics has no ids.
    pub no_ids: u64,
    /// A question about the ids of the source's topics gets no answer.
    pub undescribed: u64,
    /// A partition has no leader when it is asked where it begins, or a broker is behind and does
    /// not know it, as often.
    pub no_start: u64,
    /// A broker is behind and does not know a topic that is read or asked for.
    pub unknown: u64,
}

/// A fault planted into the simulated world (or the ports), to prove that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Taking a lane initialises slot A only.
    SingleInit,
    /// Brokers do not fence.
    NoFencing,
    /// Progress is read before the inits.
    ReadBeforeInit,
    /// The progress reader takes uncommitted records.
    ReadUncommitted,
    /// Records are acknowledged when they are sent, so that a commit does not wait for them.
    CommitWithoutWaiting,
    /// An acknowledged record is not written.
    LoseRecord,
    /// A record is written twice.
    WriteTwice,
    /// Two records of a request change places.
    Swap,
    /// Reported offsets are one too large.
    WrongOffset,
    /// Quarantine acknowledges records without writing them.
    QuarantineLies,
    /// Entries of the books are acknowledged and not written.
    BooksLie,
    /// The books lose the marks of partitions that are read again.
    MarksLost,
    /// Progress is written beside the transaction.
    ProgressOutside,
    /// The source leaves a record out.
    SkipSource,
    /// Transactional ids that could not be initialised are not reported.
    HiddenIds,
    /// The source reads whatever incarnation of a topic there is.
    ReadByName,
    /// A warm-up is one offset shorter than the plugins asked for.
    ShortMemory,
    /// Plugins that protect less are taken for agreed.
    AgreedByAll,
    /// Plugins say that they protect a field less than they do, so that the border stays low.
    SaysLess,
    /// The brokers take transactions of a coordinator that was fenced.
    ControlUnfenced,
    /// Whatever the last tick says, a new coordinator reads that its predecessor has ended.
    ControlReleased,
    /// Requests of a batch begin however old its announcement is.
    PermitIgnored,
    /// A process does not see what groups have on the target.
    GroupBlind,
    /// Groups are put one record too far.
    GroupSkips,
}

/// A point of the protocol, at which a hook may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A transactional id was initialised, by number.
    Init(u8),
    /// Progress was read.
    ProgressRead,
    /// Data arrives at a broker.
    Produce,
    /// Progress and map records are written.
    ProgressWritten,
    /// The end of a transaction arrives at its coordinator.
    CommitArrives,
    /// The transaction is decided; markers and the answer are still to come.
    CommitDecided,
    /// Records were written to quarantine.
    Quarantined,
    /// Entries of the books are written.
    BooksWritten,
    /// The coordinator's id was initialised.
    CoordinatorTaken,
    /// A new coordinator reads the control topic.
    ControlRead,
    /// A batch of changes is announced; the answer is still to come.
    Announced,
    /// A request of such a batch has left its process.
    ChangeBegins,
    /// The target says what a group has there.
    GroupCompared,
    /// A group's offset is written; the answer is still to come.
    GroupWritten,
}

impl Point {
    /// The points of the link's coordinator.
    pub const OF_COORDINATOR: [Self; 4] =
        [Self::CoordinatorTaken, Self::ControlRead, Self::Announced, Self::ChangeBegins];

    /// The points of a coordinator that keeps groups.
    pub const OF_GROUPS: [Self; 5] =
        [Self::CoordinatorTaken, Self::ControlRead, Self::Announced, Self::GroupCompared, Self::GroupWritten];

    /// Every point of a lane, for the two ids that a lane uses first. The last two need records
    /// that are refused.
    pub const ALL: [Self; 9] = [
        Self::Init(0),
        Self::Init(1),
        Self::ProgressRead,
        Self::Produce,
        Self::ProgressWritten,
        Self::CommitArrives,
        Self::CommitDecided,
        Self::Quarantined,
        Self::BooksWritten,
    ];
}

/// Something that happens once, when its point is reached for the nth time from now.
pub struct Hook {
    /// The point.
    pub point: Point,
    /// How often the point is passed before.
    pub skip: u64,
    /// The action. It gets the process that reached the point.
    pub run: Box<dyn FnOnce(&mut World, usize) + Send>,
}
