//! Unpacking a NAR into the file system.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fchmod, fstat, mkdirat, openat, symlinkat};
use rustix::io::Errno;

use super::consumer::NarConsumer;
use super::parser::{Event, Kind, Node, Parser};
use super::staging::{StagedPath, create_file};
use crate::error::{Error, IoError};

/// Unpacks a NAR, as `nix-store --restore` does: the same files, executable bits and symbolic links.
///
/// The target must not exist. All is made under another name beside it, and takes its own in one step at the end, so
/// that the target is there as a whole or not at all; what was made before an error, or before this is dropped, is removed. Only
/// a process that is killed leaves something behind: a name that begins with `.chunker-`.
///
/// Nothing outside is written: each file is made in the directory that was made for it, by its descriptor, and no name is
/// opened that was there before. So neither a symbolic link that an earlier entry made nor one that somebody else puts
/// there meanwhile leads anywhere, and names that are the same on a file system that ignores case are an error.
#[derive(Debug)]
pub struct Restore {
    parser: Parser,
    tree: Tree,
}

#[derive(Debug)]
struct Tree {
    place: StagedPath,
    /// The directories that are open, each within the one before.
    folders: Vec<OwnedFd>,
    /// The file that is written.
    file: Option<File>,
    /// The path of the node that began last, as the NAR has it.
    path: Vec<u8>,
}

impl Restore {
    /// Unpacks what is to come.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: `eexist` if there is something at `target`, `enoent` if the directory that it is to be in is missing, or
    /// what else the operating system says.
    pub fn new(target: &Path) -> Result<Self, Error> {
        let place = StagedPath::for_new(target)?;
        Ok(Self {
            parser: Parser::new(),
            tree: Tree { place, folders: Vec::new(), file: None, path: Vec::new() },
        })
    }
}

impl NarConsumer for Restore {
    type Output = ();

    /// # Errors
    ///
    /// [`Error::Nar`], and [`Error::Io`] with the path of the file that could not be made or written.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Self { parser, tree } = self;
        parser.feed(piece, |event| match event {
            Event::Node(node) => tree.begin(&node),
            Event::Contents(bytes) => {
                let file = tree.file.as_mut().expect("contents are those of a file");
                file.write_all(bytes).map_err(|source| tree.refused(source))
            }
            Event::End => {
                if tree.file.take().is_none() {
                    tree.folders.pop();
                }
                Ok(())
            }
        })
    }

    fn finish(self) -> Result<(), Error> {
        self.parser.finish()?;
        self.tree.place.claim()
    }
}

impl Tree {
    fn refused(&self, source: std::io::Error) -> Error {
        let mut path = self.place.target.clone();
        if !self.path.is_empty() {
            path.push(OsStr::from_bytes(&self.path));
        }
        IoError { path: Some(path), source }.into()
    }

    fn begin(&mut self, node: &Node<'_>) -> Result<(), Error> {
        self.path.clear();
        self.path.extend_from_slice(node.path);
        self.make(node).map_err(|errno| self.refused(errno.into()))
    }

    fn make(&mut self, node: &Node<'_>) -> Result<(), Errno> {
        let (folder, name) = match self.folders.last() {
            None => self.place.temporary(),
            Some(folder) => (folder.as_fd(), OsStr::from_bytes(node.name())),
        };
        match node.kind {
            Kind::Directory => {
                mkdirat(folder, name, Mode::from_raw_mode(0o777))?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let folder = openat(folder, name, flags, Mode::empty())?;
                self.folders.push(folder);
            }
            Kind::Regular { executable, .. } => {
                let file = create_file(folder, name)?;
                if executable {
                    // Everybody may execute it, whatever the umask says: as Nix does.
                    let mode = Mode::from_raw_mode(fstat(&file)?.st_mode);
                    fchmod(&file, mode | Mode::XUSR | Mode::XGRP | Mode::XOTH)?;
                }
                self.file = Some(file.into());
            }
            Kind::Symlink { target } => symlinkat(OsStr::from_bytes(target), folder, name)?,
        }
        Ok(())
    }
}
