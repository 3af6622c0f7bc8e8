//! The portable scan kernel, for every CPU.
//!
//! A byte-by-byte scan is limited by the latency of its dependency chain. Long inputs are therefore scanned
//! as two strips at once, whose chains are independent. The second strip is warmed up with the bytes before
//! it.

use super::prefetch;

/// The number of bytes that determine a hash: each step doubles it, so older bytes have been shifted out of
/// 64 bits.
const WARM_UP: usize = 64;

/// The most and the fewest bytes scanned at once. A longer block wastes more scanning after a cut point; in a
/// shorter block, the warm-up takes too large a share.
const LONGEST_BLOCK: usize = 16 << 10;
const SHORTEST_BLOCK: usize = 4 << 10;

/// The number of bytes of a strip processed without a bounds check.
const GROUP: usize = 8;

/// Rolls `hash` over `bytes` and stops at the first byte after which all bits of `mask` are 0 in it.
///
/// Returns the position of that byte, or `None` if there is none; `hash` is then the state for the next call.
/// This is the gear hash of FastCDC: `hash = (hash << 1) + gear[byte]`, in wrapping arithmetic.
#[inline(never)]
pub(super) fn find(gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
    // The expected distance of cut points, capped.
    let longest = (1usize << mask.count_ones().min(20)).min(LONGEST_BLOCK);
    let mut done = 0;
    while longest >= SHORTEST_BLOCK && bytes.len() - done >= SHORTEST_BLOCK {
        let block = &bytes[done..];
        let block = &block[..block.len().min(longest) / (2 * GROUP) * (2 * GROUP)];
        if let Some(position) = two_strips(gear, mask, hash, block) {
            return Some(done + position);
        }
        done += block.len();
    }
    one_strip(gear, mask, hash, &bytes[done..]).map(|position| done + position)
}

#[inline(always)]
fn one_strip(gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
    let mut rolling = *hash;
    let mut position = 0;
    let (groups, tail) = bytes.as_chunks::<GROUP>();
    for group in groups {
        for (i, &byte) in group.iter().enumerate() {
            rolling = step(rolling, gear[usize::from(byte)]);
            if rolling & mask == 0 {
                return Some(position + i);
            }
        }
        position += group.len();
    }
    for (i, &byte) in tail.iter().enumerate() {
        rolling = step(rolling, gear[usize::from(byte)]);
        if rolling & mask == 0 {
            return Some(position + i);
        }
    }
    *hash = rolling;
    None
}

/// Scans two strips at once. The length of `bytes` must be a multiple of two groups and at least twice
/// [`WARM_UP`].
fn two_strips(gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
    let (left, right) = bytes.split_at(bytes.len() / 2);
    let mut left_hash = *hash;
    let warm_up = &left[left.len() - WARM_UP..];
    let mut right_hash = warm_up.iter().fold(0, |hash, &byte| step(hash, gear[usize::from(byte)]));
    let (left_groups, _) = left.as_chunks::<GROUP>();
    let (right_groups, _) = right.as_chunks::<GROUP>();
    let mut position = 0;
    for (left_group, right_group) in left_groups.iter().zip(right_groups) {
        prefetch::line_behind(bytes, 2 * position);
        for i in 0..GROUP {
            left_hash = step(left_hash, gear[usize::from(left_group[i])]);
            right_hash = step(right_hash, gear[usize::from(right_group[i])]);
            if left_hash & mask == 0 {
                return Some(position + i);
            }
            if right_hash & mask == 0 {
                // The rest of the first strip comes earlier in the input.
                let rest = position + i + 1;
                let earlier = one_strip(gear, mask, &mut left_hash, &left[rest..]);
                return Some(earlier.map_or(left.len() + position + i, |at| rest + at));
            }
        }
        position += GROUP;
    }
    *hash = right_hash;
    None
}

/// Computes one step of the gear hash.
///
/// The latency of this step limits the scan. The compiler emits two additions, one to double and one to add;
/// x86-64 has one instruction that does both.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[expect(
    unsafe_code,
    reason = "a scan kernel: one instruction, which the compiler does not choose by itself"
)]
fn step(hash: u64, gear: u64) -> u64 {
    let next;
    // SAFETY: `lea` computes `gear + 2 * hash` from two registers into a third, in wrapping arithmetic. It
    // touches neither memory nor flags nor the stack, as the options declare.
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

/// Computes one step of the gear hash. On AArch64, for example, the compiler emits one addition with a
/// shifted operand.
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
