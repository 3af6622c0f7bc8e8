//! Unpacks a NAR into the file system.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, mkdirat, symlinkat};
use rustix::io::Errno;

use super::consumer::NarConsumer;
use super::parser::{Event, Kind, Node, Parser};
use super::unwritten::{NewFile, OpenFile, Unwritten, Window, failed};
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::io::staging::{StagedPath, open_folder};
use crate::{Cancel, NEVER};

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
    /// The number of bytes that the parser was fed.
    fed: u64,
    tree: Tree,
}

#[derive(Debug)]
struct Tree {
    /// The directories that are open, each in the previous one. They are closed before `place` removes what was
    /// created, which needs descriptors.
    folders: Vec<Arc<OwnedFd>>,
    /// The last file, if it is created and its contents have not all been seen.
    file: Option<OpenFile>,
    /// Whether the last file has not ended.
    is_in_file: bool,
    unwritten: Unwritten,
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
        let tree = Tree {
            place: StagedPath::for_new(target)?,
            folders: Vec::new(),
            file: None,
            is_in_file: false,
            unwritten: Unwritten::default(),
            path: Vec::new(),
        };
        Ok(Self { parser: Parser::new(), fed: 0, tree })
    }

    /// Consumes the next bytes, and writes the files in them on several threads.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`feed`](Self::feed), and [`Error::Cancelled`] if `is_cancelled` returns true.
    pub fn feed_pieces<P: AsRef<[u8]>>(
        &mut self,
        pieces: &[P],
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let Self { parser, fed, tree } = self;
        let window = Window::new(*fed, pieces.iter().map(P::as_ref));
        let write =
            |tree: &mut Tree| tree.unwritten.finish(&window, &tree.place.target, workers, is_cancelled);
        for piece in pieces {
            parser.feed(piece.as_ref(), |event| match event {
                Event::Node(node) => {
                    if tree.unwritten.is_full() {
                        write(tree)?;
                    }
                    tree.begin(&node)
                }
                Event::Contents(bytes) => {
                    if let Some(file) = &mut tree.file {
                        tree.unwritten.write(file, bytes.len() as u64);
                    }
                    Ok(())
                }
                Event::End => {
                    tree.file = None;
                    if !std::mem::take(&mut tree.is_in_file) {
                        tree.folders.pop();
                    }
                    Ok(())
                }
            })?;
        }
        *fed = window.end;
        tree.open_incomplete(window.end)?;
        write(tree)
    }
}

impl NarConsumer for Restore {
    type Output = ();

    /// # Errors
    ///
    /// Returns [`Error::Nar`], and [`Error::Io`] with the path of the file that could not be created or
    /// written.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.feed_pieces(&[piece], Workers::of_this_thread(), NEVER)
    }

    fn finish(self) -> Result<(), Error> {
        self.parser.finish()?;
        self.tree.place.claim()
    }
}

impl Tree {
    fn begin(&mut self, node: &Node<'_>) -> Result<(), Error> {
        self.path.clear();
        self.path.extend_from_slice(node.path);
        self.make(node).map_err(|errno| failed(&self.place.target, &self.path, errno.into()))
    }

    /// Creates a node, except a file, whose contents have not been seen.
    fn make(&mut self, node: &Node<'_>) -> Result<(), Errno> {
        let Some(folder) = self.folders.last() else { return self.make_root(node) };
        let name = OsStr::from_bytes(node.name());
        match node.kind {
            Kind::Directory => {
                mkdirat(folder, name, Mode::from_raw_mode(0o777))?;
                let folder = open_folder(folder.as_fd(), name)?;
                self.folders.push(Arc::new(folder));
            }
            Kind::Regular { executable, offset, size } => {
                let path = node.path.to_vec();
                self.unwritten.create(folder, NewFile { path, executable, contents: offset..offset + size });
                self.is_in_file = true;
            }
            Kind::Symlink { target } => symlinkat(OsStr::from_bytes(target), folder, name)?,
        }
        Ok(())
    }

    fn make_root(&mut self, node: &Node<'_>) -> Result<(), Errno> {
        match node.kind {
            Kind::Directory => self.folders.push(Arc::new(self.place.create_folder()?)),
            Kind::Regular { executable, offset, .. } => {
                let file = self.place.create_file(executable)?.into();
                self.file = Some(OpenFile::new(file, Vec::new(), offset));
                self.is_in_file = true;
            }
            Kind::Symlink { target } => self.place.create_link(OsStr::from_bytes(target))?,
        }
        Ok(())
    }

    /// Creates the last file, if its contents go on after `end`, up to where they are at hand.
    fn open_incomplete(&mut self, end: u64) -> Result<(), Error> {
        if let Some((folder, new)) = self.unwritten.take_incomplete(end) {
            let available = end - new.contents.start;
            let mut file = OpenFile::create(&folder, new)
                .map_err(|(path, error)| failed(&self.place.target, &path, error))?;
            self.unwritten.write(&mut file, available);
            self.file = Some(file);
        }
        Ok(())
    }
}
