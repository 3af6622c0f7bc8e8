//! The definition of cut points along the members of an archive: an implementation that has the whole archive
//! and the bare crate `fastcdc`.

use std::ops::Range;

use chunker::aligned::Config;
use chunker::cdc::Options;
use fastcdc::v2020::{FastCDC, Normalization};
use proptest::prelude::*;

/// The structure of an archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    /// The ranges of the contents.
    pub(crate) contents: Vec<Range<usize>>,
    /// The ends of members, with all that belongs to them.
    pub(crate) ends: Vec<usize>,
}

/// Returns the lengths of the chunks, and the number of those that are short because of a forced cut.
pub(crate) fn reference(archive: &[u8], members: &Members, config: &Config) -> (Vec<usize>, usize) {
    reference_before(archive, members, config, false)
}

/// Does so for the start of an archive, at whose end a cut is perhaps forced.
pub(crate) fn reference_before(
    archive: &[u8],
    members: &Members,
    config: &Config,
    is_forced: bool,
) -> (Vec<usize>, usize) {
    let options = config.options;
    let least = config.min_entry_size.unwrap_or(2 * options.avg_size) as usize;
    let distance = config.boundary_preference_distance.unwrap_or(options.min_size.min(options.avg_size / 4));
    let distance = (distance as usize).min(options.min_size as usize & !1);
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as usize);
    let level = [Normalization::Level0, Normalization::Level1, Normalization::Level2, Normalization::Level3]
        [options.normalization as usize];
    let large: Vec<_> = members.contents.iter().filter(|range| range.len() >= least).collect();
    let forced = large.iter().flat_map(|range| [range.start, range.end]).chain([archive.len()]);

    let (mut lengths, mut short) = (Vec::new(), 0);
    let mut start = 0;
    for end in forced {
        let is_large = large.iter().any(|range| range.end == end);
        while start < end {
            let mut chunks =
                FastCDC::with_level_and_seed(&archive[start..end], min, avg, max, level, options.seed);
            let mut cut = start + chunks.next().unwrap().length;
            // The last bytes end a chunk anyway. FastCDC decides on a cut by the byte behind it, unless the chunk is as
            // long as may be.
            let is_longest = end == archive.len() && !is_forced && cut - start == max;
            let is_unforced = cut < end || is_longest;
            // A cut that is not forced moves back to the nearest boundary within the distance.
            if is_unforced && !is_large {
                let boundary = members.ends.iter().copied().filter(|&boundary| boundary <= cut).max();
                if let Some(boundary) = boundary
                    && boundary >= start + min
                    && cut - boundary < distance
                {
                    cut = boundary;
                }
            }
            let is_forced_here = cut == end && (end < archive.len() || is_large);
            short += usize::from(is_forced_here && cut - start < min);
            lengths.push(cut - start);
            start = cut;
        }
    }
    (lengths, short)
}

/// Generates options under which archives of some KB have many chunks.
pub(crate) fn config() -> impl Strategy<Value = Config> {
    let options = (64u64..300, 256u64..700, 1024u64..2000, 0u64..=3, any::<u64>()).prop_map(
        |(min_size, avg_size, max_size, normalization, seed)| Options {
            min_size: min_size.min(avg_size),
            avg_size,
            max_size,
            normalization,
            seed,
        },
    );
    (options, proptest::option::of(0u64..3000), proptest::option::of(0u64..300)).prop_map(
        |(options, more, distance)| Config {
            options,
            min_entry_size: more.map(|more| options.min_size + more),
            boundary_preference_distance: distance.map(|distance| distance.min(options.min_size)),
        },
    )
}
