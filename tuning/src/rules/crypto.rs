//! Which implementation of the packet cipher suits the processor.

use crate::facts::{Facts, Processor};
use crate::finding::Finding;
use crate::profile::Profile;
use crate::registry::Rule;

const ID: &str = "crypto";

pub(crate) const RULE: Rule = Rule {
    id: ID,
    about: "the processor has wide AES instructions (AES-NI, VAES, VPCLMULQDQ, AVX-512)",
    check,
};

const WHY: &str = "sealing and opening is what a core does most of its time";

/// Implementations of the packet cipher, the fastest first, and the instruction sets each needs.
const BACKENDS: [(&str, &[&str]); 3] = [
    (
        "vaes512",
        &[
            "aes",
            "pclmulqdq",
            "ssse3",
            "sse4_1",
            "vaes",
            "vpclmulqdq",
            "bmi2",
            "avx512f",
            "avx512bw",
            "avx512dq",
            "avx512vl",
        ],
    ),
    (
        "vaes256",
        &[
            "aes",
            "pclmulqdq",
            "ssse3",
            "sse4_1",
            "vaes",
            "vpclmulqdq",
            "avx2",
        ],
    ),
    ("aesni", &["aes", "pclmulqdq", "ssse3", "sse4_1"]),
];
/// The one that runs everywhere.
const PORTABLE: &str = "portable";

/// The backend that suits a processor; nothing when its instruction sets are not known.
pub(crate) fn backend(processor: &Processor) -> Option<&'static str> {
    for (name, needs) in BACKENDS {
        if processor.has(needs)? {
            return Some(name);
        }
    }
    Some(PORTABLE)
}

fn check(facts: &Facts, _: &Profile) -> Vec<Finding> {
    let Some(backend) = backend(&facts.processor) else {
        return vec![Finding::unknown(
            ID,
            "the processor's instruction sets cannot be read",
            WHY,
        )];
    };
    let what = format!("backend {backend} suits this processor");
    vec![match backend {
        "vaes512" | "vaes256" => Finding::ok(ID, what),
        "aesni" => Finding::note(ID, format!("{what}: AES, but no wide AES (VAES)"), WHY)
            .costs("sealing takes 2.5 times as long as with the widest vectors (docs/performance.md)"),
        // Arm: the portable one uses its AES instructions.
        _ if facts.processor.has(&["aes", "pmull"]) == Some(true) => {
            Finding::note(ID, format!("{what}: AES instructions of Arm"), WHY)
        }
        _ => Finding::warning(ID, format!("{what}: it has no AES instructions"), WHY).advise(
            "use a processor with AES-NI, better VAES; in a virtual machine, pass the host's processor through",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity::{Note, Ok, Warning};
    use crate::testing::{assert_unknown, one};

    #[test]
    fn the_widest_that_the_processor_has() {
        let host = |line: &str| {
            let text = format!("processor : 0\n{line}\n");
            let finding = one(&RULE, &[("proc/cpuinfo", &text)], "");
            let name = finding.what.split(' ').nth(1).unwrap().to_owned();
            (name, finding.severity)
        };
        let x86 = "flags\t\t: fpu ssse3 sse4_1";
        let cases = [
            (String::new(), "portable", Warning),
            (" aes pclmulqdq".to_owned(), "aesni", Note),
            (
                " aes pclmulqdq avx2 vaes vpclmulqdq".to_owned(),
                "vaes256",
                Ok,
            ),
            (
                " aes pclmulqdq avx2 vaes vpclmulqdq bmi2 avx512f avx512bw avx512dq avx512vl"
                    .to_owned(),
                "vaes512",
                Ok,
            ),
        ];
        for (flags, name, severity) in cases {
            assert_eq!(host(&format!("{x86}{flags}")), (name.to_owned(), severity));
        }
        assert_eq!(
            host("Features\t: fp asimd aes pmull"),
            ("portable".to_owned(), Note)
        );
        assert_unknown(&RULE, "");
    }
}
