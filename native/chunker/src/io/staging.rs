//! Creates files and trees under a temporary sibling path that is atomically renamed onto the target on
//! success.
//!
//! On Linux, the temporary name follows from the target's, `.chunker-`, 16 hexadecimal digits, `-` and a small
//! number, so that the next call with the same target finds what a killed process has left under it, and
//! removes it. This is safe, because it removes only what has all of these signs:
//!
//! * The process that created it is dead: a process holds a lock (`flock`) on what it creates. The name
//!   depends on the boot of the machine, so that only processes which see each other's locks share a name,
//!   also on a network file system.
//! * It was created here: while it is incomplete, it has the mode 1700, or 1600 for a file, which only its
//!   owner can give it. So another user who may rename things in this directory cannot have a directory of the
//!   caller removed.
//!
//! What cannot be locked or marked is never removed by another call: symbolic links, directories that pass their
//! group on, and what a process is killed at between two of these steps.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, fchmod, flock, fstat, linkat, mkdirat, open,
    openat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::attributes::Attributes;
use super::remove_tree::{remove, remove_tree};
use crate::error::{Error, IoError};

/// Holds a temporary name in the directory of `target`. Unless it is renamed to the target, dropping it
/// removes what was created there.
#[derive(Debug)]
pub(crate) struct StagedPath {
    /// The path of the target in errors.
    pub(crate) target: PathBuf,
    /// The directory of the target. All names are relative to it, so it may be moved.
    fd: OwnedFd,
    name: OsString,
    /// The attributes of the file that is replaced.
    replaced: Option<Attributes>,
    created: Option<Created>,
}

/// What stands under the temporary name.
#[derive(Debug)]
struct Created {
    name: OsString,
    /// The file or directory, which holds the lock. `None` for a symbolic link.
    fd: Option<OwnedFd>,
    /// The mode that it gets when it is complete, if it has that of an incomplete one.
    mode: Option<Mode>,
}

impl StagedPath {
    /// Creates a path for a target that must not exist, not even as a dangling symbolic link.
    pub(crate) fn for_new(target: &Path) -> Result<Self, Error> {
        let exists = statat(CWD, target, AtFlags::SYMLINK_NOFOLLOW);
        match exists {
            Ok(_) => Err(refused(target, Errno::EXIST)),
            Err(Errno::NOENT) => Self::beside(target, target, None),
            Err(errno) => Err(refused(target, errno)),
        }
    }

    /// Creates a path for a file that may exist. It keeps its mode, and its owner and group if this process may
    /// set them.
    pub(crate) fn for_file(target: &Path) -> Result<Self, Error> {
        match fs::metadata(target) {
            // Replaces the file that a symbolic link leads to, not the link.
            Ok(metadata) if metadata.is_file() => {
                let file =
                    fs::canonicalize(target).map_err(|e| IoError { path: Some(target.into()), source: e })?;
                let attributes = Attributes::of(&file).map_err(|errno| refused(target, errno))?;
                Self::beside(&file, target, Some(attributes))
            }
            Ok(_) => Err(refused(target, Errno::EXIST)),
            Err(_) => Self::for_new(target),
        }
    }

    fn beside(path: &Path, target: &Path, replaced: Option<Attributes>) -> Result<Self, Error> {
        // Paths without a file name, such as the empty path and `missing/..`, do not exist.
        let name = path.file_name().ok_or_else(|| refused(target, Errno::NOENT))?.to_owned();
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(parent, flags, Mode::empty()).map_err(|errno| refused(target, errno))?;
        Ok(Self { target: target.into(), fd, name, replaced, created: None })
    }

    /// Returns the temporary name, once something was created under it.
    pub(crate) fn temporary(&self) -> Option<&OsStr> {
        self.created.as_ref().map(|created| &*created.name)
    }

    /// Creates a file. All users may execute it once it is complete, if `executable`.
    pub(crate) fn create_file(&mut self, executable: bool) -> Result<OwnedFd, Errno> {
        // A file that replaces another gets the mode of that one when it is complete.
        let mode = if self.replaced.is_some() { 0o600 } else { 0o666 };
        let file = self.create(|folder, name| create_file_as(folder, name, Mode::from_raw_mode(mode)))?;
        self.lock(file.try_clone().map_err(|_| Errno::MFILE)?, Mode::RUSR | Mode::WUSR)?;
        if executable {
            match self.created.as_mut().and_then(|created| created.mode.as_mut()) {
                Some(mode) => *mode |= EXECUTABLE,
                None => make_executable(&file)?,
            }
        }
        Ok(file)
    }

    /// Creates a directory and opens it.
    pub(crate) fn create_folder(&mut self) -> Result<OwnedFd, Errno> {
        self.create(|folder, name| mkdirat(folder, name, Mode::from_raw_mode(0o777)))?;
        let folder = open_folder(self.fd.as_fd(), self.temporary().expect("it was created"))?;
        self.lock(folder.try_clone().map_err(|_| Errno::MFILE)?, Mode::RWXU)?;
        Ok(folder)
    }

    /// Creates a symbolic link.
    pub(crate) fn create_link(&mut self, to: &OsStr) -> Result<(), Errno> {
        self.create(|folder, name| symlinkat(to, folder, name))
    }

    /// Calls `make` with the temporary names that it may take, up to one that is free.
    fn create<T>(&mut self, make: impl Fn(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut names = temporary_names(&self.name).map(OsString::from);
        while let Some(name) = names.next() {
            let made = match make(self.fd.as_fd(), &name) {
                Err(Errno::EXIST) if remove_abandoned(self.fd.as_fd(), &name) => make(self.fd.as_fd(), &name),
                made => made,
            };
            match made {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
                Ok(made) => {
                    // Calls at the same time may have been killed together.
                    for other in names {
                        remove_abandoned(self.fd.as_fd(), &other);
                    }
                    self.created = Some(Created { name, fd: None, mode: None });
                    return Ok(made);
                }
            }
        }
        Err(Errno::EXIST)
    }

    /// Locks what was created and marks it as incomplete, if the file system can do both.
    fn lock(&mut self, fd: OwnedFd, incomplete: Mode) -> Result<(), Errno> {
        let created = self.created.as_mut().expect("it was created");
        if flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let mode = Mode::from_raw_mode(fstat(&fd)?.st_mode);
            // A directory that passes its group on must do so while it is filled, and the bit may not be ours
            // to set again.
            if !mode.contains(Mode::SGID) && fchmod(&fd, incomplete | Mode::SVTX).is_ok() {
                created.mode = Some(mode);
            }
        }
        created.fd = Some(fd);
        Ok(())
    }

    /// Gives what was created the mode of something complete, and returns its name.
    fn completed(&self) -> Result<&OsStr, Errno> {
        let created = self.created.as_ref().ok_or(Errno::NOENT)?;
        match (&created.fd, created.mode, &self.replaced) {
            (Some(fd), _, Some(attributes)) => attributes.apply(fd.as_fd())?,
            (Some(fd), Some(mode), None) => fchmod(fd, mode)?,
            _ => {}
        }
        Ok(&created.name)
    }

    /// Renames to the target, and replaces an existing file.
    pub(crate) fn replace(mut self) -> Result<(), Error> {
        self.completed()
            .and_then(|temporary| renameat(&self.fd, temporary, &self.fd, &self.name))
            .map_err(|errno| refused(&self.target, errno))?;
        self.created = None;
        Ok(())
    }

    /// Renames to the target, and fails if it exists.
    pub(crate) fn claim(mut self) -> Result<(), Error> {
        let renamed = self.completed().and_then(|temporary| match self.rename_to_new(temporary) {
            // Not all systems and file systems can do that in one step.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.claim_and_rename(temporary),
            renamed => renamed,
        });
        renamed.map_err(|errno| refused(&self.target, errno))?;
        self.created = None;
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn rename_to_new(&self, temporary: &OsStr) -> Result<(), Errno> {
        use rustix::fs::{RenameFlags, renameat_with};

        renameat_with(&self.fd, temporary, &self.fd, &self.name, RenameFlags::NOREPLACE)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn rename_to_new(&self, _temporary: &OsStr) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    /// Does the same in two steps, of which the first fails if the target exists.
    fn claim_and_rename(&self, temporary: &OsStr) -> Result<(), Errno> {
        let metadata = statat(&self.fd, temporary, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(metadata.st_mode) == FileType::Directory {
            // Renaming a directory replaces an empty one.
            mkdirat(&self.fd, &self.name, Mode::RWXU)?;
            renameat(&self.fd, temporary, &self.fd, &self.name)
        } else {
            linkat(&self.fd, temporary, &self.fd, &self.name, AtFlags::empty())?;
            unlinkat(&self.fd, temporary, AtFlags::empty())
        }
    }
}

impl Drop for StagedPath {
    fn drop(&mut self) {
        let Some(Created { name, fd, .. }) = self.created.take() else { return };
        // Errors cannot be returned from here. Without a descriptor it is empty, or no directory.
        if let Ok(false) = remove(self.fd.as_fd(), &*name) {
            let fd = fd.map_or_else(|| open_folder(self.fd.as_fd(), &name), Ok);
            let _ = fd.and_then(|fd| remove_tree(self.fd.as_fd(), &*name, fd));
        }
    }
}

/// The number of temporary names for a target that a later call finds: that of calls which write to the same
/// target at the same time, before one of them uses a random name.
const SLOTS: usize = 8;

/// Returns the temporary names for a target, in the order in which they are tried. The last one is random.
fn temporary_names(target: &OsStr) -> impl Iterator<Item = String> {
    let boot = boot_id();
    let slots = if boot.is_some() { SLOTS } else { 0 };
    let mut hasher = DefaultHasher::new();
    (boot, target.as_bytes()).hash(&mut hasher);
    let place = hasher.finish();
    let random = RandomState::new().hash_one(std::process::id());
    (0..slots)
        .map(move |slot| format!(".chunker-{place:016x}-{slot}"))
        .chain(std::iter::once(format!(".chunker-{random:016x}")))
}

/// Returns the name of the present boot of the machine, which all processes that see each other's locks have in
/// common. `None` if the system has no such name.
fn boot_id() -> Option<Vec<u8>> {
    fs::read("/proc/sys/kernel/random/boot_id").ok()
}

/// Removes what a process that is dead has left under a temporary name. Returns whether it did.
fn remove_abandoned(folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(fd) = openat(folder, name, flags, Mode::empty()) else { return false };
    let is_abandoned = flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok()
        // Read under the lock: the process that had it may have completed its work just before.
        && fstat(&fd).is_ok_and(|stat| is_marked(&stat) && is_at(&stat, folder, name));
    is_abandoned
        && match remove(folder, name) {
            Ok(true) => true,
            Ok(false) => remove_tree(folder, name, fd).is_ok(),
            Err(_) => false,
        }
}

/// Returns whether this has the mode of something incomplete, and the owner of this process.
fn is_marked(stat: &Stat) -> bool {
    let incomplete = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Mode::RWXU,
        FileType::RegularFile => Mode::RUSR | Mode::WUSR,
        _ => return false,
    };
    Mode::from_raw_mode(stat.st_mode) == incomplete | Mode::SVTX && stat.st_uid == geteuid().as_raw()
}

/// Returns whether a name leads to this.
fn is_at(stat: &Stat, folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino))
}

fn refused(target: &Path, errno: Errno) -> Error {
    IoError { path: Some(target.into()), source: errno.into() }.into()
}

/// Opens a directory, but not through a symbolic link.
pub(crate) fn open_folder(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

/// Creates a file. Fails if the name exists, even as a symbolic link.
pub(crate) fn create_file(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    create_file_as(folder, name, Mode::from_raw_mode(0o666))
}

fn create_file_as(folder: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, mode)
}

const EXECUTABLE: Mode = Mode::XUSR.union(Mode::XGRP).union(Mode::XOTH);

/// Lets all users execute a file, regardless of the umask, as Nix does.
pub(crate) fn make_executable(file: &OwnedFd) -> Result<(), Errno> {
    fchmod(file, Mode::from_raw_mode(fstat(file)?.st_mode) | EXECUTABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn make(place: &mut StagedPath, kind: &str) {
        match kind {
            "folder" => {
                let folder = place.create_folder().unwrap();
                drop(create_file(folder.as_fd(), OsStr::new("file")).unwrap());
            }
            "file" => drop(place.create_file(false).unwrap()),
            _ => place.create_link(OsStr::new("nowhere")).unwrap(),
        }
    }

    #[test]
    fn a_target_that_appears_before_the_rename_is_kept() {
        for kind in ["folder", "file", "link"] {
            for taken in ["folder", "file", "link", "nothing"] {
                for step in [StagedPath::rename_to_new, StagedPath::claim_and_rename] {
                    let folder = tempfile::tempdir().unwrap();
                    let target = folder.path().join("target");
                    let mut place = StagedPath::for_new(&target).unwrap();
                    make(&mut place, kind);
                    match taken {
                        "folder" => fs::create_dir(&target).unwrap(),
                        "file" => fs::write(&target, "old").unwrap(),
                        "link" => symlink("old", &target).unwrap(),
                        _ => {}
                    }
                    let claimed = step(&place, place.temporary().unwrap());
                    if taken == "nothing" {
                        assert_eq!(claimed, Ok(()), "{kind}");
                        let is_link = kind == "link";
                        assert_eq!(fs::read_link(&target).is_ok(), is_link);
                        let file = if kind == "folder" { target.join("file") } else { target };
                        assert!(is_link || fs::read_to_string(file).unwrap().is_empty());
                    } else {
                        assert_eq!(claimed, Err(Errno::EXIST), "{kind} over {taken}");
                        assert!(taken != "file" || fs::read_to_string(&target).unwrap() == "old");
                    }
                    drop(place);
                    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{kind} over {taken}");
                }
            }
        }
    }
}
