//! Members are where GNU tar, libarchive and Python's `tarfile` find them. A test that needs a missing program
//! fails: a skipped comparison must not count as a pass.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use chunker::tar::Member;
use tempfile::TempDir;

use super::parsing::members;
use super::writer::{base_256, header};
use crate::inputs;

/// Runs a program and returns what it prints.
fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| {
        panic!("these tests need GNU tar, libarchive-tools and python3; {program} does not start: {error}")
    });
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Creates a tree with members of all kinds. Only formats that can hold long names get `long` ones.
fn make_tree(folder: &Path, long: bool) {
    let root = folder.join("tree");
    fs::create_dir_all(root.join("folder")).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    for (name, length) in [("byte", 1), ("block", 512), ("block and a byte", 513), ("large", 3_000_000)] {
        fs::write(root.join(name), inputs::random(length as u64, length)).unwrap();
    }
    fs::write(root.join("folder/file"), b"contents").unwrap();
    fs::hard_link(root.join("large"), root.join("folder/hard")).unwrap();
    symlink("../large", root.join("folder/link")).unwrap();
    run("mkfifo", &["tree/fifo"], folder);
    // With many pieces, so that the map needs blocks of its own.
    let sparse = File::create(root.join("sparse")).unwrap();
    for piece in 0..100 {
        sparse.write_all_at(&[7; 5000], piece * 100_000).unwrap();
    }
    sparse.set_len(20_000_000).unwrap();
    if long {
        fs::write(root.join("n".repeat(200)), b"a long name").unwrap();
        symlink("t".repeat(300), root.join("long target")).unwrap();
        fs::hard_link(root.join("n".repeat(200)), root.join("folder").join("h".repeat(180))).unwrap();
        fs::write(root.join("\u{fc}ml\u{e4}ut"), b"not ASCII").unwrap();
    }
}

/// What Python finds: the start of the first header, the start of the contents and their length, and whether the
/// member is sparse, of which Python returns the length of the file and not that in the archive.
fn python(tar: &str, folder: &Path) -> Vec<(u64, u64, u64, bool)> {
    let script = "import sys, tarfile\n\
        for m in tarfile.open(sys.argv[1], ignore_zeros=True):\n\
        \x20   print(m.offset, m.offset_data, m.size if m.isreg() or m.type not in tarfile.SUPPORTED_TYPES else 0, int(m.issparse()))";
    let numbers = |line: &str| {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        (numbers[0], numbers[1], numbers[2], numbers[3] == 1)
    };
    run("python3", &["-c", script, tar], folder).lines().map(numbers).collect()
}

/// What GNU tar lists: the block of the header of each member, and the length that it shows.
fn gnu(tar: &str, folder: &Path) -> Vec<u64> {
    let listing = run("tar", &["--list", "--block-number", "--ignore-zeros", "-f", tar], folder);
    let block = |line: &str| line.strip_prefix("block ")?.split_once(": ")?.0.parse().ok();
    listing.lines().filter(|line| !line.contains(": ** ")).filter_map(block).collect()
}

/// Compares the members of an archive.
fn check(tar: &str, folder: &Path) -> Vec<Member> {
    let bytes = fs::read(folder.join(tar)).unwrap();
    let found = members([&bytes[..]]);
    assert_eq!(members(bytes.chunks(1000)), found, "{tar}");
    let of_python = python(tar, folder);
    assert_eq!(found.len(), of_python.len(), "{tar}");
    for (member, (start, offset, size, is_sparse)) in found.iter().zip(of_python) {
        assert_eq!(member.start, start, "{tar}");
        if is_sparse {
            // Python begins the contents behind a map in them.
            assert!(member.offset <= offset && member.size < 1_000_000, "{tar}: {member:?}");
        } else {
            assert_eq!((member.offset, member.size), (offset, size), "{tar}");
        }
    }
    let of_gnu = gnu(tar, folder);
    assert_eq!(found.len(), of_gnu.len(), "{tar}");
    for (member, block) in found.iter().zip(of_gnu) {
        assert!((member.start..member.offset).contains(&(512 * block)), "{tar}: {member:?}, block {block}");
    }
    found
}

#[test]
fn archives_of_gnu_tar_have_the_members_that_others_find() {
    for (format, long) in [("v7", false), ("ustar", false), ("oldgnu", true), ("gnu", true), ("pax", true)] {
        let folder = TempDir::new().unwrap();
        make_tree(folder.path(), long);
        if format == "v7" {
            fs::remove_file(folder.path().join("tree/fifo")).unwrap();
        }
        let formats = format!("--format={format}");
        let sparse: &[&[&str]] = match format {
            "v7" | "ustar" => &[&[]],
            "pax" => &[
                &[],
                &["--sparse", "--sparse-version=0.0"],
                &["--sparse", "--sparse-version=0.1"],
                &["--sparse", "--sparse-version=1.0"],
            ],
            _ => &[&[], &["--sparse"]],
        };
        for sparse in sparse {
            let arguments = [&["--create", &formats, "--file=a.tar"], *sparse, &["tree"]].concat();
            run("tar", &arguments, folder.path());
            let found = check("a.tar", folder.path());
            assert_eq!(found.len(), if long { 16 } else { 12 } - usize::from(format == "v7"), "{format}");
            let large = found.iter().filter(|member| member.size >= 3_000_000).count();
            // The sparse file is large unless its holes are left out.
            assert_eq!(large, if sparse.is_empty() { 2 } else { 1 }, "{format} {sparse:?}");
            // Archives one after the other, as `tar --concatenate` and `cat` leave them.
            let bytes = fs::read(folder.path().join("a.tar")).unwrap();
            fs::write(folder.path().join("twice.tar"), [&bytes[..], &bytes].concat()).unwrap();
            assert_eq!(check("twice.tar", folder.path()).len(), 2 * found.len());
        }
        // A label, directories with the names of their files, and records for all members.
        let special: &[&str] = match format {
            "gnu" => &["--label=a volume", "--listed-incremental=snapshot"],
            "pax" => &["--pax-option=comment=for all members"],
            _ => continue,
        };
        let arguments = [&["--create", &formats, "--file=special.tar"], special, &["tree"]].concat();
        run("tar", &arguments, folder.path());
        check("special.tar", folder.path());
    }
}

#[test]
fn archives_of_libarchive_have_the_members_that_others_find() {
    for (format, long) in [("ustar", false), ("v7tar", false), ("gnutar", true), ("pax", true)] {
        let folder = TempDir::new().unwrap();
        make_tree(folder.path(), long);
        let archive = |name: &str, options: &[&str]| {
            let format = format!("--format={format}");
            let arguments = [&["--create", "--file", name, &format[..]], options, &["tree"]].concat();
            run("bsdtar", &arguments, folder.path());
        };
        if format == "v7tar" {
            fs::remove_file(folder.path().join("tree/fifo")).unwrap();
        }
        archive("a.tar", &[]);
        assert!(check("a.tar", folder.path()).len() >= 11);
        archive("dense.tar", &["--no-read-sparse"]);
        check("dense.tar", folder.path());
    }
}

#[test]
fn archives_of_python_have_the_members_that_others_find() {
    let script = "import sys, tarfile\n\
        with tarfile.open(sys.argv[1], 'w', format=int(sys.argv[2])) as tar: tar.add('tree')";
    for (format, long) in [(tarfile::USTAR, false), (tarfile::GNU, true), (tarfile::PAX, true)] {
        let folder = TempDir::new().unwrap();
        make_tree(folder.path(), long);
        run("python3", &["-c", script, "a.tar", format], folder.path());
        assert!(check("a.tar", folder.path()).len() >= 12);
    }
}

/// The constants of Python's module of this name.
mod tarfile {
    pub(super) const USTAR: &str = "0";
    pub(super) const GNU: &str = "1";
    pub(super) const PAX: &str = "2";
}

/// The headers of files of 8 GiB and more, whose contents are a hole in the archive.
#[test]
fn lengths_of_many_gigabytes_are_read_as_others_read_them() {
    let size = (9 << 30) + 1;
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        let folder = TempDir::new().unwrap();
        File::create(folder.path().join("huge")).unwrap().set_len(size).unwrap();
        // The first blocks are all that is needed of what tar writes.
        let script = format!("tar --create --format={format} huge | head -c 4096 > head.tar");
        run("sh", &["-c", &script], folder.path());
        let bytes = fs::read(folder.path().join("head.tar")).unwrap();
        let found = members([&bytes[..]]);
        assert_eq!(found.iter().map(|member| member.size).collect::<Vec<_>>(), [size], "{format}");
        let script =
            "import sys, tarfile; m = tarfile.open(sys.argv[1]).next(); print(m.offset_data, m.size)";
        let printed = run("python3", &["-c", script, "head.tar"], folder.path());
        assert_eq!(printed.trim(), format!("{} {size}", found[0].offset), "{format}");
    }
    let tar = [&header(b"n", b'0', &base_256(size), false)[..], &[0; 512]].concat();
    assert_eq!(members([&tar[..]])[0].size, size);
}
