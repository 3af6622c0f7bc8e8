//! The files of a tree that is unpacked, until they are written by several threads.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::Cancel;
use crate::engine::batch::BatchOptions;
use crate::engine::workers::Workers;
use crate::error::{Error, IoError};
use crate::io::staging::{create_file, make_executable};

/// The most files of one task, which are in the same directory. Two threads that create files in one directory wait
/// for each other.
const MOST_FILES: usize = 128;

/// The number of bytes from which on a task gets no more of them.
const ENOUGH_BYTES: u64 = 1 << 20;

/// The number of tasks from which on they are done. Each holds a descriptor.
const MOST_TASKS: usize = 16;

/// Consecutive bytes of an archive, in pieces.
pub(super) struct Window<'a> {
    pieces: Vec<(u64, &'a [u8])>,
    pub(super) end: u64,
}

impl<'a> Window<'a> {
    /// Takes pieces of which the first begins at `start`.
    pub(super) fn new(start: u64, pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut end = start;
        let pieces = pieces
            .map(|piece| {
                let start = end;
                end += piece.len() as u64;
                (start, piece)
            })
            .collect();
        Self { pieces, end }
    }

    /// Returns the bytes of a range.
    fn slices(&self, range: Range<u64>) -> impl Iterator<Item = &'a [u8]> {
        let first = self.pieces.partition_point(|(start, piece)| start + piece.len() as u64 <= range.start);
        let within = self.pieces[first..].iter().take_while(move |(start, _)| *start < range.end);
        within.map(move |(start, piece)| {
            let from = range.start.saturating_sub(*start) as usize;
            let to = (range.end - start).min(piece.len() as u64) as usize;
            &piece[from..to]
        })
    }
}

/// A file that is to be created. `path` is that in the archive.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) path: Vec<u8>,
    pub(super) executable: bool,
    /// Where the contents are in the archive.
    pub(super) contents: Range<u64>,
}

impl NewFile {
    fn create(&self, folder: &OwnedFd) -> std::io::Result<File> {
        let name = self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let file = create_file(folder.as_fd(), OsStr::from_bytes(name))?;
        if self.executable {
            make_executable(&file)?;
        }
        Ok(file.into())
    }
}

/// A file that is created, and whose contents have not all been seen.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: Arc<File>,
    path: Vec<u8>,
    /// Where the contents begin in the archive, and where those that have not been seen do.
    start: u64,
    next: u64,
}

/// What one thread does at a time.
#[derive(Debug)]
enum Task {
    Create { folder: Arc<OwnedFd>, files: Vec<NewFile>, bytes: u64 },
    Write { file: Arc<File>, path: Vec<u8>, position: u64, contents: Range<u64> },
}

impl Task {
    /// Returns a number by which longer tasks begin first.
    fn size(&self) -> usize {
        match self {
            Self::Create { files, bytes, .. } => *bytes as usize + files.len() * (16 << 10),
            Self::Write { contents, .. } => (contents.end - contents.start) as usize,
        }
    }

    /// Does it. The path of an error is that in the archive.
    fn run(&self, window: &Window<'_>) -> Result<(), (Vec<u8>, std::io::Error)> {
        match self {
            Self::Create { folder, files, .. } => files.iter().try_for_each(|new| {
                let write = || {
                    let mut file = new.create(folder)?;
                    window.slices(new.contents.clone()).try_for_each(|slice| file.write_all(slice))
                };
                write().map_err(|error| (new.path.clone(), error))
            }),
            Self::Write { file, path, position, contents } => {
                let mut position = *position;
                window.slices(contents.clone()).try_for_each(|slice| {
                    file.write_all_at(slice, position).map_err(|error| (path.clone(), error))?;
                    position += slice.len() as u64;
                    Ok(())
                })
            }
        }
    }
}

/// Files whose contents are at hand, and that are not written.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    tasks: Vec<Task>,
}

impl Unwritten {
    /// Returns whether there is so much that it should be written.
    pub(super) fn is_full(&self) -> bool {
        self.tasks.len() >= MOST_TASKS
    }

    /// Adds a file of a directory.
    pub(super) fn create(&mut self, folder: &Arc<OwnedFd>, file: NewFile) {
        let size = file.contents.end - file.contents.start;
        match self.tasks.last_mut() {
            Some(Task::Create { folder: last, files, bytes })
                if Arc::ptr_eq(last, folder) && files.len() < MOST_FILES && *bytes < ENOUGH_BYTES =>
            {
                files.push(file);
                *bytes += size;
            }
            _ => self.tasks.push(Task::Create { folder: Arc::clone(folder), files: vec![file], bytes: size }),
        }
    }

    /// Takes the file back that was added last, if its contents go on after `end`.
    pub(super) fn take_incomplete(&mut self, end: u64) -> Option<(Arc<OwnedFd>, NewFile)> {
        let Some(Task::Create { folder, files, .. }) = self.tasks.last_mut() else { return None };
        let file = files.pop_if(|file| file.contents.end > end)?;
        let folder = Arc::clone(folder);
        if files.is_empty() {
            self.tasks.pop();
        }
        Some((folder, file))
    }

    /// Adds the next bytes of an open file.
    pub(super) fn write(&mut self, open: &mut OpenFile, length: u64) {
        let contents = open.next..open.next + length;
        open.next = contents.end;
        if let Some(Task::Write { file, contents: last, .. }) = self.tasks.last_mut()
            && Arc::ptr_eq(file, &open.file)
            && last.end == contents.start
            && last.end - last.start < ENOUGH_BYTES
        {
            last.end = contents.end;
            return;
        }
        self.tasks.push(Task::Write {
            file: Arc::clone(&open.file),
            path: open.path.clone(),
            position: contents.start - open.start,
            contents,
        });
    }

    /// Writes everything. The path of an error is `root` and that in the archive.
    pub(super) fn finish(
        &mut self,
        window: &Window<'_>,
        root: &Path,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let tasks = std::mem::take(&mut self.tasks);
        let options = BatchOptions { workers: Some(workers), parallel_threshold: 2, progress: None };
        let written = options.run(&tasks, Task::size, || (), |(), task, _| task.run(window), is_cancelled)?;
        written.into_iter().collect::<Result<(), _>>().map_err(|(path, source)| failed(root, &path, source))
    }
}

/// Returns the error of an entry of the archive that is unpacked to `root`.
pub(super) fn failed(root: &Path, path: &[u8], source: std::io::Error) -> Error {
    let path = if path.is_empty() { root.into() } else { root.join(OsStr::from_bytes(path)) };
    IoError { path: Some(path), source }.into()
}

impl OpenFile {
    /// Creates a file whose contents are not all at hand. The path of an error is that in the archive.
    pub(super) fn create(folder: &OwnedFd, file: NewFile) -> Result<Self, (Vec<u8>, std::io::Error)> {
        match file.create(folder) {
            Ok(created) => Ok(Self::new(created, file.path, file.contents.start)),
            Err(error) => Err((file.path, error)),
        }
    }

    pub(super) fn new(file: File, path: Vec<u8>, start: u64) -> Self {
        Self { file: Arc::new(file), path, start, next: start }
    }
}
