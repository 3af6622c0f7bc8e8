//! Options, as `chunker_options` sends them: in order, complete, and with values of the right type.

use chunker::OptionsError;
use chunker::chunking::{Chunk, Chunking, Cutter, Options};
use chunker::hashing::Algorithm;
use chunker::workers::Workers;
use rustler::{Decoder, NifResult, NifTuple, Term};

use crate::failure::Failure;

/// `{{Min, Avg, Max, Normalization, Seed}, Hash, {Threads, PoolSize}}`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct ChunkingOptions<'a> {
    sizes: Sizes<'a>,
    hash: Hash,
    threads: Threads<'a>,
}

#[derive(NifTuple)]
#[rustler(decode)]
struct Sizes<'a> {
    min_size: Term<'a>,
    avg_size: Term<'a>,
    max_size: Term<'a>,
    normalization: Term<'a>,
    seed: Term<'a>,
}

#[derive(NifTuple)]
#[rustler(decode)]
struct Threads<'a> {
    threads: Term<'a>,
    pool_size: usize,
}

/// A hash function by its name, an atom.
#[derive(Clone, Copy)]
pub(crate) struct Hash(pub(crate) Algorithm);

impl<'a> Decoder<'a> for Hash {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let name = term.atom_to_string()?;
        Algorithm::from_name(&name).map(Self).ok_or(rustler::Error::BadArg)
    }
}

impl<'a> ChunkingOptions<'a> {
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.hash.0
    }

    pub(crate) fn workers(&self) -> Result<Workers, Failure<'a>> {
        let Threads { threads, pool_size } = self.threads;
        let wanted = usize::try_from(number(threads)).unwrap_or(usize::MAX);
        Workers::shared(wanted, pool_size).map_err(|error| match error {
            chunker::Error::Options(OptionsError { option, allowed, .. }) => {
                Failure::OutOfRange { option, value: threads, allowed }
            }
            error => error.into(),
        })
    }

    pub(crate) fn cutter(&self) -> Result<Cutter, Failure<'a>> {
        let Sizes { min_size, avg_size, max_size, normalization, seed } = self.sizes;
        let Ok(key) = seed.decode() else {
            let allowed = format!("0..{}", u64::MAX);
            return Err(Failure::OutOfRange { option: "seed", value: seed, allowed });
        };
        let options = Options {
            min_size: number(min_size),
            avg_size: number(avg_size),
            max_size: number(max_size),
            normalization: number(normalization),
            seed: key,
        };
        Cutter::new(&options).map_err(|OptionsError { option, allowed, .. }| {
            let value = match option {
                "min_size" => min_size,
                "avg_size" => avg_size,
                "max_size" => max_size,
                _ => normalization,
            };
            Failure::OutOfRange { option, value, allowed }
        })
    }

    /// Chunking that hashes each chunk and keeps none of its bytes.
    pub(crate) fn hashing(
        &self,
    ) -> Result<
        Chunking<impl Fn(&chunker::chunking::ChunkBytes<'_>) -> Chunk + Clone + Send + Sync + 'static>,
        Failure<'a>,
    > {
        Ok(Chunking::new(self.cutter()?, self.workers()?, Chunk::hashed(self.algorithm())))
    }
}

/// An integer, or one that is out of every range for those that have no place in 64 bits.
fn number(term: Term<'_>) -> u64 {
    term.decode().unwrap_or(u64::MAX)
}
