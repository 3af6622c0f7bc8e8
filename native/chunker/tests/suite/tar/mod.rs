//! Checks tars against a writer that is nothing but the format, against damage, and against programs.

#[cfg(target_os = "linux")]
mod against_programs;
mod chunking;
mod damage;
mod parsing;
pub(crate) mod writer;
