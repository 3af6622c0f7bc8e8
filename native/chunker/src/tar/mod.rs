//! Tars: chunking along their members, as they are in backups and container layers.
//!
//! * [`Parser`] finds the members of a tar that arrives in pieces.
//! * [`scanner`] finds cut points along them, and [`TarMethod`] chunks with them in the engine.
//!
//! Nothing here fails. A tar has no length and no digest of the whole, programs write it in many dialects, and
//! what chunks it need not restore it. So from the first block on that is not understood, the input is data of
//! which nothing is known, and FastCDC alone decides on the cuts; an input that is no tar at all gets the chunks
//! that it has without this module.
//!
//! # Format
//!
//! A tar is a sequence of blocks of 512 bytes. Each member has a header block and, if it has contents, these with
//! padding up to the next block. Headers in the format of POSIX (ustar), of GNU tar and of Unix V7 agree on all
//! fields that matter here:
//!
//! | bytes | field |
//! |---|---|
//! | 124..136 | the length of the contents: octal digits, or `0x80` and a number in base 256 |
//! | 148..156 | the sum of all bytes of the block, as octal digits, with spaces in place of this field |
//! | 156 | the type of the member |
//! | 482 | GNU, type `S`: whether another block with a map of the sparse file follows |
//!
//! Some members describe the next one and belong to it:
//!
//! * `x` and `X`: pax records, among which `size` replaces the field of the header;
//! * `g`: pax records for all members up to the end of the archive;
//! * `L` and `K`: GNU's long names and targets.
//!
//! # Rules
//!
//! * A block of zeros is skipped wherever a header may be. So an archive goes on behind its end marker if another
//!   one was appended to it, as with `tar --ignore-zeros`. Pax records of type `g` end with it.
//! * Links, directories, devices and FIFOs (types `1` to `6`) have no contents, whatever their length says: old
//!   programs write the length of the file there, and readers ignore it. A hard link has contents if a pax record
//!   gives their length. All other types have contents, as POSIX demands for those that are not known.
//! * The sum may be that of unsigned bytes or of signed ones, which some old programs computed.
//! * The length of a sparse file is that of its contents in the archive, not that of the file.
//! * Contents end within the first 2^63 bytes.

mod header;
mod method;
mod parser;
mod records;
pub mod scanner;

pub use method::TarMethod;
pub use parser::{Event, Member, Parser};
