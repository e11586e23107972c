//! Processor time and memory of other processes, from `/proc`. Linux only, like the benchmark.

use std::path::Path;
use std::time::Duration;

/// Kernel ticks per second in `/proc/PID/stat`; fixed for user space.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of these processes, all their threads together.
///
/// Adds up `schedstat` of the threads, which counts nanoseconds; `stat` counts hundredths of a second and is taken where a kernel
/// has no `schedstat`. Threads that ended meanwhile are not in the sum of `schedstat`.
#[must_use]
pub fn processor_time(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| threads(*pid).or_else(|| ticks(*pid)).unwrap_or_default()).sum()
}

/// Resident memory of these processes in bytes; what they share is counted once for each.
#[must_use]
pub fn resident(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| memory(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)).sum()
}

fn threads(pid: u32) -> Option<Duration> {
    let mut sum = 0_u64;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        sum += first_number(&thread.path().join("schedstat"))?;
    }
    (sum > 0).then(|| Duration::from_nanos(sum))
}

fn first_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.split(' ').next()?.parse().ok()
}

fn ticks(pid: u32) -> Option<Duration> {
    stat_ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|ticks| TICK * ticks)
}

/// User and system time of a line of `/proc/PID/stat`. The program's name may hold anything, so what follows the last `)` counts.
fn stat_ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace().skip(11);
    let user: u32 = words.next()?.parse().ok()?;
    let system: u32 = words.next()?.parse().ok()?;
    Some(user + system)
}

/// `VmRSS` of `/proc/PID/status`, in bytes.
fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::{memory, processor_time, resident, stat_ticks};

    #[test]
    fn figures_of_proc_are_read() {
        assert_eq!(memory("Name:\tx\nVmRSS:\t    2048 kB\nThreads: 1\n"), Some(2048 * 1024));
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 1 0 0 0 70 8 0 0 20 0 1 0 5 6 7";
        assert_eq!(stat_ticks(stat), Some(78));
    }

    #[test]
    fn our_own_process_has_used_time_and_memory() {
        let own = [std::process::id()];
        let before = processor_time(&own);
        let mut sum = 0_u64;
        while processor_time(&own) == before {
            sum = (0..1_000_000).fold(sum, u64::wrapping_add);
        }
        assert!(resident(&own) > 100_000, "{sum}");
    }
}
