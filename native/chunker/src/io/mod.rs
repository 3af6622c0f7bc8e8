//! Sources of bytes, files, and the buffers for input and output.

pub(crate) mod aligned_buffer;
pub(crate) mod buffer_pool;
pub mod file;
pub mod output_buffer;
pub mod source;
