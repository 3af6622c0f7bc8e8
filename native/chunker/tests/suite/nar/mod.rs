//! Checks Nix archives against an encoder written directly from the grammar, against damage, and against the
//! real Nix.

#[cfg(all(unix, feature = "sha256"))]
mod against_nix;
mod annotations;
mod chunking;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod folder;
mod malformed;
pub(crate) mod naive;
mod parsing;
#[cfg(all(unix, feature = "sha256"))]
pub(crate) mod program;
mod references;
#[cfg(unix)]
mod staging;
mod truncated;
