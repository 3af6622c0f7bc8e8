//! Unpacks a NAR into the file system.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, mkdirat, symlinkat};
use rustix::io::Errno;

use super::consumer::NarConsumer;
use super::parser::{Event, Kind, Node, Parser};
use crate::error::{Error, IoError};
use crate::io::staging::{StagedPath, create_file, make_executable, open_folder};

/// Unpacks a NAR as `nix-store --restore` does, with the same files, executable bits and symbolic links.
///
/// The target must not exist. Everything is created under a temporary sibling path, which is atomically
/// renamed onto the target on success, so the target is complete or does not exist. On an error, or if this
/// is dropped, what was created is removed, also if the parent directory was moved or if descriptors are
/// scarce. Only a process that is killed leaves something behind, under a name that begins with `.chunker-`. On
/// Linux the next call with the same target removes it, unless the machine was restarted or the file system has
/// no locks.
///
/// Nothing is written outside the target: each file is created as a new file relative to the descriptor of
/// the directory that was created for it, and no existing name is opened. So symbolic links are never
/// followed, neither those of earlier entries nor those that another process creates at the same time. Names
/// that are equal on a case-insensitive file system are an error.
#[derive(Debug)]
pub struct Restore {
    parser: Parser,
    tree: Tree,
}

#[derive(Debug)]
struct Tree {
    /// The directories that are open, each in the previous one. They are closed before `place` removes what was
    /// created, which needs descriptors.
    folders: Vec<OwnedFd>,
    /// The file that is being written.
    file: Option<File>,
    place: StagedPath,
    /// The path of the last node, as in the NAR.
    path: Vec<u8>,
}

impl Restore {
    /// Starts to unpack a NAR to `target`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] with `eexist` if `target` exists, with `enoent` if its parent directory does not
    /// exist, and with other errors of the operating system.
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
    /// Returns [`Error::Nar`], and [`Error::Io`] with the path of the file that could not be created or
    /// written.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Self { parser, tree } = self;
        parser.feed(piece, |event| match event {
            Event::Node(node) => tree.begin(&node),
            Event::Contents(bytes) => {
                let file = tree.file.as_mut().expect("contents belong to a file");
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
        let Some(folder) = self.folders.last() else { return self.make_root(node) };
        let (folder, name) = (folder.as_fd(), OsStr::from_bytes(node.name()));
        match node.kind {
            Kind::Directory => {
                mkdirat(folder, name, Mode::from_raw_mode(0o777))?;
                self.folders.push(open_folder(folder, name)?);
            }
            Kind::Regular { executable, .. } => {
                let file = create_file(folder, name)?;
                if executable {
                    make_executable(&file)?;
                }
                self.file = Some(file.into());
            }
            Kind::Symlink { target } => symlinkat(OsStr::from_bytes(target), folder, name)?,
        }
        Ok(())
    }

    fn make_root(&mut self, node: &Node<'_>) -> Result<(), Errno> {
        match node.kind {
            Kind::Directory => self.folders.push(self.place.create_folder()?),
            Kind::Regular { executable, .. } => self.file = Some(self.place.create_file(executable)?.into()),
            Kind::Symlink { target } => self.place.create_link(OsStr::from_bytes(target))?,
        }
        Ok(())
    }
}
