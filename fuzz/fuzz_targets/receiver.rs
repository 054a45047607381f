//! A receiver that gets any datagrams: the first byte says how long each is, in units of four.
#![no_main]

#[path = "../../dataplane/proto/tests/fuzz/checks.rs"]
#[allow(dead_code, reason = "each target uses some of the checks")]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let [segment, datagrams @ ..] = bytes {
        let segment = 1 + usize::from(*segment) * 4;
        let mut device = checks::Device::new(1);
        // As one buffer, and as one after the other.
        device.take(&mut datagrams.to_vec(), segment);
        for datagram in datagrams.chunks(segment) {
            device.take(&mut datagram.to_vec(), segment);
        }
    }
});
