//! Chunks NARs on the threads of the engine.

use std::sync::Arc;

use super::annotations::{
    Annotation, AnnotationOptions, ChunkAnnotation, Entries, ReferenceTable, reference_filter,
};
use super::parser::Node;
use super::scanner::{Config, NarScanner};
use super::validate::{is_nar, is_nar_source};
use crate::cdc::{CdcParams, Window};
use crate::engine::{Boundaries, ChunkingMethod, Filter, FoundChunk, Recognizer};
use crate::error::{Error, OptionsError};

/// Decides whether an input is a NAR.
///
/// ```
/// use chunker::NEVER;
/// use chunker::cdc::CdcParams;
/// use chunker::engine::workers::Workers;
/// use chunker::engine::{Chunk, ChunkerKind, Chunking};
/// use chunker::hash::Algorithm;
/// use chunker::nar::scanner::Config;
/// use chunker::nar::{NarMethod, RECOGNIZER};
///
/// let Config { options, .. } = Config::DEFAULT;
/// let (workers, work) = (Workers::of_this_thread(), Chunk::hashed(Algorithm::ALL[0]));
/// let kind = ChunkerKind::ByContent {
///     recognizer: RECOGNIZER,
///     matching: Chunking::with_method(NarMethod::new(&Config::DEFAULT)?, workers, work.clone()),
///     other: Chunking::with_method(CdcParams::new(&options)?, workers, work),
/// };
/// let chunks = kind.for_slice(b"not a NAR", NEVER)?.slice(b"not a NAR", NEVER)?;
/// assert_eq!(chunks.len(), 1);
/// # Ok::<(), chunker::Error>(())
/// ```
pub const RECOGNIZER: Recognizer =
    Recognizer { slice: is_nar, source: |source, is_cancelled| is_nar_source(source, is_cancelled) };

/// Chunks NARs along their files, as [`NarScanner`] does, and annotates the chunks. Fails with [`Error::Nar`]
/// for an input that is not a NAR.
///
/// ```
/// use chunker::{ErrorCode, NEVER};
/// use chunker::engine::workers::Workers;
/// use chunker::engine::{Chunk, Chunking};
/// use chunker::hash::Algorithm;
/// use chunker::nar::NarMethod;
/// use chunker::nar::scanner::Config;
///
/// let method = NarMethod::new(&Config::DEFAULT)?;
/// let work = Chunk::hashed(Algorithm::ALL[0]);
/// let chunking = Chunking::with_method(method, Workers::of_this_thread(), work);
/// let error = chunking.slice(b"something else", NEVER).unwrap_err();
/// assert_eq!(error.code(), "invalid_nar");
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NarMethod {
    /// A scanner at the start of a NAR.
    scanner: NarScanner,
    annotations: AnnotationOptions,
}

impl NarMethod {
    /// Creates a method without annotations.
    ///
    /// # Errors
    ///
    /// Returns the error for the first option that is out of range.
    pub fn new(config: &Config) -> Result<Self, OptionsError> {
        Ok(Self { scanner: NarScanner::new(config)?, annotations: AnnotationOptions::default() })
    }

    /// Sets the annotations.
    #[must_use]
    pub fn with_annotations(mut self, annotations: AnnotationOptions) -> Self {
        self.annotations = annotations;
        self
    }
}

impl ChunkingMethod<ChunkAnnotation> for NarMethod {
    fn begin(&self) -> (Box<dyn Boundaries<ChunkAnnotation>>, Option<Box<dyn Filter>>) {
        let AnnotationOptions { entries, references, limits } = self.annotations;
        let entries = entries.then(|| Entries::new(limits));
        let (filter, references) = if references {
            let (filter, table) = reference_filter();
            (Some(filter), Some(table))
        } else {
            (None, None)
        };
        (Box::new(NarBoundaries { scanner: self.scanner.clone(), entries, references, offset: 0 }), filter)
    }
}

/// Finds the boundaries of one NAR.
struct NarBoundaries {
    scanner: NarScanner,
    /// `None` if not selected.
    entries: Option<Entries>,
    references: Option<ReferenceTable>,
    /// The start of the current chunk, in bytes from the start of the NAR.
    offset: u64,
}

impl NarBoundaries {
    fn annotated(&mut self, length: usize) -> FoundChunk<ChunkAnnotation> {
        let (start, end) = (self.offset, self.offset + length as u64);
        self.offset = end;
        let entries = self.entries.as_mut().map(|entries| entries.take(start, end));
        let references = self.references.as_mut().map(|table| table.take(start, end));
        let annotation = if entries.is_some() || references.is_some() {
            Some(Arc::new(Annotation { entries, references }))
        } else {
            None
        };
        FoundChunk { length, annotation }
    }
}

impl Boundaries<ChunkAnnotation> for NarBoundaries {
    fn feed(
        &mut self,
        piece: &[u8],
        window: Option<Window<'_>>,
        chunks: &mut Vec<FoundChunk<ChunkAnnotation>>,
    ) -> Result<(), Error> {
        let mut done = 0;
        loop {
            let Self { scanner, entries, .. } = self;
            let window = window.map(|window| window.behind(done));
            let mut added = Ok(());
            let found = |node: &Node<'_>, offset| {
                // After an error the scanner finds few more, since it does not read far ahead.
                if let Some(entries) = entries
                    && added.is_ok()
                {
                    added = entries.add(node, offset);
                }
            };
            let cut = scanner.feed_in_window(&piece[done..], window, found)?;
            added?;
            let Some(cut) = cut else { return Ok(()) };
            done += cut.consumed;
            let chunk = self.annotated(cut.length);
            chunks.push(chunk);
        }
    }

    fn finish(&mut self, chunks: &mut Vec<FoundChunk<ChunkAnnotation>>) -> Result<(), Error> {
        if let Some(length) = self.scanner.finish()? {
            let chunk = self.annotated(length);
            chunks.push(chunk);
        }
        Ok(())
    }

    fn params(&self) -> &CdcParams {
        self.scanner.params()
    }

    fn max_size(&self) -> usize {
        self.scanner.params().max_size()
    }
}
