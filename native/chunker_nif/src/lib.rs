//! The NIF: decodes terms, calls the engine, encodes what it returns. This crate has no algorithm.
//!
//! Results are `{ok, Value}` or `{error, {Reason, Details}}`. A function that may run for more than a
//! millisecond runs on a dirty scheduler: a CPU one if it computes all the time, an I/O one if it may wait
//! for a disk or a FIFO. One that may run for longer than some ten milliseconds runs in a thread of its own
//! (`jobs.rs`). Many functions can run in several places under several names, and `chunker_dispatch` chooses
//! (`call.rs`).

use chunker::engine::workers::on_thread_start;

mod batch;
mod binary;
mod cache;
mod call;
mod chunk_memory;
mod chunking;
mod codec_stream;
mod compression;
mod error;
mod hashing;
mod info;
mod jobs;
mod list;
mod nar;
mod narinfo;
mod options;
mod progress;
mod slot;
mod special;
#[cfg_attr(not(feature = "store"), path = "store_disabled.rs")]
mod store;
mod stream;

mod atoms {
    rustler::atoms! {
        ok, error, regular, special, more, done, wait, chunker_progress, directory, symlink, nil, auto,
        infinity, blake3, sha256, nix_2_8, newest,
        short, long, returned, raised, badarg, nif_panicked
    }
}

/// Receives the OTP release, a number, from `chunker_nif:load_nif/1`.
fn load(_env: rustler::Env<'_>, release: rustler::Term<'_>) -> bool {
    on_thread_start(jobs::lower_priority);
    release.decode().map(chunk_memory::set_release).is_ok()
}

rustler::init!("chunker_nif", load = load);
