//! Finds cut points along the members of an archive, whatever its format.
//!
//! With plain FastCDC, most chunks of an archive begin in one member and end in another, so a change in
//! either makes them new. Here a cut is forced where the contents of each large member begin and where they
//! end, and FastCDC restarts at each of these cuts. So a large member gives the same chunks in every archive
//! that contains it.
//!
//! Everything between two forced cuts (headers, padding, small members) is one run, which FastCDC cuts like
//! any input, with one exception: if a member ended shortly before a cut, the cut moves back to that end.
//! That changes where chunks end, and hardly changes their number.
//!
//! A format supplies a `Layout`, which reports where members are; docs/measurements/chunking-nars.md has the
//! measurements behind these rules, and the variants that were compared.

mod config;
mod scanner;

pub use config::Config;
pub(crate) use scanner::{AlignedScanner, Layout, Mark};
