//! Caches of digests.
//!
//! A cache is a resource: its memory is freed when neither a process nor a call holds it any more.

use std::sync::Arc;

use chunker::cache::{Cache, Options, Verify};
use rustler::{Binary, Encoder, Env, NifResult, NifTuple, NifUnitEnum, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::text;
use crate::call::{Call, guard, nif, ok};
use crate::error::{NifError, atom};
use crate::options::Hash;

pub(crate) struct SharedCache(Arc<Cache>);

#[rustler::resource_impl]
impl Resource for SharedCache {}

impl SharedCache {
    pub(crate) fn share(&self) -> Arc<Cache> {
        Arc::clone(&self.0)
    }
}

/// `{MaxEntries, MaxMemory, Verify}`
#[derive(NifTuple)]
#[rustler(decode)]
struct CacheOptions<'a> {
    max_entries: Term<'a>,
    max_memory: Term<'a>,
    verify: VerifyName,
}

#[derive(NifUnitEnum)]
#[rustler(decode)]
enum VerifyName {
    Fingerprint,
    Content,
}

impl<'a> CacheOptions<'a> {
    fn cache(&self) -> Result<Cache, NifError<'a>> {
        // A number that does not fit in 64 bits is out of range as well.
        let number = |term: Term<'a>| term.decode().unwrap_or(u64::MAX);
        let options = Options {
            max_entries: number(self.max_entries),
            max_memory: number(self.max_memory),
            verify: match self.verify {
                VerifyName::Fingerprint => Verify::Fingerprint,
                VerifyName::Content => Verify::Content,
            },
        };
        Cache::new(&options).map_err(|error| match error {
            chunker::Error::Options(error) => NifError::OutOfRange {
                option: error.option,
                value: if error.option == "max_entries" { self.max_entries } else { self.max_memory },
                allowed: error.allowed,
            },
            error => error.into(),
        })
    }
}

/// `{ok, Cache}`
#[rustler::nif(schedule = "DirtyCpu")]
fn cache_new<'a>(env: Env<'a>, options: CacheOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || ok(env, ResourceArc::new(SharedCache(Arc::new(options.cache()?)))))
}

/// Returns whether a term is a cache.
#[rustler::nif]
fn is_cache(term: Term<'_>) -> bool {
    term.decode::<ResourceArc<SharedCache>>().is_ok()
}

nif! {
    /// `{ok, Digest | nil}`
    plain cache_get, dirty cache_get_dirty, job cache_get_job => fn(
        call,
        cache: ResourceArc<SharedCache>,
        data: Binary<'a>,
        algorithm: Hash,
    ) {
        let digest = cache.0.get(algorithm.algorithm()?, &data, &call.is_cancelled())?;
        ok(call.env, digest.map(|digest| text(call.env, &digest.0)))
    }
}

nif! {
    /// `{ok, Digest}`
    plain cache_put, dirty cache_put_dirty, job cache_put_job => fn(
        call,
        cache: ResourceArc<SharedCache>,
        data: Binary<'a>,
        algorithm: Hash,
    ) {
        let digest = cache.0.put(algorithm.algorithm()?, &data, &call.is_cancelled())?;
        ok(call.env, text(call.env, &digest.0))
    }
}

nif! {
    /// `{ok, Digest}`
    plain cache_fetch, dirty cache_fetch_dirty, job cache_fetch_job => fn(
        call,
        cache: ResourceArc<SharedCache>,
        data: Binary<'a>,
        algorithm: Hash,
    ) {
        let digest = cache.0.fetch(algorithm.algorithm()?, &data, &call.is_cancelled())?;
        ok(call.env, text(call.env, &digest.0))
    }
}

/// Returns a map.
#[rustler::nif]
fn cache_stats<'a>(env: Env<'a>, cache: ResourceArc<SharedCache>) -> NifResult<Term<'a>> {
    guard(env, || {
        let stats = cache.0.stats();
        let fields = [
            ("hits", stats.hits.encode(env)),
            ("misses", stats.misses.encode(env)),
            ("insertions", stats.insertions.encode(env)),
            ("evictions", stats.evictions.encode(env)),
            ("collisions", stats.collisions.encode(env)),
            ("entries", stats.entries.encode(env)),
            ("bytes", stats.bytes.encode(env)),
            ("hit_rate", stats.hit_rate().encode(env)),
        ];
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| (atom(env, name), value)).collect();
        Ok(Term::map_from_pairs(env, &fields).expect("the names differ"))
    })
}

/// Returns `ok`.
#[rustler::nif(schedule = "DirtyCpu")]
fn cache_clear<'a>(env: Env<'a>, cache: ResourceArc<SharedCache>) -> NifResult<Term<'a>> {
    guard(env, || {
        cache.0.clear(&Call::dirty(env).is_cancelled())?;
        Ok(atoms::ok().encode(env))
    })
}
