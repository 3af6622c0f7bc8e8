//! The official programs. The tests that need one fail without it: a comparison that did not take place is no pass.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What a program makes of `input`.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = try_run(program, arguments, input);
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The same, whether the program succeeds or not.
pub(crate) fn try_run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("these tests need the programs zstd, lz4, xz and bzip2; {program} does not start: {error}")
        });
    let mut stdin = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that refuses its input may stop reading it; its status tells.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("a child can be waited for")
    })
}
