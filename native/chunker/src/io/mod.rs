//! Sources of bytes, files, and the buffers for input and output.

pub(crate) mod aligned_buffer;
#[cfg(unix)]
mod attributes;
pub(crate) mod buffer_pool;
pub mod file;
pub mod output_buffer;
#[cfg(unix)]
mod remove_tree;
pub mod source;
#[cfg(unix)]
pub(crate) mod staging;
