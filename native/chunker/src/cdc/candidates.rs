//! Finds candidate cut points of a stretch of input ahead of the scan that selects among them.
//!
//! Selecting cut points is sequential: the end of a chunk determines where the scan of the next one begins.
//! But whether the rolling hash passes a mask at a position depends only on the [`GEAR_WINDOW`] bytes before
//! it, if the scan began before those bytes. Idle threads can therefore find the passing positions, each in a
//! stretch of its own, which leaves the selecting thread almost nothing to scan.

use super::kernel::GEAR_WINDOW;
use super::params::CdcParams;

/// The fewest mask bits for which candidates are collected. With fewer, there are too many candidates for
/// lookups to pay off.
const FEWEST_BITS: u32 = 9;

/// The fewest bytes for which candidates are looked up. Shorter ranges are scanned.
const WORTH_LOOKING_UP: usize = 4 * GEAR_WINDOW;

/// The positions of a stretch of input at which the hash passes a mask.
#[derive(Debug, Clone)]
pub(crate) struct Candidates(Vec<Candidate>);

#[derive(Debug, Clone, Copy)]
struct Candidate {
    position: usize,
    /// The bits of the hash that masks test. Valid only if [`GEAR_WINDOW`] bytes of the stretch precede the
    /// position.
    hash: u64,
}

/// The candidates after a position of a stretch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    candidates: &'a [Candidate],
    from: usize,
}

impl Candidates {
    pub(crate) fn ahead(&self) -> Window<'_> {
        Window { candidates: &self.0, from: 0 }
    }
}

impl Window<'_> {
    /// Advances the window by `count` bytes.
    pub(crate) fn behind(self, count: usize) -> Self {
        Self { from: self.from + count, ..self }
    }

    /// Returns the first position in `least..end` at which the hash passes `mask`, relative to the start of
    /// the window.
    fn first(&self, mask: u64, least: usize, end: usize) -> Option<usize> {
        let [least, end] = [least, end].map(|position| self.from + position);
        let next = self.candidates.partition_point(|candidate| candidate.position < least);
        let in_reach = self.candidates[next..].iter().take_while(|candidate| candidate.position < end);
        in_reach
            .into_iter()
            .find(|candidate| candidate.hash & mask == 0)
            .map(|candidate| candidate.position - self.from)
    }
}

impl CdcParams {
    /// Finds the candidates of a stretch of input. Returns `None` if there are so many that scanning the
    /// stretch in sequence is cheaper, which bounds the cost of the worst input.
    ///
    /// Time is linear in `bytes`.
    pub(crate) fn mark(&self, bytes: &[u8]) -> Option<Candidates> {
        // A hash that passes either mask passes the bits that both share. Few other hashes do: the shared
        // bits are all bits of the looser mask, or all except one.
        let both = self.strict & self.loose;
        if both.count_ones() < FEWEST_BITS {
            return None;
        }
        let mut left = 16 + 2 * (bytes.len() >> both.count_ones());
        let mut candidates = Vec::new();
        let (mut hash, mut done) = (0, 0);
        while let Some(at) = self.kernel.find(self.gear(), both, &mut hash, &bytes[done..]) {
            left = left.checked_sub(1)?;
            let position = done + at;
            done = position + 1;
            hash = self.hash_after(&bytes[..done]);
            if hash & self.strict == 0 || hash & self.loose == 0 {
                candidates.push(Candidate { position, hash });
            }
        }
        Some(Candidates(candidates))
    }

    /// Returns what the kernel's `find` returns, without scanning most of `bytes` if their candidates are
    /// given.
    pub(crate) fn find(
        &self,
        mask: u64,
        hash: &mut u64,
        bytes: &[u8],
        window: Option<Window<'_>>,
    ) -> Option<usize> {
        let Some(window) = window.filter(|_| bytes.len() >= WORTH_LOOKING_UP) else {
            return self.kernel.find(self.gear(), mask, hash, bytes);
        };
        // For these positions the gear window may begin before the scan or before the stretch, so the
        // candidates do not apply.
        let exact = GEAR_WINDOW - 1;
        let found = self.kernel.find(self.gear(), mask, hash, &bytes[..exact]);
        let found = found.or_else(|| window.first(mask, exact, bytes.len()));
        if found.is_none() {
            *hash = self.hash_after(bytes);
        }
        found
    }

    /// Returns the bits of the hash after `bytes` that masks test.
    fn hash_after(&self, bytes: &[u8]) -> u64 {
        let last = &bytes[bytes.len().saturating_sub(GEAR_WINDOW)..];
        last.iter().fold(0, |hash, &byte| (hash << 1).wrapping_add(self.gear()[usize::from(byte)]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cdc::{Options, Scanner};

    /// Returns the chunk lengths if candidates are collected for each stretch before the scanner is fed,
    /// piece by piece.
    fn looked_up(params: &CdcParams, data: &[u8], stretch: usize, pieces: &[usize]) -> Vec<usize> {
        let mut sizes = pieces.iter().copied().cycle();
        lengths(params, data.chunks(stretch).map(|stretch| (stretch, params.mark(stretch))), || {
            sizes.next().unwrap_or(usize::MAX)
        })
    }

    fn lengths<'a>(
        params: &CdcParams,
        stretches: impl Iterator<Item = (&'a [u8], Option<Candidates>)>,
        mut size: impl FnMut() -> usize,
    ) -> Vec<usize> {
        let mut scanner = Scanner::new(params.clone());
        let mut lengths = Vec::new();
        for (stretch, candidates) in stretches {
            let mut done = 0;
            while done < stretch.len() {
                let end = stretch.len().min(done.saturating_add(size()));
                let window = |done| candidates.as_ref().map(|candidates| candidates.ahead().behind(done));
                while let Some(cut) = scanner.feed_in_window(&stretch[done..end], window(done)) {
                    done += cut.consumed;
                    lengths.push(cut.length);
                }
                done = end;
            }
        }
        lengths.extend(scanner.finish());
        lengths
    }

    fn scanned(params: &CdcParams, data: &[u8]) -> Vec<usize> {
        lengths(params, std::iter::once((data, None)), || usize::MAX)
    }

    fn random(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn candidates_do_not_change_cut_points(
            (min_size, avg_size, factor) in (64..4_000u64, 256..9_000u64, 1..8u64),
            normalization in 0..4u64,
            seed in prop_oneof![Just(0), any::<u64>()],
            (length, noise) in (0..400_000usize, any::<u64>()),
            period in prop_oneof![3 => Just(usize::MAX), 1 => 1..500usize],
            stretch in prop_oneof![1..300usize, 300..100_000usize],
            pieces in prop::collection::vec(prop_oneof![1..400usize, 400..50_000usize], 0..5),
        ) {
            let avg_size = avg_size.max(min_size);
            let max_size = (avg_size * factor).max(1024);
            let options = Options { min_size, avg_size, max_size, normalization, seed };
            let params = CdcParams::new(&options).unwrap();
            let noise = random(length.min(period), noise);
            let data: Vec<u8> = noise.iter().copied().cycle().take(length).collect();

            prop_assert_eq!(looked_up(&params, &data, stretch, &pieces), scanned(&params, &data));
        }
    }

    #[test]
    fn cut_points_come_from_the_candidates() {
        for avg_size in [16 << 10, 64 << 10, 256 << 10] {
            let options =
                Options { min_size: avg_size / 4, avg_size, max_size: 4 * avg_size, ..Options::default() };
            let params = CdcParams::new(&options).unwrap();
            let data = random(8 << 20, 7);
            let candidates = params.mark(&data).expect("random bytes have few candidates");
            let whole = scanned(&params, &data);
            assert_eq!(
                lengths(&params, std::iter::once((&data[..], Some(candidates))), || usize::MAX),
                whole,
                "{avg_size}"
            );
            // Without candidates, the scanner cuts only at the maximum size.
            let none = Some(Candidates(Vec::new()));
            let uncut = lengths(&params, std::iter::once((&data[..], none)), || usize::MAX);
            let longest = uncut.iter().filter(|&&length| length as u64 == options.max_size).count();
            assert!(longest + 2 >= uncut.len() && uncut.len() < whole.len(), "{avg_size}: {uncut:?}");
        }
    }

    /// Tests bytes of one value: the hash passes at every position or at none.
    #[test]
    fn collecting_stops_if_every_position_passes() {
        let mut params = CdcParams::new(&Options::default()).unwrap();
        params.gear = vec![0; 256].into();
        assert!(params.mark(&[0; 100_000]).is_none());
        params.gear = vec![1; 256].into();
        assert!(
            params.mark(&[0; 100_000]).unwrap().0.iter().all(|candidate| candidate.position < GEAR_WINDOW)
        );
    }
}
