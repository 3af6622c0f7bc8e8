//! Content-defined chunking: the cut points of FastCDC, computed without threads.
//!
//! [`Scanner`] finds the cut points of an input that comes in pieces. They equal those of crate `fastcdc`'s
//! `v2020` module for the same [`Options`], regardless of how the input is split and which kernel scans it.

pub(crate) mod candidates;
mod gear;
mod kernel;
mod params;
mod scanner;

pub use candidates::Window;
pub use params::{CdcParams, Options};
pub use scanner::{Cut, Scanner};

use kernel::Kernel;

/// Returns the name of the scan kernel in use: the fastest one that the CPU supports, or the one named by the
/// environment variable `CHUNKER_KERNEL`.
///
/// # Errors
///
/// Returns an error if the variable names a kernel that does not exist or that the CPU does not support.
pub fn kernel() -> Result<&'static str, crate::OptionsError> {
    Ok(Kernel::selected()?.name())
}

/// Returns the names of all scan kernels that this CPU supports, the fastest first.
#[must_use]
pub fn kernels() -> Vec<&'static str> {
    Kernel::available().iter().map(Kernel::name).collect()
}
