//! Scanning ahead: where a stretch of input could be cut, whatever chunks come before it.
//!
//! Cut points must be found one after the other: where a chunk ends decides where the scan of the next one begins. But
//! whether the hash passes at a position is decided by the [`GEAR_WINDOW`] bytes before it, wherever the scan began, as long as it
//! began before them. So threads that would have nothing to do mark the positions that pass, each in a stretch of the input,
//! and the one that selects the cut points among them has almost nothing left to do.

use super::kernel::GEAR_WINDOW;
use super::params::CdcParams;

/// With fewer bits in a mask there are more marks than looking them up is worth.
const FEWEST_BITS: u32 = 9;

/// Where fewer bytes are asked about, they are scanned.
const WORTH_LOOKING_UP: usize = 4 * GEAR_WINDOW;

/// The positions of a stretch of input at which a mask passes.
#[derive(Debug, Clone)]
pub(crate) struct Candidates(Vec<Mark>);

#[derive(Debug, Clone, Copy)]
struct Mark {
    position: usize,
    /// The bits of it that masks have, if [`GEAR_WINDOW`] bytes of the stretch come before; else, of no use.
    hash: u64,
}

/// The marks behind a position of a stretch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    marks: &'a [Mark],
    from: usize,
}

impl Candidates {
    pub(crate) fn ahead(&self) -> Window<'_> {
        Window { marks: &self.0, from: 0 }
    }
}

impl Window<'_> {
    /// Those behind the next `count` bytes.
    pub(crate) fn behind(self, count: usize) -> Self {
        Self { from: self.from + count, ..self }
    }

    /// The first position of at least `least` and below `end` at which the mask passes, counted from where these marks are
    /// behind.
    fn first(&self, mask: u64, least: usize, end: usize) -> Option<usize> {
        let [least, end] = [least, end].map(|position| self.from + position);
        let next = self.marks.partition_point(|mark| mark.position < least);
        let in_reach = self.marks[next..].iter().take_while(|mark| mark.position < end);
        in_reach.into_iter().find(|mark| mark.hash & mask == 0).map(|mark| mark.position - self.from)
    }
}

impl CdcParams {
    /// Candidates a stretch of input. `None` if there would be so many marks that to scan the stretch when its turn comes is
    /// better: the worst input is to cost little more than any other.
    ///
    /// Time is linear in `bytes`.
    pub(crate) fn mark(&self, bytes: &[u8]) -> Option<Candidates> {
        // All that passes either mask passes the bits that they share. Little else does: these are all bits of the looser mask, or
        // all but one.
        let both = self.strict & self.loose;
        if both.count_ones() < FEWEST_BITS {
            return None;
        }
        let mut left = 16 + 2 * (bytes.len() >> both.count_ones());
        let mut marks = Vec::new();
        let (mut hash, mut done) = (0, 0);
        while let Some(at) = self.kernel.find(self.gear(), both, &mut hash, &bytes[done..]) {
            left = left.checked_sub(1)?;
            let position = done + at;
            done = position + 1;
            hash = self.hash_after(&bytes[..done]);
            if hash & self.strict == 0 || hash & self.loose == 0 {
                marks.push(Mark { position, hash });
            }
        }
        Some(Candidates(marks))
    }

    /// What the kernel's `find` does, without a look at most of the bytes if these are their marks.
    pub(crate) fn find(
        &self,
        mask: u64,
        hash: &mut u64,
        bytes: &[u8],
        ahead: Option<Window<'_>>,
    ) -> Option<usize> {
        let Some(ahead) = ahead.filter(|_| bytes.len() >= WORTH_LOOKING_UP) else {
            return self.kernel.find(self.gear(), mask, hash, bytes);
        };
        // Up to here the scan may have begun too late, or the stretch.
        let exact = GEAR_WINDOW - 1;
        let found = self.kernel.find(self.gear(), mask, hash, &bytes[..exact]);
        let found = found.or_else(|| ahead.first(mask, exact, bytes.len()));
        if found.is_none() {
            *hash = self.hash_after(bytes);
        }
        found
    }

    /// The bits of the hash that masks have after these bytes.
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

    /// Chunk lengths where each stretch is marked before it is fed, piece by piece.
    fn marked(cutter: &CdcParams, data: &[u8], stretch: usize, pieces: &[usize]) -> Vec<usize> {
        let mut sizes = pieces.iter().copied().cycle();
        lengths(cutter, data.chunks(stretch).map(|stretch| (stretch, cutter.mark(stretch))), || {
            sizes.next().unwrap_or(usize::MAX)
        })
    }

    fn lengths<'a>(
        cutter: &CdcParams,
        stretches: impl Iterator<Item = (&'a [u8], Option<Candidates>)>,
        mut size: impl FnMut() -> usize,
    ) -> Vec<usize> {
        let mut scanner = Scanner::new(cutter.clone());
        let mut lengths = Vec::new();
        for (stretch, marks) in stretches {
            let mut done = 0;
            while done < stretch.len() {
                let end = stretch.len().min(done.saturating_add(size()));
                let ahead = |done| marks.as_ref().map(|marks| marks.ahead().behind(done));
                while let Some(cut) = scanner.feed_in_window(&stretch[done..end], ahead(done)) {
                    done += cut.consumed;
                    lengths.push(cut.length);
                }
                done = end;
            }
        }
        lengths.extend(scanner.finish());
        lengths
    }

    fn scanned(cutter: &CdcParams, data: &[u8]) -> Vec<usize> {
        lengths(cutter, std::iter::once((data, None)), || usize::MAX)
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
        fn what_is_marked_is_cut_where_what_is_scanned_is(
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
            let cutter = CdcParams::new(&options).unwrap();
            let noise = random(length.min(period), noise);
            let data: Vec<u8> = noise.iter().copied().cycle().take(length).collect();
            prop_assert_eq!(marked(&cutter, &data, stretch, &pieces), scanned(&cutter, &data));
        }
    }

    #[test]
    fn marks_are_believed() {
        for avg_size in [16 << 10, 64 << 10, 256 << 10] {
            let options =
                Options { min_size: avg_size / 4, avg_size, max_size: 4 * avg_size, ..Options::default() };
            let cutter = CdcParams::new(&options).unwrap();
            let data = random(8 << 20, 7);
            let marks = cutter.mark(&data).expect("random bytes have few marks");
            let whole = scanned(&cutter, &data);
            assert_eq!(
                lengths(&cutter, std::iter::once((&data[..], Some(marks))), || usize::MAX),
                whole,
                "{avg_size}"
            );
            // Without a mark there is no cut point but where a chunk may not be longer.
            let none = Some(Candidates(Vec::new()));
            let uncut = lengths(&cutter, std::iter::once((&data[..], none)), || usize::MAX);
            let longest = uncut.iter().filter(|&&length| length as u64 == options.max_size).count();
            assert!(longest + 2 >= uncut.len() && uncut.len() < whole.len(), "{avg_size}: {uncut:?}");
        }
    }

    /// All bytes the same: the hash passes at each position or at none.
    #[test]
    fn where_every_position_passes_marking_is_given_up() {
        let mut cutter = CdcParams::new(&Options::default()).unwrap();
        cutter.gear = vec![0; 256].into();
        assert!(cutter.mark(&[0; 100_000]).is_none());
        cutter.gear = vec![1; 256].into();
        assert!(cutter.mark(&[0; 100_000]).unwrap().0.iter().all(|mark| mark.position < GEAR_WINDOW));
    }
}
