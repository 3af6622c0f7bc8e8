//! Checks that a temporary path is removed under all circumstances, and what a replaced file keeps.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chunker::NEVER;
use chunker::engine::workers::Workers;
use chunker::hash::Algorithm;
use chunker::io::file::OnChange;
use chunker::nar::{NarConsumer, Restore, dump_file};
use tempfile::TempDir;

use super::naive::{self, Tree};

const ANY: Algorithm = Algorithm::ALL[0];

/// Returns a NAR of nested directories with files in each, and the number of bytes before the last file.
fn nested(depth: usize) -> (Vec<u8>, usize) {
    let file = |byte| Tree::File { executable: true, contents: vec![byte; 100] };
    let inner = Tree::Folder([(b"last".to_vec(), file(7))].into());
    let tree = (1..depth)
        .fold(inner, |inner, _| Tree::Folder([(b"1".to_vec(), file(1)), (b"2".to_vec(), inner)].into()));
    let nar = naive::encode(&tree);
    let before = nar.windows(100).position(|window| window == [7; 100]).unwrap();
    (nar, before)
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Runs one of the ignored tests below in another process, after shell commands.
fn run(commands: &str, test: &str, target: &Path) -> Output {
    Command::new("sh")
        .args(["-c", &format!("{commands}; exec \"$0\" --exact nar::staging::{test} --nocapture --ignored")])
        .arg(std::env::current_exe().unwrap())
        .env("CHUNKER_TEST_TARGET", target)
        .output()
        .unwrap()
}

fn target() -> PathBuf {
    PathBuf::from(std::env::var_os("CHUNKER_TEST_TARGET").unwrap())
}

#[test]
fn a_tree_whose_parent_is_moved_is_removed() {
    let (nar, before) = nested(5);
    let folder = TempDir::new().unwrap();
    let [parent, moved] = ["parent", "moved"].map(|name| folder.path().join(name));
    fs::create_dir(&parent).unwrap();
    let mut restore = Restore::new(&parent.join("target")).unwrap();
    restore.feed(&nar[..before]).unwrap();
    fs::rename(&parent, &moved).unwrap();
    // Not to be taken for the parent.
    fs::create_dir(&parent).unwrap();
    assert_eq!(names(&moved).len(), 1);
    drop(restore);
    assert_eq!(names(&moved), [""; 0]);

    // A complete tree goes where its parent is.
    let mut restore = Restore::new(&parent.join("target")).unwrap();
    restore.feed(&nar[..before]).unwrap();
    fs::remove_dir(&moved).unwrap();
    fs::rename(&parent, &moved).unwrap();
    restore.feed(&nar[before..]).unwrap();
    restore.finish().unwrap();
    assert_eq!(names(&moved), ["target"]);
    assert_eq!(names(&moved.join("target")), ["1", "2"]);
}

#[test]
fn a_tree_is_removed_without_descriptors_to_spare() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("target");
    let output = run("ulimit -n 256", "restore_with_few_descriptors", &target);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("refused: emfile"), "{text}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn restore_with_few_descriptors() {
    let (nar, before) = nested(60);
    let mut restore = Restore::new(&target()).unwrap();
    let open = |nar: &[u8], restore: &mut Restore| nar.chunks(8).try_for_each(|piece| restore.feed(piece));
    // Deep enough that every way of removing the tree needs the descriptors which the restore has freed.
    open(&nar[..before / 2], &mut restore).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
        if taken.len() == 20_000 {
            panic!("there is no limit");
        }
    }
    match open(&nar[before / 2..], &mut restore) {
        Err(chunker::Error::Io(error)) => println!("refused: {}", error.kind()),
        other => panic!("{other:?}"),
    }
    drop(restore);
}

/// A directory that passes its group on does so for all of the tree.
#[test]
fn the_group_of_a_directory_is_passed_on() {
    let folder = TempDir::new().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    // Only root can choose a group that it is not in; others see that the bit is passed on.
    let _ = chown(&shared, None, Some(54_321));
    fs::set_permissions(&shared, Permissions::from_mode(0o2777)).unwrap();
    let target = shared.join("target");
    let (nar, _) = nested(3);
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar).unwrap();
    restore.finish().unwrap();
    let expected = shared.join("expected");
    fs::create_dir(&expected).unwrap();
    for path in [target.clone(), target.join("2"), target.join("2/2")] {
        assert_eq!(mode(&path), mode(&expected), "{path:?}");
        assert_eq!(fs::metadata(&path).unwrap().gid(), fs::metadata(&expected).unwrap().gid(), "{path:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_killed_processes_left_under_several_names_is_removed_by_the_next_call() {
    let (nar, before) = nested(3);
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("target");
    // While a call has the first name, another is killed.
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar[..before]).unwrap();
    let output = run("true", "restore_and_be_killed", &target);
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
    assert_eq!(names(folder.path()).len(), 2);
    drop(restore);
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar).unwrap();
    restore.finish().unwrap();
    assert_eq!(names(folder.path()), ["target"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_process_left_is_removed_by_the_next_call() {
    let (nar, before) = nested(6);
    let folder = TempDir::new().unwrap();
    let [target, other] = ["target", "other"].map(|name| folder.path().join(name));
    let kill = |test| {
        let output = run("true", test, &target);
        assert_eq!(output.status.signal(), Some(9), "{output:?}");
        let left = names(folder.path()).into_iter().find(|name| name.starts_with(".chunker-")).unwrap();
        folder.path().join(left)
    };

    let left = kill("restore_and_be_killed");
    assert_eq!(mode(&left), 0o1700);
    // Another target has other names.
    drop(Restore::new(&other).unwrap());
    assert!(left.exists());
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar).unwrap();
    // A call for the same target at the same time takes another name, and removes nothing of the first one.
    let mut second = Restore::new(&target).unwrap();
    second.feed(&nar[..before]).unwrap();
    assert_eq!(names(folder.path()).len(), 2);
    drop(second);
    restore.finish().unwrap();
    assert_eq!(names(folder.path()), ["target"]);
    assert_eq!(names(&target.join("2/2/2/2/2")), ["last"]);
    assert_ne!(mode(&target), 0o1700);

    // Also what a killed dump has left, and for a call of the other kind.
    fs::remove_dir_all(&target).unwrap();
    let left = kill("dump_and_be_killed");
    assert_eq!(mode(&left), 0o1600);
    let link = naive::encode(&Tree::Link(b"x".to_vec()));
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&link).unwrap();
    restore.finish().unwrap();
    assert_eq!(names(folder.path()), ["target"]);
    assert!(target.is_symlink());

    // What has not all signs of a remainder is kept.
    fs::remove_file(&target).unwrap();
    let left = kill("restore_and_be_killed");
    fs::set_permissions(&left, Permissions::from_mode(0o700)).unwrap();
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar).unwrap();
    restore.finish().unwrap();
    assert!(left.join("2/2/1").exists());
    fs::set_permissions(&left, Permissions::from_mode(0o1700)).unwrap();
    fs::rename(&left, folder.path().join("kept")).unwrap();
    symlink("kept", &left).unwrap();
    fs::remove_dir_all(&target).unwrap();
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar).unwrap();
    restore.finish().unwrap();
    assert!(left.join("2/2/1").exists() && left.is_symlink());
}

fn be_killed() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!("the signal ends the process")
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn restore_and_be_killed() {
    let (nar, before) = nested(6);
    let mut restore = Restore::new(&target()).unwrap();
    restore.feed(&nar[..before]).unwrap();
    be_killed();
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn dump_and_be_killed() {
    let called = std::cell::Cell::new(0);
    let kill = || {
        called.set(called.get() + 1);
        if called.get() == 2 { be_killed() } else { false }
    };
    let _ = dump_file(
        Path::new("/etc/passwd"),
        &target(),
        OnChange::Error,
        ANY,
        Workers::of_this_thread(),
        &kill,
    );
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_owner() {
    let folder = TempDir::new().unwrap();
    let [source, into, link] = ["source", "into", "link"].map(|name| folder.path().join(name));
    fs::write(&source, "content").unwrap();
    symlink(&into, &link).unwrap();
    let dump = |into: &Path| {
        // No user may read the incomplete file who may not read the complete one.
        let incomplete = || {
            let left = names(folder.path()).into_iter().find(|name| name.starts_with(".chunker-")).unwrap();
            assert_eq!(mode(&folder.path().join(left)), 0o1600);
            false
        };
        dump_file(&source, into, OnChange::Error, ANY, Workers::of_this_thread(), &incomplete).unwrap();
    };
    dump(&into);
    let usual = mode(&source);
    assert_eq!(mode(&into), usual);
    for expected in [0o600, 0o400, 0o644, 0o666, 0o640, 0o700, 0o000] {
        for path in [&into, &link] {
            fs::set_permissions(&into, Permissions::from_mode(expected)).unwrap();
            dump(path);
            assert_eq!(mode(&into), expected, "{expected:o}");
        }
    }
    fs::set_permissions(&into, Permissions::from_mode(0o640)).unwrap();
    // Only a privileged process may give a file away.
    if chown(&into, Some(1234), Some(2345)).is_ok() {
        dump(&into);
        let metadata = fs::metadata(&into).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), mode(&into)), (1234, 2345, 0o640));
    }
    assert_eq!(names(folder.path()), ["into", "link", "source"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_replaced_keeps_its_access_list() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};

    let folder = TempDir::new().unwrap();
    let [source, into] = ["source", "into"].map(|name| folder.path().join(name));
    // Version 2; entries of a tag, permissions and an id: the owner rw, user 1234 r, the group none, a mask
    // of r, others none.
    let all = u32::MAX;
    let entries = [(1u16, 6u16, all), (2, 4, 1234), (4, 0, all), (16, 4, all), (32, 0, all)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let set = |path: &Path, name| setxattr(path, name, &list, XattrFlags::empty());
    let get = |path: &Path| {
        let mut buffer = [0; 1000];
        getxattr(path, "system.posix_acl_access", &mut buffer[..]).map(|length| buffer[..length].to_vec())
    };
    fs::write(&source, "content").unwrap();
    fs::write(&into, "old").unwrap();
    if set(&into, "system.posix_acl_access").is_err() {
        eprintln!("this file system has no access lists");
        return;
    }
    let dump = || dump_file(&source, &into, OnChange::Error, ANY, Workers::of_this_thread(), NEVER).unwrap();
    dump();
    assert_eq!(get(&into).as_deref(), Ok(&list[..]));
    assert_eq!(mode(&into), 0o640);
    // A file without one does not get that of the directory.
    fs::remove_file(&into).unwrap();
    fs::write(&into, "old").unwrap();
    fs::set_permissions(&into, Permissions::from_mode(0o640)).unwrap();
    set(folder.path(), "system.posix_acl_default").unwrap();
    dump();
    assert!(get(&into).is_err());
    assert_eq!(mode(&into), 0o640);
}
