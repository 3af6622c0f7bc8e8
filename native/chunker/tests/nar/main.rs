//! Nix archives: against an encoder that is nothing but the grammar, against damage, and against the real Nix.

mod naive;
mod parsing;
