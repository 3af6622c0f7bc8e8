//! Where bytes come from and where they go: sources, files, and the memory between them.

pub(crate) mod aligned_buffer;
pub(crate) mod buffer_pool;
pub mod file;
pub mod output_buffer;
pub mod source;
