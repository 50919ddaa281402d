//! Logins that change over a longer time, and under more load, than in the tests that always run.

use super::seconds;
use crate::logins::{Times, renewed_and_away};
use crate::rotation::{Bed, certificates, passwords, token_keys};
use crate::support::Turn;

/// For each of two partitions.
const RECORDS_S: u32 = 10_000;

/// `STRAIT_SOAK_TOKEN_S` is the life of a token in seconds; the identity provider is away for half
/// of it, and brokers want another login as often.
#[test]
#[ignore = "soak: half an hour; STRAIT_SOAK_TOKEN_S shortens it"]
fn tokens_of_ten_minutes_and_an_outage_of_five_end_nothing() {
    let _turn = Turn::alone();
    let life = seconds("STRAIT_SOAK_TOKEN_S", 600);
    renewed_and_away(&Times { life, outage: life / 2, login_again: life / 2 });
}

#[test]
#[ignore = "soak: four minutes"]
fn logins_change_under_twenty_thousand_records_a_second_without_a_gap() {
    let _turn = Turn::alone();
    let bed = Bed::start(RECORDS_S);
    passwords(&bed);
    token_keys(&bed);
    certificates(&bed);
}
