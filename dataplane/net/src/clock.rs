//! The clocks. Protocol and pacing go by the boot clock: monotonic, and it counts through suspend, as remaining times must
//! (SEC-12). The kernel times arrivals by the wall clock.
#![expect(unsafe_code, reason = "clock_gettime")]

/// Nanoseconds of CLOCK_BOOTTIME.
#[must_use]
pub fn boottime() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds of CLOCK_REALTIME: only for ages of what the kernel has timed, since it may be set.
#[must_use]
pub fn realtime() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// Wall clock minus boot clock, nanoseconds: for people, and for what is billed by the calendar.
#[must_use]
pub fn wall_minus_boot() -> i64 {
    let wall = i64::try_from(realtime()).unwrap_or(i64::MAX);
    wall.saturating_sub_unsigned(boottime())
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec that outlives the call.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut now) };
    assert!(failed == 0, "every Linux since 2.6.39 has these clocks");
    nanoseconds(now)
}

/// A time after the clock's zero in nanoseconds.
pub(crate) fn nanoseconds(at: libc::timespec) -> u64 {
    at.tv_sec.cast_unsigned() * 1_000_000_000 + at.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_moves_on() {
        let before = super::boottime();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let passed = super::boottime() - before;
        assert!(passed >= 2_000_000, "{passed} ns");
    }
}
