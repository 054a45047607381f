//! What the processor's execution ports allow: the cycles that AES-GCM takes if nothing is ever waited for.
//!
//! Measured on Intel server cores with AVX-512 and VAES (Ice Lake and later), by mixing just the instructions that 64
//! bytes need: AES rounds bind; GHASH fits in what is left of the other ports. Other processors have other ports.
//!
//! All rounds of all blocks are counted. Who computes the first round once for a packet, as sealcast does, does a
//! fourteenth less (AES-256) and may in principle exceed these ceilings.

/// Vectors that blocks are encrypted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// Four blocks.
    Bits512,
    /// Two blocks.
    Bits256,
    /// One block.
    Bits128,
}

impl Vectors {
    /// The widest vectors that this processor has AES instructions for. None if its ceiling is not known.
    #[must_use]
    pub fn widest() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_intel() {
            use std::arch::is_x86_feature_detected as has;
            let vaes = has!("vaes") && has!("vpclmulqdq");
            return if vaes && has!("avx512f") && has!("avx512bw") {
                Some(Self::Bits512)
            } else if vaes && has!("avx2") {
                Some(Self::Bits256)
            } else {
                Some(Self::Bits128)
            };
        }
        None
    }

    /// The vectors that an implementation of this name uses; the widest, if the name does not say.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let widest = Self::widest()?;
        Some(match name.to_ascii_lowercase() {
            name if name.contains("512") => Self::Bits512,
            name if name.contains("256") || name.contains("avx2") => Self::Bits256,
            name if name.contains("aesni") || name.contains("aes-ni") || name.contains("128") => {
                Self::Bits128
            }
            _ => widest,
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.contains("GenuineIntel")
}

/// Cycles that a packet takes at the least, when packets share vectors. None where it has not been measured.
///
/// A packet has a block for each 16 bytes or part of them, and one more that encrypts the tag.
#[must_use]
pub fn ceiling_cycles(key_bits: u16, vectors: Vectors, size: usize) -> Option<f64> {
    let cycles_per_four_blocks = match (key_bits, vectors) {
        (256, Vectors::Bits512) => 14.0,
        (128, Vectors::Bits512) => 10.25,
        (256, Vectors::Bits256) => 16.7,
        (256, Vectors::Bits128) => 33.4,
        _ => return None,
    };
    let blocks = (size.div_ceil(16) + 1) as f64;
    Some(blocks / 4.0 * cycles_per_four_blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_ts_packets_take_294_cycles_at_the_least() {
        assert_eq!(ceiling_cycles(256, Vectors::Bits512, 1316), Some(294.0));
        assert_eq!(ceiling_cycles(256, Vectors::Bits512, 188), Some(45.5));
        assert_eq!(ceiling_cycles(128, Vectors::Bits512, 1316), Some(215.25));
        assert_eq!(ceiling_cycles(128, Vectors::Bits256, 1316), None);
    }

    #[test]
    fn names_say_which_vectors() {
        if Vectors::widest().is_some() {
            assert_eq!(Vectors::of_name("vaes512"), Some(Vectors::Bits512));
            assert_eq!(Vectors::of_name("VAES-256"), Some(Vectors::Bits256));
            assert_eq!(Vectors::of_name("aesni"), Some(Vectors::Bits128));
            assert_eq!(Vectors::of_name("portable"), Vectors::widest());
        }
    }
}
