//! The NIF: decodes terms, calls the engine, encodes what it gives. No algorithm is at home here.
//!
//! Results are `{ok, Value}` or `{error, {Reason, Details}}`; `Chunker` and `chunker` make of them what their callers
//! see. A function that may run for more than a millisecond runs on a dirty scheduler: a CPU one if it works all the
//! time, an I/O one if it may wait for somebody else.

mod batch;
mod binary;
mod cache;
mod call;
mod chunking;
mod codec_stream;
mod compression;
mod error;

mod hashing;
mod info;
mod nar;
mod narinfo;
mod options;
mod stream;

mod atoms {
    rustler::atoms! {
        ok, error, regular, special, more, done, wait, chunker_progress, directory, symlink, nil, auto,
        blake3, sha256
    }
}

rustler::init!("chunker_nif");
