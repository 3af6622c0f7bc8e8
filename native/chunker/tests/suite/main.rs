//! Checks the engine from outside. One binary, so that it is linked once; tests that need a process of their
//! own, for a counting allocator or a limit of memory, are beside it.

mod aligned;
mod batch;
mod cache;
mod candidates;
mod codec;
mod compression_features;
mod cut_points;
mod inputs;
mod nar;
mod narinfo;
mod pipeline_stress;
mod sources;
#[cfg(all(unix, feature = "store"))]
mod store;
mod tar;

/// The number of threads in the pool. The first test that needs the pool creates it for all.
const POOL: usize = 8;
