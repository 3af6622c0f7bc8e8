//! Nix archives (NARs): the format in which Nix packs a file system tree, without anything that differs
//! between machines.
//!
//! * [`Parser`] parses a NAR strictly, in pieces of any size, and returns its parts as [`Event`]s.
//! * [`List`], [`Listing`], [`struct@Hash`], [`ReadFile`] and [`Restore`] are [`NarConsumer`]s, which compute
//!   something from a NAR. [`read_slice`] and [`read_source`] run them.
//! * [`is_nar`] and [`is_nar_source`] validate a NAR.
//! * [`Outliner`] makes the outline of a NAR, its bytes without the contents of its files; [`OutlineReader`] lists
//!   the entries of one.
//! * [`Dump`] writes a NAR, as a source of bytes; [`dump_file`] writes it to a file.
//! * [`scanner`] finds cut points along the files in a NAR, and [`NarMethod`] chunks with them in the engine.
//! * [`annotations`] list the entries in each chunk, and the store hashes that were removed from it.
//! * [`references`] replaces store hashes in content, so that rebuilt packages share their chunks.
//!
//! [`Dump`], [`dump_file`] and [`Restore`], which use the file system, are available only on Unix.
//!
//! # Format
//!
//! The format is defined in `src/libutil/archive.cc` of Nix and in the chapter "Nix Archive (NAR) format" of
//! its manual.
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
//! Everything except names, targets and contents is fixed, so the parser compares whole tokens of several
//! strings. The first 56 bytes of all NARs are the same.
//!
//! # Rules
//!
//! The grammar allows several archives for the same tree, and archives that no file system can hold. Content
//! that is named by its hash needs exactly one archive for each tree, so the parser rejects all others, and
//! the writer never produces them. The [`Rule`]s are:
//!
//! * names have 1 to 255 bytes, without `/` and NUL, and are neither `.` nor `..`;
//! * the names in a directory are strictly ascending, compared as bytes;
//! * targets have 1 to 4095 bytes, without NUL;
//! * padding is zero, also after contents that are skipped;
//! * a path has at most 63 names ([`MAX_DEPTH`]);
//! * contents end within the first 2^63 bytes, the maximum length of a file;
//! * nothing follows the end.
//!
//! Names and targets are bytes, not text.

pub mod annotations;
mod consumer;
#[cfg(unix)]
mod dump;
mod error;
mod hash;
mod limits;
mod list;
mod listing;
mod method;
mod outline;
mod parser;
mod path;
mod read_file;
pub mod references;
#[cfg(unix)]
mod restore;
pub mod scanner;
#[cfg(unix)]
mod unwritten;
mod validate;
mod wire;

pub use consumer::{NarConsumer, Step, feed, read_slice, read_source, step};
#[cfg(unix)]
pub use dump::{Dump, dump_file};
pub use error::{NarError, Rule};
pub use hash::Hash;
pub use limits::{ENTRY_SIZE, EntryLimits};
#[cfg(all(unix, feature = "store"))]
pub(crate) use list::EntryList;
pub use list::{Entry, List};
pub use listing::{Listing, ListingFormat, ListingNotation, ListingOptions};
pub use method::{NarMethod, RECOGNIZER};
pub use outline::{OutlineReader, Outliner};
pub use parser::{Event, Kind, Node, Parser};
pub use path::EntryPath;
pub use read_file::ReadFile;
#[cfg(all(unix, feature = "store"))]
pub(crate) use read_file::unreadable_entry;
#[cfg(unix)]
pub use restore::Restore;
pub use validate::{is_nar, is_nar_source};
pub use wire::{MAX_DEPTH, MAX_NAME, MAX_TARGET, START};
