//! A place beside the one where something is to be, which takes its name when it is complete.

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

/// A new name in the folder of `target`. What was made there is removed when this is dropped, unless it was given the name of
/// the target before.
#[derive(Debug)]
pub(super) struct StagedPath {
    /// What the target is called in errors.
    pub(super) target: PathBuf,
    /// That of the target, in a form that does not depend on the current folder.
    folder: PathBuf,
    fd: OwnedFd,
    name: OsString,
    temporary: OsString,
    done: bool,
}

impl StagedPath {
    /// For a target that must not exist, not even as a symbolic link that leads nowhere.
    pub(super) fn for_new(target: &Path) -> Result<Self, Error> {
        let exists = statat(CWD, target, AtFlags::SYMLINK_NOFOLLOW);
        match exists {
            Ok(_) => Err(refused(target, Errno::EXIST)),
            Err(Errno::NOENT) => Self::beside(target, target),
            Err(errno) => Err(refused(target, errno)),
        }
    }

    /// For a file, which may exist.
    pub(super) fn for_file(target: &Path) -> Result<Self, Error> {
        match fs::metadata(target) {
            // The file that a symbolic link leads to is replaced, not the link.
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
        // Without a name: the empty path, and such as `missing/..`, which are not there.
        let name = path.file_name().ok_or_else(|| refused(target, Errno::NOENT))?.to_owned();
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let folder =
            std::path::absolute(parent).map_err(|source| IoError { path: Some(target.into()), source })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(&folder, flags, Mode::empty()).map_err(|errno| refused(target, errno))?;
        // Whoever is first to make something of that name fails the others, so it need not be a secret.
        let temporary = format!(".chunker-{:016x}", RandomState::new().hash_one(std::process::id()));
        Ok(Self { target: target.into(), folder, fd, name, temporary: temporary.into(), done: false })
    }

    /// The folder to make something in, and the name to make it under.
    pub(super) fn temporary(&self) -> (BorrowedFd<'_>, &OsStr) {
        (self.fd.as_fd(), &self.temporary)
    }

    pub(super) fn create_file(&self) -> Result<OwnedFd, Errno> {
        let (folder, name) = self.temporary();
        create_file(folder, name)
    }

    /// Gives what was made the name of the target, in place of the file that may have it.
    pub(super) fn replace(mut self) -> Result<(), Error> {
        renameat(&self.fd, &self.temporary, &self.fd, &self.name)
            .map_err(|errno| refused(&self.target, errno))?;
        self.done = true;
        Ok(())
    }

    /// Gives what was made the name of the target, if nothing has it.
    pub(super) fn claim(mut self) -> Result<(), Error> {
        let renamed = match self.rename_to_new() {
            // Neither every system nor every file system can do that in one step.
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

    /// The same in two steps, of which the first is the one that fails if the name is taken.
    fn claim_and_rename(&self) -> Result<(), Errno> {
        let metadata = statat(&self.fd, &self.temporary, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(metadata.st_mode) == FileType::Directory {
            // A directory takes the place of an empty one.
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
            // Nobody is left to be told that this failed. A symbolic link is removed, not what it leads to.
            let path = self.folder.join(&self.temporary);
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
            drop(if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) });
        }
    }
}

fn refused(target: &Path, errno: Errno) -> Error {
    IoError { path: Some(target.into()), source: errno.into() }.into()
}

/// Makes a file, which must be new: opens none that is there, be it by a symbolic link.
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
    fn a_name_that_is_taken_meanwhile_stays_as_it_is_in_one_step_and_in_two() {
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
