//! Nix archives: against an encoder that is nothing but the grammar, against damage, and against the real Nix.

#[cfg(all(unix, feature = "sha256"))]
mod against_nix;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod folder;
mod malformed;
mod naive;
mod parsing;
#[cfg(unix)]
mod program;
mod references;
