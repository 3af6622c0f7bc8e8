//! Digests of whole inputs, and their notation.

use chunker::hash::nix_base32;
use rustler::{Binary, Encoder};

use crate::binary::text;
use crate::call::{nif, ok};
use crate::chunking::{Opened, regular};
use crate::error::NifError;
use crate::options::{Digests, Hash, OnChangeName};

nif! {
    /// Returns the digest.
    plain hash, dirty hash_dirty, job hash_job => fn(call, data: Binary<'a>, algorithm: Hash) {
        Ok(text(call.env, &algorithm.algorithm()?.hash_cancellable(&data, &call.is_cancelled())?.0))
    }
}

nif! {
    /// Returns the digest, which may be looked up in a cache.
    plain hash_cached, dirty hash_cached_dirty, job hash_cached_job => fn(
        call,
        data: Binary<'a>,
        digests: Digests,
    ) {
        Ok(text(call.env, &digests.digester()?.digest_cancellable(&data, &call.is_cancelled())?.0))
    }
}

nif! {
    /// `{ok, Digest}`, or what [`Opened::Other`] says, for `special_digest` or this again.
    io hash_file, job hash_file_job => fn(
        call,
        path: Binary<'a>,
        digests: Digests,
        on_change: OnChangeName,
    ) {
        match regular(call, &path, on_change.into())? {
            Opened::Other(answer) => Ok(answer.encode(call.env)),
            Opened::Regular(input) => {
                let digest = digests.digester()?.digest_file(input, &call.is_cancelled())?;
                ok(call.env, text(call.env, &digest.0))
            }
        }
    }
}

nif! {
    /// Returns the text.
    plain nix_base32_encode, dirty nix_base32_encode_dirty, job nix_base32_encode_job => fn(
        call,
        bytes: Binary<'a>,
    ) {
        Ok(text(call.env, nix_base32::encode(&bytes).as_bytes()))
    }
}

nif! {
    /// `{ok, Bytes}`
    plain nix_base32_decode, dirty nix_base32_decode_dirty, job nix_base32_decode_job => fn(
        call,
        characters: Binary<'a>,
    ) {
        ok(call.env, text(call.env, &nix_base32::decode(&characters).map_err(NifError::Base32)?))
    }
}
