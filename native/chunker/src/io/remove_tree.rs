//! Removes a tree with a constant number of descriptors, relative to the descriptor of its parent directory.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes the directory `name` in `parent`, which is open as `top`, and everything in it.
///
/// Directories that are not empty are moved up into `top` while their parent is emptied, so two descriptors are
/// enough for any depth, of which the caller has opened one. Each is moved once. Symbolic links are removed,
/// not followed.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: impl Arg + Copy, top: OwnedFd) -> Result<(), Errno> {
    let mut top = Dir::new(top)?;
    let mut moved = 0;
    loop {
        let mut progress = false;
        top.rewind();
        while let Some(entry) = top.next() {
            let entry = entry?;
            let folder = top.fd()?;
            if !is_entry(entry.file_name()) {
                continue;
            }
            progress = true;
            if !remove(folder, entry.file_name())? {
                let mut inner = Dir::new(open_folder(folder, entry.file_name())?)?;
                while let Some(entry) = inner.next() {
                    let entry = entry?;
                    let inner = inner.fd()?;
                    if is_entry(entry.file_name()) && !remove(inner, entry.file_name())? {
                        move_up(inner, entry.file_name(), folder, &mut moved)?;
                    }
                }
            }
        }
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) if progress => {}
            removed => return removed,
        }
    }
}

fn is_entry(name: &CStr) -> bool {
    !matches!(name.to_bytes(), b"." | b"..")
}

/// Removes a file, a link or an empty directory. Returns false for a directory that is not empty.
pub(super) fn remove(folder: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<bool, Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // The error for a directory differs between systems.
        Err(Errno::ISDIR | Errno::PERM) => match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno),
        },
        Err(errno) => Err(errno),
    }
}

/// Moves a directory under a name that is free in `to`, or that of an empty directory.
fn move_up(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, moved: &mut u64) -> Result<(), Errno> {
    loop {
        *moved += 1;
        match renameat(from, name, to, moved.to_string()) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            renamed => return renamed,
        }
    }
}

/// How often opening a directory is tried while the process has no descriptors left.
const ATTEMPTS: usize = 100;

const PAUSE: Duration = Duration::from_millis(20);

/// Opens a directory. Waits for a descriptor if other threads use all that the process may have.
fn open_folder(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 1..ATTEMPTS {
        match openat(folder, name, flags, Mode::empty()) {
            Err(Errno::MFILE | Errno::NFILE) => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    openat(folder, name, flags, Mode::empty())
}
