//! The gear hash, the rolling hash of FastCDC.

/// The number of bytes that determine the hash bits tested by the masks of FastCDC: no mask has a bit above
/// the 48th.
pub(super) const GEAR_WINDOW: usize = 48;
