//! Contents for the compression tests, and their checksum.

/// Returns incompressible bytes that depend on the seed only (xorshift64*).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Returns lines of words in random order, each of which occurs often.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let words: Vec<&str> = include_str!("../../../src/codec/stream.rs").split_whitespace().collect();
    let mut text = Vec::with_capacity(len + 64);
    for pair in noise(2 * len, 7).chunks(2) {
        let word = words[(usize::from(pair[0]) << 8 | usize::from(pair[1])) % words.len()];
        text.extend_from_slice(word.as_bytes());
        text.push(if pair[0] % 11 == 0 { b'\n' } else { b' ' });
        if text.len() >= len {
            break;
        }
    }
    text.truncate(len);
    text
}

/// Returns the first bytes of this test's own executable: machine code and tables.
pub(crate) fn machine_code(len: usize) -> Vec<u8> {
    let mut code =
        std::fs::read(std::env::current_exe().expect("a test has a program")).expect("it can be read");
    assert!(code.len() >= len, "the program is large enough");
    code.truncate(len);
    code
}

/// Returns C headers of this machine, concatenated. Any machine that builds the codecs has some.
pub(crate) fn sources(len: usize) -> Vec<u8> {
    let mut folders = vec![std::path::PathBuf::from("/usr/include")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if sources.len() < len {
                sources.extend(std::fs::read(path).unwrap_or_default());
            }
        }
    }
    assert!(sources.len() > len / 4, "there are headers");
    sources.truncate(len);
    sources
}

/// Returns contents of every kind: empty, tiny, constant, text, code, noise, and sizes around lz4's block of
/// 64 KiB and zstd's of 128 KiB.
pub(crate) fn all() -> Vec<Vec<u8>> {
    let mut all = vec![
        vec![],
        b"a".to_vec(),
        b"some content, some content".to_vec(),
        vec![0; 1_000_000],
        noise(200_000, 1),
        text(300_000),
        machine_code(400_000),
        [text(100_000), noise(70_000, 2), vec![b'x'; 150_000], text(3)].concat(),
    ];
    for boundary in [64 << 10, 128 << 10] {
        all.extend([boundary - 1, boundary, boundary + 1].map(text));
    }
    all
}

/// Returns the CRC32 of .xz and gzip headers.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
