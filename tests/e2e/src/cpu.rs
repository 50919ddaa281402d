//! CPU time of a process from /proc: proc(5).

use std::fs;

/// Microseconds of a clock tick. The kernel reports times in USER_HZ, which is 100 on every Linux
/// that runs a JVM.
const TICK_US: u64 = 10_000;

/// User and system time of a process with all its threads, the ended ones too, in microseconds. A
/// process that has ended but was not yet waited for still has it; `None` after that.
#[must_use]
pub fn cpu_us(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in brackets and may hold anything, so count from the last
    // bracket.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_US)
}
