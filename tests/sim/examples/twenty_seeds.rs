//! Runs twenty fixed seeds on one thread, so that their instructions can be counted and compared
//! between two commits:
//!
//! ```text
//! cargo build --release --workspace --examples
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/twenty_seeds
//! ```
//!
//! With a number as its argument it runs that many seeds and prints each run's hash. A change that
//! only moves code leaves every hash as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation ends where it fails"
)]

use strait_sim::run::run_seed;

/// Seeds that are counted.
const COUNTED: u64 = 20;

fn main() {
    let asked = std::env::args().nth(1).map(|seeds| seeds.parse().expect("a number of seeds"));
    let (mut records, mut transactions) = (0, 0);
    for seed in 0..asked.unwrap_or(COUNTED) {
        let outcome = run_seed(seed, None);
        outcome.assert_good();
        if asked.is_some() {
            println!("seed {seed}: {:016x}, {} records", outcome.hash, outcome.records);
        }
        records += outcome.records;
        transactions += outcome.transactions;
    }
    println!("{records} records, {transactions} transactions");
}
