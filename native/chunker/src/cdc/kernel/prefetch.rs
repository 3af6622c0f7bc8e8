//! Software prefetch. The hardware prefetcher follows one sequential read, but not several strips read at
//! once.

/// Prefetches the cache line `offset` bytes after the end of `bytes`, which may be unmapped. Does nothing on
/// architectures without a prefetch instruction here.
#[inline(always)]
pub(super) fn line_behind(bytes: &[u8], offset: usize) {
    let line = bytes.as_ptr_range().end.wrapping_add(offset);
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "a scan kernel: the intrinsic takes a pointer")]
    // SAFETY: a prefetch is a hint that reads nothing and never faults, so any address is allowed. All x86-64
    // CPUs have it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
