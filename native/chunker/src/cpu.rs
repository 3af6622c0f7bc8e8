//! Reports the features of the CPU and the implementations that they select.

/// Returns the instruction-set extensions of this CPU that matter to the engine, by their usual names.
#[must_use]
pub fn features() -> Vec<&'static str> {
    let mut features = Vec::new();
    macro_rules! detect {
        ($macro:ident: $($feature:tt)*) => {
            $(if std::arch::$macro!($feature) { features.push($feature); })*
        };
    }
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    detect!(is_x86_feature_detected: "sse2" "ssse3" "sse4.1" "avx2" "avx512f" "avx512bw" "avx512vl" "avx512vbmi" "sha" "pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    detect!(is_aarch64_feature_detected: "neon" "sha2" "pmull" "sve");
    features
}

/// Returns the name of the implementation that crate `blake3` dispatches to, as reported by its own
/// detection.
#[cfg(feature = "blake3")]
pub(crate) fn blake3_implementation() -> &'static str {
    // Match on the name: the set of variants depends on how the crate was built.
    match format!("{:?}", blake3::platform::Platform::detect()).as_str() {
        "AVX512" => "avx512",
        "AVX2" => "avx2",
        "SSE41" => "sse4.1",
        "SSE2" => "sse2",
        "NEON" => "neon",
        _ => "portable",
    }
}

/// Returns the name of the implementation that crate `sha2` dispatches to. The crate does not expose its
/// detection, so this repeats its condition.
#[cfg(feature = "sha256")]
pub(crate) fn sha256_implementation() -> &'static str {
    let has = |wanted: &[&str]| wanted.iter().all(|name| features().contains(name));
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) && has(&["sha", "sse4.1"]) {
        "sha-ni"
    } else if cfg!(target_arch = "aarch64") && has(&["sha2"]) {
        "sha2"
    } else {
        "portable"
    }
}

/// Compares with the flags that the operating system's kernel lists, which it reads from the CPU itself.
#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn has(flags: &[&str]) -> bool {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let line = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap();
        let found: Vec<_> = line.split_ascii_whitespace().collect();
        flags.iter().all(|flag| found.contains(flag))
    }

    #[test]
    fn features_are_those_that_the_kernel_lists() {
        let names = [
            ("sse2", "sse2"),
            ("ssse3", "ssse3"),
            ("sse4.1", "sse4_1"),
            ("avx2", "avx2"),
            ("avx512f", "avx512f"),
            ("avx512bw", "avx512bw"),
            ("avx512vl", "avx512vl"),
            ("avx512vbmi", "avx512vbmi"),
            ("sha", "sha_ni"),
            ("pclmulqdq", "pclmulqdq"),
        ];
        let expected: Vec<_> =
            names.into_iter().filter(|(_, flag)| has(&[flag])).map(|(name, _)| name).collect();
        assert_eq!(features(), expected);
    }

    #[cfg(feature = "blake3")]
    #[test]
    fn blake3_uses_the_widest_vectors_that_the_kernel_lists() {
        let by_flags = [
            (&["avx512f", "avx512vl"][..], "avx512"),
            (&["avx2"], "avx2"),
            (&["sse4_1"], "sse4.1"),
            (&["sse2"], "sse2"),
        ];
        let expected = by_flags.into_iter().find(|(flags, _)| has(flags));
        assert_eq!(blake3_implementation(), expected.map_or("portable", |(_, name)| name));
    }

    #[cfg(feature = "sha256")]
    #[test]
    fn sha256_uses_the_sha_instructions_that_the_kernel_lists() {
        assert_eq!(sha256_implementation(), if has(&["sha_ni", "sse4_1"]) { "sha-ni" } else { "portable" });
    }
}
