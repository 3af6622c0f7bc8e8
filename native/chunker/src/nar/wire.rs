//! Defines the fixed parts of a NAR, fused into tokens that are as long as possible.

/// The maximum number of nested nodes: a path has fewer names than this. A directory with 63 names is
/// accepted if it is empty.
pub const MAX_DEPTH: usize = 64;

/// The maximum length of a name, in bytes: the limit of Linux.
pub const MAX_NAME: usize = 255;

/// The maximum length of the target of a symbolic link, in bytes: the limit of Linux, which is 4096 with a
/// NUL.
pub const MAX_TARGET: usize = 4095;

/// The maximum end of the contents of a file, in bytes from the start of the NAR.
pub(super) const MAX_END: u64 = i64::MAX as u64;

/// Returns the number of zeros after a string of this length.
pub(super) const fn padding(length: u64) -> u64 {
    length.wrapping_neg() % 8
}

/// Returns the encoded size of a string, in bytes.
const fn size(string: &str) -> usize {
    8 + string.len().next_multiple_of(8)
}

/// Encodes strings. Compilation fails if `N` is not their size.
const fn token<const N: usize>(strings: &[&str]) -> [u8; N] {
    let mut bytes = [0; N];
    let (mut at, mut index) = (0, 0);
    while index < strings.len() {
        let string = strings[index].as_bytes();
        assert!(string.len() < 256, "the length fits into its first byte");
        bytes[at] = string.len() as u8;
        let mut byte = 0;
        while byte < string.len() {
            bytes[at + 8 + byte] = string[byte];
            byte += 1;
        }
        at += size(strings[index]);
        index += 1;
    }
    assert!(at == N);
    bytes
}

/// The first bytes of every NAR.
pub const START: [u8; 56] = token(&["nix-archive-1", "(", "type"]);

/// The encoded size of the first string of [`START`], which identifies a NAR.
pub(super) const MAGIC: usize = size("nix-archive-1");

pub(super) const REGULAR: [u8; 32] = token(&["regular", "contents"]);
pub(super) const EXECUTABLE: [u8; 64] = token(&["regular", "executable", "", "contents"]);
pub(super) const SYMLINK: [u8; 32] = token(&["symlink", "target"]);
pub(super) const DIRECTORY: [u8; 24] = token(&["directory"]);

/// The token before the name of an entry.
pub(super) const ENTRY: [u8; 48] = token(&["entry", "(", "name"]);

/// The token after the name of an entry.
pub(super) const NODE: [u8; 48] = token(&["node", "(", "type"]);

/// The end of the root.
pub(super) const END: [u8; 16] = token(&[")"]);

/// The end of a node and of its entry.
pub(super) const END_OF_ENTRY: [u8; 32] = token(&[")", ")"]);
