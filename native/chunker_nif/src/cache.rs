//! Caches of digests.
//!
//! A cache is a resource: when no process and no work holds it any more, its memory is freed.

use std::sync::Arc;

use chunker::cache::{Cache, Options, Verify};
use rustler::{Binary, Encoder, Env, NifResult, NifTuple, NifUnitEnum, Resource, ResourceArc, Term};

use crate::atoms;
use crate::call::{caller_died, guard};
use crate::error::{NifError, atom, text};
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
        // What has no place in 64 bits is out of range as well.
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
    guard(env, || {
        let cache = SharedCache(Arc::new(options.cache()?));
        Ok((atoms::ok(), ResourceArc::new(cache)).encode(env))
    })
}

/// Whether a term, such as any reference, is a cache.
#[rustler::nif]
fn is_cache(term: Term<'_>) -> bool {
    term.decode::<ResourceArc<SharedCache>>().is_ok()
}

/// For binaries so short that a plain scheduler is not held up.
#[rustler::nif]
fn cache_get_small<'a>(
    env: Env<'a>,
    cache: ResourceArc<SharedCache>,
    data: Binary<'a>,
    algorithm: Hash,
) -> NifResult<Term<'a>> {
    guard(env, || get(env, &cache.0, &data, &algorithm, &|| false))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn cache_get<'a>(
    env: Env<'a>,
    cache: ResourceArc<SharedCache>,
    data: Binary<'a>,
    algorithm: Hash,
) -> NifResult<Term<'a>> {
    guard(env, || get(env, &cache.0, &data, &algorithm, &caller_died(env)))
}

/// `{ok, Digest | nil}`
fn get<'a>(
    env: Env<'a>,
    cache: &Cache,
    data: &[u8],
    algorithm: &Hash,
    is_cancelled: chunker::Cancel<'_>,
) -> Result<Term<'a>, NifError<'a>> {
    let digest = cache.get(algorithm.algorithm()?, data, is_cancelled)?;
    Ok((atoms::ok(), digest.map(|digest| text(env, &digest.0))).encode(env))
}

/// For binaries so short that a plain scheduler is not held up.
#[rustler::nif]
fn cache_put_small<'a>(
    env: Env<'a>,
    cache: ResourceArc<SharedCache>,
    data: Binary<'a>,
    algorithm: Hash,
) -> NifResult<Term<'a>> {
    guard(env, || put(env, &cache.0, &data, &algorithm, &|| false))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn cache_put<'a>(
    env: Env<'a>,
    cache: ResourceArc<SharedCache>,
    data: Binary<'a>,
    algorithm: Hash,
) -> NifResult<Term<'a>> {
    guard(env, || put(env, &cache.0, &data, &algorithm, &caller_died(env)))
}

/// `{ok, Digest}`
fn put<'a>(
    env: Env<'a>,
    cache: &Cache,
    data: &[u8],
    algorithm: &Hash,
    is_cancelled: chunker::Cancel<'_>,
) -> Result<Term<'a>, NifError<'a>> {
    let digest = cache.put(algorithm.algorithm()?, data, is_cancelled)?;
    Ok((atoms::ok(), text(env, &digest.0)).encode(env))
}

/// A map.
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

/// `ok`
#[rustler::nif(schedule = "DirtyCpu")]
fn cache_clear<'a>(env: Env<'a>, cache: ResourceArc<SharedCache>) -> NifResult<Term<'a>> {
    guard(env, || {
        cache.0.clear(&caller_died(env))?;
        Ok(atoms::ok().encode(env))
    })
}
