//! Figures of this machine and of a process from /proc: proc(5).

use std::fs;
use std::thread;

pub use strait_e2e::cpu_us;

/// Peak and present resident memory in KiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub peak_kib: u64,
    pub now_kib: u64,
}

/// `None` once the process has ended.
pub fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some(Memory { peak_kib: field("VmHWM:")?, now_kib: field("VmRSS:")? })
}

/// Number of threads of a process.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Load average of the last minute.
pub fn load() -> f64 {
    let read = || fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().next()?.parse().ok();
    read().unwrap_or(f64::NAN)
}

pub fn cores() -> usize {
    thread::available_parallelism().map_or(0, usize::from)
}

/// The processor's name for people, and the memory in GiB.
pub fn hardware() -> (String, u64) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total: Option<u64> = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_ascii_whitespace().next())
        .and_then(|kib| kib.parse().ok());
    (model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned()), total.unwrap_or(0) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_time_memory_and_threads() {
        let own = std::process::id();
        let began = cpu_us(own);
        let mut sum = 0_u64;
        while cpu_us(own) < began.map(|began| began + 20_000) {
            sum = sum.wrapping_mul(31).wrapping_add(cpu_us(own).unwrap_or_default());
        }
        assert!(sum > 0 || cpu_us(own).is_some());
        assert!(memory(own).is_some_and(|memory| memory.peak_kib >= memory.now_kib && memory.now_kib > 0));
        assert!(threads(own) >= 1);
        assert!(load() >= 0.0);
    }
}
