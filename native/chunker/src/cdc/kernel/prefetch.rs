//! Asking for memory before it is needed: a CPU foresees that one stretch is read from front to back, but not that several
//! strips of it are read at once.

/// Asks for the line of the cache that is `offset` bytes behind the end of `bytes`, where there may be nothing. Does nothing
/// where there is no such request.
#[inline(always)]
pub(super) fn line_behind(bytes: &[u8], offset: usize) {
    let line = bytes.as_ptr_range().end.wrapping_add(offset);
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "a scan kernel: the intrinsic takes a pointer")]
    // SAFETY: a prefetch of any address is allowed: it is a hint, reads nothing and never faults. All CPUs of x86-64 have it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
