//! Content-defined chunking: where FastCDC cuts, pure and without threads.
//!
//! [`Scanner`] finds the cut points of an input that comes in pieces. They are those of crate `fastcdc`'s `v2020` for the
//! same [`Options`], however the input is split and whichever kernel scans it.

pub(crate) mod candidates;
mod kernel;
mod params;
mod scanner;

pub use candidates::Window;
pub use params::{CdcParams, Options};
pub use scanner::{Cut, Scanner};

use kernel::Kernel;

/// The name of the scan kernel that is used: the fastest one that the CPU can run, or the one that the environment variable
/// `CHUNKER_KERNEL` asks for.
///
/// # Errors
///
/// When the variable asks for one that does not exist or that the CPU cannot run.
pub fn kernel() -> Result<&'static str, crate::OptionsError> {
    Ok(Kernel::selected()?.name())
}

/// The names of all scan kernels that this CPU can run, the fastest first.
#[must_use]
pub fn kernels() -> Vec<&'static str> {
    Kernel::available().iter().map(Kernel::name).collect()
}
