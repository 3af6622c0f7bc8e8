//! Candidates: where a stretch of input could be cut, whatever chunks come before it.
//!
//! Cut points must be found one after the other: where a chunk ends decides where the scan of the next one begins. But
//! whether the hash passes at a position is decided by the [`GEAR_WINDOW`] bytes before it, wherever the scan began, as long as
//! it began before them. So threads that would have nothing to do find the positions that pass, each in a stretch of the input,
//! and the one that selects the cut points among them has almost nothing left to do.

use super::gear::GEAR_WINDOW;
use super::params::CdcParams;

/// With fewer bits in a mask there are more candidates than looking them up is worth.
const FEWEST_BITS: u32 = 9;

/// Fewer bytes than these are scanned and not looked up.
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

/// The candidates behind a position of a stretch of input.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    candidates: &'a [Candidate],
    from: usize,
}

impl Candidates {
    /// Finds the candidates in a stretch of input. `None` if there would be so many that to scan the stretch when its turn
    /// comes is better: the worst input is to cost little more than any other.
    ///
    /// Time is linear in `bytes`.
    pub(crate) fn find(params: &CdcParams, bytes: &[u8]) -> Option<Self> {
        // All that passes either mask passes the bits that they share. Little else does: these are all bits of the looser
        // mask, or all but one.
        let both = params.strict & params.loose;
        if both.count_ones() < FEWEST_BITS {
            return None;
        }
        let mut left = 16 + 2 * (bytes.len() >> both.count_ones());
        let mut candidates = Vec::new();
        let (mut hash, mut done) = (0, 0);
        while let Some(at) = params.kernel.find(params.gear(), both, &mut hash, &bytes[done..]) {
            left = left.checked_sub(1)?;
            let position = done + at;
            done = position + 1;
            hash = hash_after(params, &bytes[..done]);
            if hash & params.strict == 0 || hash & params.loose == 0 {
                candidates.push(Candidate { position, hash });
            }
        }
        Some(Self(candidates))
    }

    /// Returns all of them.
    pub(crate) fn window(&self) -> Window<'_> {
        Window { candidates: &self.0, from: 0 }
    }
}

impl Window<'_> {
    /// Returns those behind the next `count` bytes.
    #[must_use]
    pub fn behind(self, count: usize) -> Self {
        Self { from: self.from + count, ..self }
    }

    /// Returns the first position of at least `least` and below `end` at which the mask passes, counted from where this window
    /// begins.
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

/// Does what the kernel's `find` does, without a look at most of the bytes if the window has their candidates.
pub(super) fn find(
    params: &CdcParams,
    mask: u64,
    hash: &mut u64,
    bytes: &[u8],
    window: Option<Window<'_>>,
) -> Option<usize> {
    let Some(window) = window.filter(|_| bytes.len() >= WORTH_LOOKING_UP) else {
        return params.kernel.find(params.gear(), mask, hash, bytes);
    };
    // Up to here the scan may have begun too late, or the stretch.
    let exact = GEAR_WINDOW - 1;
    let found = params.kernel.find(params.gear(), mask, hash, &bytes[..exact]);
    let found = found.or_else(|| window.first(mask, exact, bytes.len()));
    if found.is_none() {
        *hash = hash_after(params, bytes);
    }
    found
}

/// Returns the bits of the hash that masks have after these bytes.
fn hash_after(params: &CdcParams, bytes: &[u8]) -> u64 {
    let last = &bytes[bytes.len().saturating_sub(GEAR_WINDOW)..];
    last.iter().fold(0, |hash, &byte| (hash << 1).wrapping_add(params.gear()[usize::from(byte)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cdc::{Options, Scanner};

    /// Chunk lengths where the candidates of each stretch are found before it is fed, piece by piece.
    fn looked_up(params: &CdcParams, data: &[u8], stretch: usize, pieces: &[usize]) -> Vec<usize> {
        let mut sizes = pieces.iter().copied().cycle();
        lengths(
            params,
            data.chunks(stretch).map(|stretch| (stretch, Candidates::find(params, stretch))),
            || sizes.next().unwrap_or(usize::MAX),
        )
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
                let window = |done| candidates.as_ref().map(|candidates| candidates.window().behind(done));
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
        fn candidates_give_the_cut_points_of_a_scan(
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
    fn candidates_are_believed() {
        for avg_size in [16 << 10, 64 << 10, 256 << 10] {
            let options =
                Options { min_size: avg_size / 4, avg_size, max_size: 4 * avg_size, ..Options::default() };
            let params = CdcParams::new(&options).unwrap();
            let data = random(8 << 20, 7);
            let candidates = Candidates::find(&params, &data).expect("random bytes have few candidates");
            let whole = scanned(&params, &data);
            assert_eq!(
                lengths(&params, std::iter::once((&data[..], Some(candidates))), || usize::MAX),
                whole,
                "{avg_size}"
            );
            // Without a candidate there is no cut point except where a chunk may not be longer.
            let none = Some(Candidates(Vec::new()));
            let uncut = lengths(&params, std::iter::once((&data[..], none)), || usize::MAX);
            let longest = uncut.iter().filter(|&&length| length as u64 == options.max_size).count();
            assert!(longest + 2 >= uncut.len() && uncut.len() < whole.len(), "{avg_size}: {uncut:?}");
        }
    }

    /// Tests the bound on memory and work. With this gear table a 1 keeps the hash from passing for as many
    /// bytes as the mask has bits, so the number of passing positions is known.
    #[test]
    fn as_many_candidates_are_kept_as_are_worth_it() {
        const BITS: usize = FEWEST_BITS as usize;
        let mut params = CdcParams::new(&Options::default()).unwrap();
        let mut gear = vec![0; 256];
        gear[1] = 1;
        params.gear = gear.into();
        (params.strict, params.loose) = ((1 << BITS) - 1, (1 << BITS) - 1);
        let group = [&[1][..], &[0; BITS]].concat();
        let with = |passing: usize, length: usize| {
            let mut bytes = group.repeat(passing);
            bytes.resize(length, 1);
            bytes
        };
        for length in [511, 512, 5_000, 100_000] {
            let most = 16 + 2 * (length / 512);
            let kept = Candidates::find(&params, &with(most, length)).unwrap().0;
            let positions: Vec<usize> = kept.iter().map(|candidate| candidate.position).collect();
            assert_eq!(positions, (1..=most).map(|i| i * group.len() - 1).collect::<Vec<_>>());
            assert!(Candidates::find(&params, &with(most + 1, length)).is_none());
        }
        (params.strict, params.loose) = ((1 << (BITS - 1)) - 1, (1 << (BITS - 1)) - 1);
        assert!(Candidates::find(&params, &with(0, 5_000)).is_none(), "a mask of fewer bits");
    }

    /// Tests bytes of one value: the hash passes at every position or at none.
    #[test]
    fn where_every_position_passes_no_candidates_are_kept() {
        let mut params = CdcParams::new(&Options::default()).unwrap();
        params.gear = vec![0; 256].into();
        assert!(Candidates::find(&params, &[0; 100_000]).is_none());
        params.gear = vec![1; 256].into();
        assert!(
            Candidates::find(&params, &[0; 100_000])
                .unwrap()
                .0
                .iter()
                .all(|candidate| candidate.position < GEAR_WINDOW)
        );
    }
}
