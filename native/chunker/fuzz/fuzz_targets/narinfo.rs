//! Any text is rejected, or its normalized text is read as the same narinfo and written unchanged.
#![no_main]

use chunker::ErrorCode;
use chunker::NEVER;
use chunker::narinfo::NarInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match NarInfo::parse(text, NEVER) {
        Ok(narinfo) => {
            let written = narinfo.to_text();
            let again = NarInfo::parse(&written, NEVER).expect("what is written can be read");
            assert_eq!(again, narinfo);
            assert_eq!(again.to_text(), written);
            assert_eq!(again.fingerprint(), narinfo.fingerprint());
            assert!(narinfo.fingerprint().starts_with(b"1;/"));
            let rebuilt =
                NarInfo::new(narinfo.fields().clone(), NEVER).expect("its fields are what they must be");
            assert_eq!(rebuilt, narinfo);
        }
        Err(error) => {
            let _ = (error.code(), error.details(), error.to_string());
        }
    }
});
