//! Strait's promises, proven on the binary that users run, against real brokers.
//!
//! Scenarios have topics and links of their own on one pair of clusters, which the first of them
//! starts; those that kill brokers or configure them start their own. Two run at a time, beside two
//! that mostly wait, and at last those alone that measure times (`support/turn.rs`). The end of
//! each is told with its time.
//! `STRAIT_TEST_RECORDS` bounds the volumes, `STRAIT_TEST_SEED` changes the random numbers (it is
//! printed), `STRAIT_BIN` names another binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails ends its test"
)]

mod acl;
mod admin;
mod bad_input;
mod batches;
mod bombs;
mod books;
mod border;
mod border_kills;
mod canary;
mod chaos;
mod clouds;
mod coordinator;
mod copy;
mod damaged;
mod deletions;
mod follow;
mod framed;
mod gaps;
mod groups;
mod groups_of_links;
mod identity;
mod lanes;
mod large;
mod leaderless;
mod listeners;
mod logins;
mod matrix;
mod memory;
mod mm2;
mod mm2_suite;
mod msk;
mod offsets;
mod outage;
mod plan;
mod plugins;
mod poison;
mod positions;
mod quarantine;
mod refused;
mod reload;
mod replays;
mod residency;
mod rights;
mod rotation;
mod silence;
mod skip;
mod soak;
mod stopped;
mod support;
mod takeover;
mod target_topics;
mod unwritable;
