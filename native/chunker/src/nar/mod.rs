//! Nix archives (NARs): the format in which Nix packs a file system tree, with nothing in it that differs between machines.
//!
//! * [`Parser`] reads one strictly, fed with pieces of any size, and tells what is in it as [`Event`]s.
//! * [`List`], [`Listing`], [`struct@Hash`], [`ReadFile`] and [`Restore`] are [`NarConsumer`]s: what comes of reading a NAR.
//!   [`read_slice`] and [`read_source`] carry them out.
//! * [`is_nar`] and [`is_nar_source`] tell whether something is one.
//! * [`Dump`] writes one, as a source of bytes; [`dump_file`] writes it to a file.
//! * [`scanner`] finds cut points along the files in one, and [`NarMethod`] makes the engine chunk with them.
//! * [`annotations`] say which entries each chunk touches, and which hashes of dependencies were taken out of it.
//! * [`references`] takes the hashes of dependencies out of content, so that packages built anew share their chunks.
//!
//! Whatever makes files or reads them by their names in a tree is there on Unix alone.
//!
//! # The format
//!
//! Nix defines it in `src/libutil/archive.cc` and in the chapter "Nix Archive (NAR) format" of its manual.
//!
//! ```text
//! archive   = s("nix-archive-1") node
//! node      = s("(") s("type") ( regular | symlink | directory ) s(")")
//! regular   = s("regular") [ s("executable") s("") ] s("contents") s(bytes)
//! symlink   = s("symlink") s("target") s(target)
//! directory = s("directory") { s("entry") s("(") s("name") s(name) s("node") node s(")") }
//!
//! s(b)      = the length of b as 64 bits, little-endian; b; zeros up to the next multiple of 8 bytes
//! ```
//!
//! All but names, targets and contents is fixed, so that the parser compares whole tokens, each of several strings: the first
//! 56 bytes of all NARs are the same.
//!
//! # What a NAR must keep to
//!
//! The grammar leaves several archives for the same tree, and archives that no file system could hold. Whoever names
//! content by its hash needs one archive for a tree, so the parser refuses everything else, and so does the writer. The
//! [`Rule`]s say what that is:
//!
//! * names have 1 to 255 bytes, without `/` and NUL, and are neither `.` nor `..`;
//! * the names in a directory ascend strictly, compared as bytes;
//! * targets have 1 to 4095 bytes, without NUL;
//! * padding is zero, also that of contents that nobody looks at;
//! * no path has more than 63 names ([`MAX_DEPTH`]);
//! * contents end within the first 2^63 bytes, since no file is longer;
//! * nothing follows the end.
//!
//! Names and targets are bytes, not text.

pub mod annotations;
mod consumer;
#[cfg(unix)]
mod dump;
mod error;
mod hash;
mod list;
mod listing;
mod method;
mod parser;
mod path;
mod read_file;
pub mod references;
#[cfg(unix)]
mod restore;
pub mod scanner;
#[cfg(unix)]
mod staging;
mod validate;
mod wire;

pub use consumer::{NarConsumer, Step, feed, read_slice, read_source, step};
#[cfg(unix)]
pub use dump::{Dump, dump_file};
pub use error::{NarError, Rule};
pub use hash::Hash;
pub use list::{Entry, List};
pub use listing::Listing;
pub use method::{NarMethod, RECOGNIZER};
pub use parser::{Event, Kind, Node, Parser};
pub use path::EntryPath;
pub use read_file::ReadFile;
#[cfg(unix)]
pub use restore::Restore;
pub use validate::{is_nar, is_nar_source};
pub use wire::{MAX_DEPTH, MAX_NAME, MAX_TARGET, START};
