//! Runs the programs of Nix. A test that needs a missing program fails: a skipped comparison must not count
//! as a pass.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `program` with `input` as its standard input, and returns its output.
pub(crate) fn run(program: &str, arguments: &[&Path], input: Option<&Path>) -> Vec<u8> {
    let input = input.map_or(Stdio::null(), |path| File::open(path).unwrap().into());
    let output = Command::new(program).args(arguments).stdin(input).output().unwrap_or_else(|error| {
        panic!("these tests need the programs of nix-bin; {program} does not start: {error}")
    });
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs `nix-store --dump`.
pub(crate) fn dump(path: &Path) -> Vec<u8> {
    run("nix-store", &["--dump".as_ref(), path], None)
}

/// Runs `nix-store --restore`.
pub(crate) fn restore(nar: &Path, target: &Path) {
    run("nix-store", &["--restore".as_ref(), target], Some(nar));
}

/// Runs `nix-hash`, and returns the hash in the notation of a NAR hash.
pub(crate) fn hash(path: &Path) -> String {
    let arguments = ["--type", "sha256", "--base32"].map(Path::new);
    let printed = run("nix-hash", &[&arguments[..], &[path]].concat(), None);
    format!("sha256:{}", String::from_utf8(printed).unwrap().trim_end())
}

/// Runs `nix nar ls`.
pub(crate) fn listing(nar: &Path) -> Vec<u8> {
    let arguments =
        ["--extra-experimental-features", "nix-command", "nar", "ls", "--json", "-R"].map(Path::new);
    run("nix", &[&arguments[..], &[nar, "/".as_ref()]].concat(), None)
}

/// Runs `nix nar cat`.
pub(crate) fn cat(nar: &Path, path: &Path) -> Vec<u8> {
    let arguments = ["--extra-experimental-features", "nix-command", "nar", "cat"].map(Path::new);
    run("nix", &[&arguments[..], &[nar, path]].concat(), None)
}
