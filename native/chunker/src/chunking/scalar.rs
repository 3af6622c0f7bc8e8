//! The portable scan kernel: one byte after the other, for every CPU.

/// Rolls `hash` over `bytes` and stops at the first byte after which no bit of `mask` is set in it.
///
/// Returns the position of that byte, or `None` when `bytes` end before. `hash` is then what the next call goes on
/// with. This is the gear hash of FastCDC: `hash = (hash << 1) + gear[byte]`, in wrapping arithmetic.
#[inline(never)]
pub(super) fn find(gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
    let mut rolling = *hash;
    let mut position = 0;
    let (groups, tail) = bytes.as_chunks::<8>();
    for group in groups {
        for (i, &byte) in group.iter().enumerate() {
            rolling = step(rolling, gear[usize::from(byte)]);
            if rolling & mask == 0 {
                *hash = rolling;
                return Some(position + i);
            }
        }
        position += group.len();
    }
    for (i, &byte) in tail.iter().enumerate() {
        rolling = step(rolling, gear[usize::from(byte)]);
        if rolling & mask == 0 {
            *hash = rolling;
            return Some(position + i);
        }
    }
    *hash = rolling;
    None
}

/// One step of the gear hash.
///
/// The speed of the scan is that of the chain of these steps. The compiler makes two instructions of each, an addition
/// to double and one to add, where x86-64 has one that does both.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "a scan kernel: one instruction, which the compiler does not choose by itself"
)]
fn step(hash: u64, gear: u64) -> u64 {
    let next;
    // SAFETY: `lea` computes `gear + 2 * hash` from two registers into a third, in wrapping arithmetic. It touches
    // neither memory nor flags nor the stack, as the options say.
    unsafe {
        std::arch::asm!(
            "lea {next}, [{gear} + 2 * {hash}]",
            next = lateout(reg) next,
            gear = in(reg) gear,
            hash = in(reg) hash,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    next
}

/// One step of the gear hash. AArch64, for one, has an addition that shifts, and the compiler finds it.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn step(hash: u64, gear: u64) -> u64 {
    (hash << 1).wrapping_add(gear)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_doubles_and_adds(hash in any::<u64>(), gear in any::<u64>()) {
            prop_assert_eq!(step(hash, gear), hash.wrapping_mul(2).wrapping_add(gear));
        }
    }
}
