//! What this process uses: memory and processor time, from /proc (proc(5)).

use std::io;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

fn field(file: &str, text: &str, number: usize) -> io::Result<u64> {
    let value = text.split_ascii_whitespace().nth(number);
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{file} has no number at field {number}")))
}

/// Bytes of memory in use.
pub(super) fn resident() -> io::Result<u64> {
    const FILE: &str = "/proc/self/statm";
    Ok(field(FILE, &std::fs::read_to_string(FILE)?, 1)? * page_size() as u64)
}

/// Processor time so far, user and system.
pub(super) fn cpu() -> io::Result<Duration> {
    const FILE: &str = "/proc/self/stat";
    let text = std::fs::read_to_string(FILE)?;
    // The name in parentheses may hold spaces; field 3 of the manual comes behind it.
    let (_, rest) = text.rsplit_once(')').unwrap_or(("", &text));
    let ticks = field(FILE, rest, 11)? + field(FILE, rest, 12)?;
    Ok(Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second()).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn memory_and_time_are_those_of_this_process() {
        let before = (resident().unwrap(), cpu().unwrap());
        let block = vec![1_u8; 64 << 20];
        let start = Instant::now();
        while cpu().unwrap() < before.1 + Duration::from_millis(50) {
            assert!(start.elapsed() < Duration::from_secs(20));
        }
        assert!(resident().unwrap() > before.0 + (32 << 20));
        drop(block);
    }
}
