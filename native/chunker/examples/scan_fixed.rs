//! Scans fixed data, so that `scripts/instructions` can count the instructions, which do not depend on the
//! load of the machine.
//!
//! `scan_fixed` prints the names of the kernels that this CPU supports; `scan_fixed KERNEL AVERAGE` scans
//! with one of them, and prints the number of chunks.

use std::error::Error;
use std::hint::black_box;

use chunker::cdc::{CdcParams, Options, Scanner, kernels};

/// Long enough for some chunks of the largest average.
const LENGTH: usize = 8 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, average] = arguments.as_slice() else {
        println!("{}", kernels().join("\n"));
        return Ok(());
    };
    let avg_size = average.parse()?;
    let options = Options { min_size: avg_size / 4, avg_size, max_size: avg_size * 4, ..Options::default() };
    let cutter = CdcParams::new(&options)?.with_kernel(kernel).ok_or("there is no such kernel here")?;
    println!("{}", counted_scan(cutter, black_box(&random())));
    Ok(())
}

/// The function whose instructions are counted, calls included; the script finds it by its name.
#[inline(never)]
fn counted_scan(cutter: CdcParams, mut data: &[u8]) -> usize {
    let mut scanner = Scanner::new(cutter);
    let mut chunks = 0;
    while let Some(cut) = scanner.feed(data) {
        data = &data[cut.consumed..];
        chunks += 1;
    }
    chunks + usize::from(scanner.finish().is_some())
}

/// Returns pseudorandom bytes (SplitMix64).
fn random() -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(LENGTH);
    while bytes.len() < LENGTH {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}
