//! The programs of Nix. The tests that need one fail without it: a comparison that did not take place is no pass.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `program` prints, which is given `input` to read.
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

/// `nix-store --dump`
pub(crate) fn dump(path: &Path) -> Vec<u8> {
    run("nix-store", &["--dump".as_ref(), path], None)
}

/// `nix-store --restore`
pub(crate) fn restore(nar: &Path, target: &Path) {
    run("nix-store", &["--restore".as_ref(), target], Some(nar));
}

/// `nix-hash`, as Nix writes a NAR hash.
pub(crate) fn hash(path: &Path) -> String {
    let arguments = ["--type", "sha256", "--base32"].map(Path::new);
    let printed = run("nix-hash", &[&arguments[..], &[path]].concat(), None);
    format!("sha256:{}", String::from_utf8(printed).unwrap().trim_end())
}

/// `nix nar ls`
pub(crate) fn listing(nar: &Path) -> Vec<u8> {
    let arguments =
        ["--extra-experimental-features", "nix-command", "nar", "ls", "--json", "-R"].map(Path::new);
    run("nix", &[&arguments[..], &[nar, "/".as_ref()]].concat(), None)
}

/// `nix nar cat`
pub(crate) fn cat(nar: &Path, path: &Path) -> Vec<u8> {
    let arguments = ["--extra-experimental-features", "nix-command", "nar", "cat"].map(Path::new);
    run("nix", &[&arguments[..], &[nar, path]].concat(), None)
}
