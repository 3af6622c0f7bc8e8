//! Runs the official programs. A test that needs a missing program fails: a skipped comparison must not count
//! as a pass.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use chunker::codec::Codec;

/// Compresses with a codec's official program, at its default level unless the arguments say otherwise.
pub(crate) fn compress_by_program(codec: Codec, arguments: &[&str], content: &[u8]) -> Vec<u8> {
    let (program, own): (_, &[&str]) = match codec {
        Codec::Brotli => ("brotli", &["-c"]),
        Codec::Lzma => ("xz", &["--format=lzma", "-q", "-c"]),
        _ => (codec.name(), &["-q", "-c"]),
    };
    run(program, &[own, arguments].concat(), content)
}

/// Decompresses with a codec's official program.
pub(crate) fn decompress_by_program(codec: Codec, input: &[u8]) -> Vec<u8> {
    run(if codec == Codec::Lzma { "xz" } else { codec.name() }, &["-d", "-c"], input)
}

/// Runs a program on `input` and returns its output.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = try_run(program, arguments, input);
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs a program like [`run`], and accepts failure.
pub(crate) fn try_run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "these tests need the programs of the codecs and python3; {program} does not start: {error}"
            )
        });
    let mut stdin = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that rejects its input may stop reading it; the exit status reports that.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("a child can be waited for")
    })
}
