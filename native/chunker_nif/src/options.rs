//! Options, as `chunker_options` sends them: in order, complete, and with values of the right type.

use chunker::OptionsError;
use chunker::aligned::Config;
use chunker::cache::Digester;
use chunker::cdc::{CdcParams, Options};
use chunker::codec::{
    Codec, CompressOptions, CompressionError, DecompressOptions, Dictionary, Strategy, Trailing,
};
use chunker::engine::workers::Workers;
use chunker::engine::{ChunkerKind, Chunking};
use chunker::hash::Algorithm;
use chunker::io::file::OnChange;
use chunker::nar::annotations::{AnnotationOptions, ChunkAnnotation};
use chunker::nar::{EntryLimits, NarMethod, RECOGNIZER};
use chunker::tar::TarMethod;
use rustler::types::atom::Atom;
use rustler::{Binary, Decoder, Encoder, Env, NifResult, NifTuple, NifUnitEnum, ResourceArc, Term};

use crate::atoms;
use crate::cache::SharedCache;
use crate::call::Place;
use crate::chunking::{AnnotatedBytes, AnnotatedChunk};
use crate::error::NifError;

/// `{{Preset | nil, Min | nil, Avg | nil, Max | nil, Normalization, Seed}, nil | Nar | Tar, {Hash, nil | Cache},
/// {Threads, PoolSize}, OnChange}`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct ChunkingOptions<'a> {
    sizes: Sizes<'a>,
    archive: Option<Archive<'a>>,
    digests: Digests,
    threads: Threads<'a>,
    on_change: OnChangeName,
}

/// `error` or `snapshot`.
#[derive(Clone, Copy, NifUnitEnum)]
#[rustler(decode)]
pub(crate) enum OnChangeName {
    Error,
    Snapshot,
}

impl From<OnChangeName> for OnChange {
    fn from(name: OnChangeName) -> Self {
        match name {
            OnChangeName::Error => Self::Error,
            OnChangeName::Snapshot => Self::Snapshot,
        }
    }
}

/// `{Hash, nil | Cache}`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct Digests {
    hash: Hash,
    cache: Option<ResourceArc<SharedCache>>,
}

impl Digests {
    pub(crate) fn digester<'a>(&self) -> Result<Digester, NifError<'a>> {
        let cache = self.cache.as_ref().map(|cache| cache.share());
        Ok(Digester::new(self.hash.algorithm()?, cache))
    }
}

/// `{Preset | nil, Min | nil, Avg | nil, Max | nil, Normalization, Seed}`
#[derive(Clone, Copy, NifTuple)]
#[rustler(decode)]
pub(crate) struct Sizes<'a> {
    /// The name of the default sizes, or `nil` for those of any input.
    preset: Term<'a>,
    min_size: Term<'a>,
    avg_size: Term<'a>,
    max_size: Term<'a>,
    normalization: Term<'a>,
    seed: Term<'a>,
}

/// The format of archives whose members chunks follow.
enum Archive<'a> {
    Nar(Nar<'a>),
    Tar(MemberSizes<'a>),
}

impl<'a> Decoder<'a> for Archive<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        term.decode().map(Self::Nar).or_else(|_| term.decode().map(Self::Tar))
    }
}

/// How to chunk along members: `{MinEntrySize | nil, BoundaryPreferenceDistance | nil}`
#[derive(Clone, Copy, NifTuple)]
#[rustler(decode)]
struct MemberSizes<'a> {
    min_entry_size: Term<'a>,
    boundary_preference_distance: Term<'a>,
}

/// How to chunk NARs: `{ByContent, MinEntrySize | nil, BoundaryPreferenceDistance | nil, Entries,
/// References, Limits}`
#[derive(NifTuple)]
#[rustler(decode)]
struct Nar<'a> {
    /// Whether inputs that are not NARs are chunked as well.
    by_content: bool,
    min_entry_size: Term<'a>,
    boundary_preference_distance: Term<'a>,
    /// The annotations of each chunk.
    entries: bool,
    references: bool,
    limits: Limits<'a>,
}

/// The limits for the entries of a NAR: `{MaxEntries, MaxMemory}`, integers or `infinity`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct Limits<'a> {
    max_entries: Term<'a>,
    max_memory: Term<'a>,
}

impl<'a> Limits<'a> {
    pub(crate) fn checked(&self) -> Result<EntryLimits, NifError<'a>> {
        Ok(EntryLimits {
            max_entries: limit("max_entries", self.max_entries)?,
            max_memory: limit("max_memory", self.max_memory)?,
        })
    }
}

impl<'a> Archive<'a> {
    fn member_sizes(&self) -> MemberSizes<'a> {
        match *self {
            Self::Nar(Nar { min_entry_size, boundary_preference_distance, .. }) => {
                MemberSizes { min_entry_size, boundary_preference_distance }
            }
            Self::Tar(sizes) => sizes,
        }
    }
}

impl<'a> MemberSizes<'a> {
    fn config(self, options: Options) -> Result<Config, NifError<'a>> {
        // A distance that does not fit in 64 bits is out of range: the largest one is a MiB.
        let distance = self.boundary_preference_distance;
        let boundary_preference_distance = (!is_nil(distance)).then(|| number(distance));
        let value = self.min_entry_size;
        let Ok(min_entry_size) = value.decode() else {
            let allowed = format!("{}..{}", options.min_size, u64::MAX);
            return Err(NifError::OutOfRange { option: "min_entry_size", value, allowed });
        };
        Ok(Config { options, min_entry_size, boundary_preference_distance })
    }
}

#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct Threads<'a> {
    threads: Term<'a>,
    pool_size: usize,
}

impl<'a> Threads<'a> {
    /// Returns the number of threads, if it is in range.
    fn wanted(&self) -> Result<usize, NifError<'a>> {
        let threads = usize::try_from(number(self.threads)).unwrap_or(usize::MAX);
        Workers::check(threads).map_err(|OptionsError { option, allowed, .. }| NifError::OutOfRange {
            option,
            value: self.threads,
            allowed,
        })?;
        Ok(threads)
    }

    pub(crate) fn workers(&self) -> Result<Workers, NifError<'a>> {
        Ok(Workers::shared(self.wanted()?, self.pool_size)?)
    }
}

/// `{{Threads, PoolSize}, ParallelThreshold, nil | {Pid, Ref}}`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct BatchOptions<'a> {
    threads: Threads<'a>,
    parallel_threshold: Term<'a>,
    pub(crate) progress: Term<'a>,
}

impl<'a> BatchOptions<'a> {
    pub(crate) fn workers(&self) -> Result<Workers, NifError<'a>> {
        self.threads.workers()
    }

    pub(crate) fn parallel_threshold(&self) -> Result<usize, NifError<'a>> {
        let value = self.parallel_threshold;
        let allowed = || format!("0..{}", usize::MAX);
        value.decode().map_err(|_| NifError::OutOfRange {
            option: "parallel_threshold",
            value,
            allowed: allowed(),
        })
    }
}

/// `{Codec | smallest, Level | nil, Dictionary | nil}`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct Compression<'a> {
    method: Method<'a>,
    level: Term<'a>,
    dictionary: Term<'a>,
}

impl<'a> Compression<'a> {
    pub(crate) fn checked(&self) -> Result<CompressOptions, NifError<'a>> {
        let options = match self.method {
            Method::Codec(codec) => CompressOptions::new(codec),
            Method::Smallest(_) => CompressOptions::smallest(),
        };
        let level: Option<i32> = match self.level.decode() {
            Ok(level) => level,
            Err(_) => {
                let levels = options.codec().levels();
                let allowed = format!("{}..{}", levels.start(), levels.end());
                return Err(NifError::OutOfRange { option: "level", value: self.level, allowed });
            }
        };
        let dictionary = dictionary(self.dictionary)?;
        if let (Method::Smallest(value), Some(_)) = (self.method, &dictionary) {
            let allowed = "fastest or balanced, if a dictionary is given".into();
            return Err(NifError::OutOfRange { option: "strategy", value, allowed });
        }
        let options = match self.method {
            Method::Codec(_) => options.level(level).dictionary(dictionary),
            // It has the level of its codec.
            Method::Smallest(_) => options,
        };
        options.validate().map_err(chunker::Error::from)?;
        Ok(options)
    }
}

/// `{Codec | auto, MaxOutputSize | infinity, MaxMemory | infinity, IgnoreTrailing, Dictionary | nil}`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct Decompression<'a> {
    codec: Term<'a>,
    max_output_size: Term<'a>,
    max_memory: Term<'a>,
    ignore_trailing: bool,
    dictionary: Term<'a>,
}

impl<'a> Decompression<'a> {
    /// Returns the maximum length of the output, in bytes.
    pub(crate) fn limit(&self) -> Result<u64, NifError<'a>> {
        limit("max_output_size", self.max_output_size)
    }

    pub(crate) fn checked(&self) -> Result<DecompressOptions, NifError<'a>> {
        let max_memory = limit("max_memory", self.max_memory)?;
        let limit = self.limit()?;
        // Any other atom than a codec is `auto`.
        let codec: Option<CodecName> = self.codec.decode().ok();
        let options = DecompressOptions::new()
            .codec(codec.map(|codec| codec.0))
            .limit(limit)
            .max_memory(max_memory)
            .trailing(if self.ignore_trailing { Trailing::Ignore } else { Trailing::Error })
            .dictionary(dictionary(self.dictionary)?);
        options.validate().map_err(chunker::Error::from)?;
        Ok(options)
    }
}

/// Returns the limit that a non-negative integer or `infinity` stands for.
fn limit<'a>(option: &'static str, value: Term<'a>) -> Result<u64, NifError<'a>> {
    if atoms::infinity() == value {
        return Ok(u64::MAX);
    }
    let allowed = || format!("0..{} or infinity", u64::MAX);
    value.decode().map_err(|_| NifError::OutOfRange { option, value, allowed: allowed() })
}

fn dictionary(value: Term<'_>) -> Result<Option<Dictionary>, NifError<'_>> {
    // Any other term than a binary is `nil`.
    let Ok(bytes) = value.decode::<Binary<'_>>() else { return Ok(None) };
    match Dictionary::new(&bytes) {
        Ok(dictionary) => Ok(Some(dictionary)),
        Err(CompressionError::InvalidDictionary) => Err(NifError::OutOfRange {
            option: "dictionary",
            value,
            allowed: "a dictionary that is neither empty nor damaged".into(),
        }),
        Err(error) => Err(chunker::Error::from(error).into()),
    }
}

/// A codec by its name, an atom.
#[derive(Clone, Copy)]
struct CodecName(Codec);

impl<'a> Decoder<'a> for CodecName {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let name = term.atom_to_string()?;
        Codec::ALL.into_iter().find(|codec| codec.name() == name).map(Self).ok_or(rustler::Error::BadArg)
    }
}

/// What compresses, by its name, an atom: a codec, or the one of several whose output is the smallest, with
/// that name.
#[derive(Clone, Copy)]
enum Method<'a> {
    Codec(Codec),
    Smallest(Term<'a>),
}

impl<'a> Decoder<'a> for Method<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        if term.atom_to_string()? == Strategy::Smallest.name() {
            return Ok(Self::Smallest(term));
        }
        term.decode().map(|CodecName(codec)| Self::Codec(codec))
    }
}

/// A hash function by its name, an atom.
#[derive(Clone, Copy)]
pub(crate) struct Hash(&'static str);

impl Hash {
    /// Returns the algorithm, if it is built in. `chunker_options` refuses unknown names.
    pub(crate) fn algorithm<'a>(self) -> Result<Algorithm, NifError<'a>> {
        let algorithm = Algorithm::from_name(self.0)?;
        let unknown =
            || chunker::OptionsError { option: "hash", value: 0.into(), allowed: "blake3, sha256".into() };
        Ok(algorithm.ok_or_else(unknown)?)
    }
}

impl<'a> Decoder<'a> for Hash {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        // Compared as an atom, since to read its name costs as much as a twentieth of the digest of 1 KiB.
        let atom: Atom = term.decode()?;
        let names = [(atoms::blake3(), "blake3"), (atoms::sha256(), "sha256")];
        let found = names.into_iter().find(|(name, _)| *name == atom);
        found.map(|(_, name)| Self(name)).ok_or(rustler::Error::BadArg)
    }
}

impl<'a> Sizes<'a> {
    pub(crate) fn options(&self) -> Result<Options, NifError<'a>> {
        let Sizes { preset, min_size, avg_size, max_size, normalization, seed } = *self;
        let preset = preset.atom_to_string().unwrap_or_default();
        let preset = Config::PRESETS.into_iter().find(|(name, _)| *name == preset);
        let preset = preset.map_or_else(Options::default, |(_, config)| config.options);
        let or = |given: Term<'a>, other| if is_nil(given) { other } else { number(given) };
        let sizes = Options::with_average(or(avg_size, preset.avg_size));
        let Ok(key) = seed.decode() else {
            let allowed = format!("0..{}", u64::MAX);
            return Err(NifError::OutOfRange { option: "seed", value: seed, allowed });
        };
        Ok(Options {
            min_size: or(min_size, sizes.min_size),
            avg_size: sizes.avg_size,
            max_size: or(max_size, sizes.max_size),
            normalization: number(normalization),
            seed: key,
        })
    }
}

impl<'a> ChunkingOptions<'a> {
    pub(crate) fn digester(&self) -> Result<Digester, NifError<'a>> {
        self.digests.digester()
    }

    pub(crate) fn workers(&self) -> Result<Workers, NifError<'a>> {
        self.threads.workers()
    }

    /// Returns what a change of a file during the read means.
    pub(crate) fn on_change(&self) -> OnChange {
        self.on_change.into()
    }

    /// Returns an error of the engine with the value as the caller gave it.
    fn out_of_range(&self, error: OptionsError) -> NifError<'a> {
        let members = self.archive.as_ref().map(Archive::member_sizes);
        let value = match (error.option, members) {
            ("min_size", _) => self.sizes.min_size,
            ("avg_size", _) => self.sizes.avg_size,
            ("max_size", _) => self.sizes.max_size,
            ("normalization", _) => self.sizes.normalization,
            ("min_entry_size", Some(members)) => members.min_entry_size,
            ("boundary_preference_distance", Some(members)) => members.boundary_preference_distance,
            // None of the caller's.
            _ => return error.into(),
        };
        if is_nil(value) {
            return error.into();
        }
        NifError::OutOfRange { option: error.option, value, allowed: error.allowed }
    }

    /// Returns chunking with `work` on each chunk, by the kind of input.
    pub(crate) fn chunking<W: Clone>(
        &self,
        workers: Workers,
        work: W,
    ) -> Result<ChunkerKind<W, ChunkAnnotation>, NifError<'a>> {
        let options = self.sizes.options()?;
        let params = CdcParams::new(&options).map_err(|error| self.out_of_range(error))?;
        let plain = Chunking::with_method(params, workers, work.clone());
        let Some(archive) = &self.archive else { return Ok(plain.into()) };
        let config = archive.member_sizes().config(options)?;
        let nar = match archive {
            Archive::Nar(nar) => nar,
            Archive::Tar(_) => {
                let method = TarMethod::new(&config).map_err(|error| self.out_of_range(error))?;
                return Ok(Chunking::with_method(method, workers, work).into());
            }
        };
        let method = NarMethod::new(&config).map_err(|error| self.out_of_range(error))?;
        let Nar { entries, references, .. } = *nar;
        let limits = nar.limits.checked()?;
        let method = method.with_annotations(AnnotationOptions { entries, references, limits });
        let nar_aware = Chunking::with_method(method, workers, work);
        Ok(if nar.by_content {
            ChunkerKind::ByContent { recognizer: RECOGNIZER, matching: nar_aware, other: plain }
        } else {
            nar_aware.into()
        })
    }

    /// Returns the error of an input that can be read only once.
    pub(crate) fn needs_two_reads(&self, env: Env<'a>) -> NifError<'a> {
        let allowed = "true or false, since this input can be read only once".into();
        NifError::OutOfRange { option: "nar", value: atoms::auto().encode(env), allowed }
    }

    /// Returns chunking that hashes each chunk and keeps none of its bytes. A call on a plain scheduler uses
    /// no thread but its own, and does not even create the pool.
    pub(crate) fn hashing(
        &self,
        place: Place,
    ) -> Result<
        ChunkerKind<
            impl Fn(&AnnotatedBytes<'_>) -> AnnotatedChunk + Clone + Send + Sync + 'static,
            ChunkAnnotation,
        >,
        NifError<'a>,
    > {
        let workers = match place {
            Place::Plain => self.threads.wanted().map(|_| Workers::of_this_thread())?,
            Place::Dirty | Place::Job => self.workers()?,
        };
        self.chunking(workers, AnnotatedChunk::hashed(self.digester()?))
    }

    /// Returns whether store hashes are taken out, so that chunks have other bytes than the input.
    pub(crate) fn takes_references(&self) -> bool {
        matches!(self.archive, Some(Archive::Nar(Nar { references: true, .. })))
    }
}

fn is_nil(term: Term<'_>) -> bool {
    term.decode::<Atom>().is_ok_and(|atom| atom == atoms::nil())
}

/// Decodes an integer. One that does not fit in 64 bits becomes one that is out of every range.
fn number(term: Term<'_>) -> u64 {
    term.decode().unwrap_or(u64::MAX)
}
