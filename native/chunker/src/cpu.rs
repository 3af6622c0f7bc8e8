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
