//! Keeps the mode, the owner and the access list of a file that is replaced.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, Uid, fchmod, fchown, fstat, statat};
use rustix::io::Errno;

/// The attributes of a file that decide who may read and write it.
#[derive(Debug)]
pub(super) struct Attributes {
    owner: Uid,
    group: Gid,
    mode: Mode,
    access_list: Option<Vec<u8>>,
}

impl Attributes {
    /// Returns the attributes of the file at `path`.
    pub(super) fn of(path: &Path) -> Result<Self, Errno> {
        let stat = statat(CWD, path, rustix::fs::AtFlags::empty())?;
        Ok(Self {
            owner: Uid::from_raw(stat.st_uid),
            group: Gid::from_raw(stat.st_gid),
            // Writing to a file clears the other bits as well.
            mode: Mode::from_raw_mode(stat.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO),
            access_list: access_list::of(path)?,
        })
    }

    /// Gives a new file these attributes. An owner, a group or an access list that this process may not set is
    /// left as it is, and the mode is then narrowed, so that no user may do more than with the replaced file.
    pub(super) fn apply(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let stat = fstat(file)?;
        let has_group = stat.st_gid == self.group.as_raw() || fchown(file, None, Some(self.group)).is_ok();
        if stat.st_uid != self.owner.as_raw() {
            // The group comes first, since the right to change it may end with this.
            let _ = fchown(file, Some(self.owner), None);
        }
        let has_list = match &self.access_list {
            Some(list) => has_group && access_list::set(file, list).is_ok(),
            None => false,
        };
        if !has_list {
            // The directory may have given the new file one.
            access_list::remove(file);
        }
        let mode = match (&self.access_list, has_list) {
            // The bits of the group were the mask of the list, and the list may deny what they grant.
            (Some(_), false) => self.mode & Mode::RWXU,
            _ if has_group => self.mode,
            _ => shared_by_all(self.mode),
        };
        // A file system without modes, or one that was given away: no user may do more than they should.
        fchmod(file, mode).or_else(|errno| {
            let present = Mode::from_raw_mode(fstat(file)?.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
            if mode.contains(present) { Ok(()) } else { Err(errno) }
        })
    }
}

/// Returns the mode in which group and others have only what both had: a member of the old group may be another
/// now, and the reverse.
fn shared_by_all(mode: Mode) -> Mode {
    let mode = mode.as_raw_mode();
    let both = (mode >> 3) & mode & 0o7;
    Mode::from_raw_mode((mode & 0o700) | (both << 3) | both)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod access_list {
    use std::os::fd::BorrowedFd;
    use std::path::Path;

    use rustix::fs::{XattrFlags, fremovexattr, fsetxattr, getxattr};
    use rustix::io::Errno;

    const NAME: &str = "system.posix_acl_access";

    pub(super) fn of(path: &Path) -> Result<Option<Vec<u8>>, Errno> {
        // The maximum size of an attribute.
        let mut list = vec![0; 65_536];
        match getxattr(path, NAME, &mut list[..]) {
            Ok(length) => {
                list.truncate(length);
                Ok(Some(list))
            }
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn set(file: BorrowedFd<'_>, list: &[u8]) -> Result<(), Errno> {
        fsetxattr(file, NAME, list, XattrFlags::empty())
    }

    pub(super) fn remove(file: BorrowedFd<'_>) {
        // An error says that there is none.
        let _ = fremovexattr(file, NAME);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod access_list {
    use std::os::fd::BorrowedFd;
    use std::path::Path;

    use rustix::io::Errno;

    pub(super) fn of(_: &Path) -> Result<Option<Vec<u8>>, Errno> {
        Ok(None)
    }

    pub(super) fn set(_: BorrowedFd<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    pub(super) fn remove(_: BorrowedFd<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_group_no_user_may_do_more() {
        for (before, after) in
            [(0o640, 0o600), (0o664, 0o644), (0o604, 0o600), (0o600, 0o600), (0o755, 0o755)]
        {
            assert_eq!(shared_by_all(Mode::from_raw_mode(before)), Mode::from_raw_mode(after), "{before:o}");
        }
    }
}
