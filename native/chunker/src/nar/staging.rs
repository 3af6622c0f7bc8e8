//! Creates files and trees under a temporary sibling path that is atomically renamed onto the target on
//! success.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, linkat, mkdirat, open, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Error, IoError};

/// Holds a temporary name in the directory of `target`. Unless it is renamed to the target, dropping it
/// removes what was created there.
#[derive(Debug)]
pub(super) struct StagedPath {
    /// The path of the target in errors.
    pub(super) target: PathBuf,
    /// The absolute path of the target's directory, which does not depend on the current directory.
    folder: PathBuf,
    fd: OwnedFd,
    name: OsString,
    temporary: OsString,
    done: bool,
}

impl StagedPath {
    /// Creates a path for a target that must not exist, not even as a dangling symbolic link.
    pub(super) fn for_new(target: &Path) -> Result<Self, Error> {
        let exists = statat(CWD, target, AtFlags::SYMLINK_NOFOLLOW);
        match exists {
            Ok(_) => Err(refused(target, Errno::EXIST)),
            Err(Errno::NOENT) => Self::beside(target, target),
            Err(errno) => Err(refused(target, errno)),
        }
    }

    /// Creates a path for a file that may exist.
    pub(super) fn for_file(target: &Path) -> Result<Self, Error> {
        match fs::metadata(target) {
            // Replaces the file that a symbolic link leads to, not the link.
            Ok(metadata) if metadata.is_file() => {
                let file =
                    fs::canonicalize(target).map_err(|e| IoError { path: Some(target.into()), source: e })?;
                Self::beside(&file, target)
            }
            Ok(_) => Err(refused(target, Errno::EXIST)),
            Err(_) => Self::for_new(target),
        }
    }

    fn beside(path: &Path, target: &Path) -> Result<Self, Error> {
        // Paths without a file name, such as the empty path and `missing/..`, do not exist.
        let name = path.file_name().ok_or_else(|| refused(target, Errno::NOENT))?.to_owned();
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let folder =
            std::path::absolute(parent).map_err(|source| IoError { path: Some(target.into()), source })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(&folder, flags, Mode::empty()).map_err(|errno| refused(target, errno))?;
        // Need not be unpredictable: it is only created exclusively, so a name that is taken is an error.
        let temporary = format!(".chunker-{:016x}", RandomState::new().hash_one(std::process::id()));
        Ok(Self { target: target.into(), folder, fd, name, temporary: temporary.into(), done: false })
    }

    /// Returns the directory and the name to create something under.
    pub(super) fn temporary(&self) -> (BorrowedFd<'_>, &OsStr) {
        (self.fd.as_fd(), &self.temporary)
    }

    pub(super) fn create_file(&self) -> Result<OwnedFd, Errno> {
        let (folder, name) = self.temporary();
        create_file(folder, name)
    }

    /// Renames to the target, and replaces an existing file.
    pub(super) fn replace(mut self) -> Result<(), Error> {
        renameat(&self.fd, &self.temporary, &self.fd, &self.name)
            .map_err(|errno| refused(&self.target, errno))?;
        self.done = true;
        Ok(())
    }

    /// Renames to the target, and fails if it exists.
    pub(super) fn claim(mut self) -> Result<(), Error> {
        let renamed = match self.rename_to_new() {
            // Not all systems and file systems can do that in one step.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.claim_and_rename(),
            renamed => renamed,
        };
        renamed.map_err(|errno| refused(&self.target, errno))?;
        self.done = true;
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn rename_to_new(&self) -> Result<(), Errno> {
        use rustix::fs::{RenameFlags, renameat_with};

        renameat_with(&self.fd, &self.temporary, &self.fd, &self.name, RenameFlags::NOREPLACE)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn rename_to_new(&self) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    /// Does the same in two steps, of which the first fails if the target exists.
    fn claim_and_rename(&self) -> Result<(), Errno> {
        let metadata = statat(&self.fd, &self.temporary, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(metadata.st_mode) == FileType::Directory {
            // Renaming a directory replaces an empty one.
            mkdirat(&self.fd, &self.name, Mode::RWXU)?;
            renameat(&self.fd, &self.temporary, &self.fd, &self.name)
        } else {
            linkat(&self.fd, &self.temporary, &self.fd, &self.name, AtFlags::empty())?;
            unlinkat(&self.fd, &self.temporary, AtFlags::empty())
        }
    }
}

impl Drop for StagedPath {
    fn drop(&mut self) {
        if !self.done {
            // Errors cannot be returned from here. A symbolic link is removed, not its target.
            let path = self.folder.join(&self.temporary);
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
            drop(if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) });
        }
    }
}

fn refused(target: &Path, errno: Errno) -> Error {
    IoError { path: Some(target.into()), source: errno.into() }.into()
}

/// Creates a file. Fails if the name exists, even as a symbolic link.
pub(super) fn create_file(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::from_raw_mode(0o666))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn make(place: &StagedPath, kind: &str) {
        let path = place.folder.join(&place.temporary);
        match kind {
            "folder" => fs::create_dir(&path).and_then(|()| fs::write(path.join("file"), "new")),
            "file" => fs::write(path, "new"),
            _ => symlink("nowhere", path),
        }
        .unwrap();
    }

    #[test]
    fn a_target_that_appears_before_the_rename_is_kept() {
        for kind in ["folder", "file", "link"] {
            for taken in ["folder", "file", "link", "nothing"] {
                for step in [StagedPath::rename_to_new, StagedPath::claim_and_rename] {
                    let folder = tempfile::tempdir().unwrap();
                    let target = folder.path().join("target");
                    let place = StagedPath::for_new(&target).unwrap();
                    make(&place, kind);
                    match taken {
                        "folder" => fs::create_dir(&target).unwrap(),
                        "file" => fs::write(&target, "old").unwrap(),
                        "link" => symlink("old", &target).unwrap(),
                        _ => {}
                    }
                    let claimed = step(&place);
                    if taken == "nothing" {
                        assert_eq!(claimed, Ok(()), "{kind}");
                        let is_link = kind == "link";
                        assert_eq!(fs::read_link(&target).is_ok(), is_link);
                        let file = if kind == "folder" { target.join("file") } else { target };
                        assert!(is_link || fs::read_to_string(file).unwrap() == "new");
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
