//! Looks at the bytes of an object that is put, before they are chunked: hashes the whole, and makes the
//! outline of a NAR.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bases::BaseFinder;
use crate::error::Error;
use crate::hash::{Algorithm, Digest, Hasher};
use crate::io::source::Source;
use crate::nar::Outliner;

/// Hashes an object, and outlines it if it is a NAR.
pub(super) struct Tap {
    hasher: Hasher,
    nar: Option<NarTap>,
}

struct NarTap {
    outliner: Outliner,
    /// The bytes of the outline that were not taken yet.
    outline: Vec<u8>,
    /// `None` if the store's hash function is that of Nix.
    hasher: Option<Hasher>,
    /// Gets the files.
    bases: Option<Arc<BaseFinder>>,
}

/// The digests of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digests {
    pub(super) hash: Digest,
    /// The SHA-256 of a NAR.
    pub(super) nar_hash: Option<Digest>,
}

impl Tap {
    pub(super) fn new(
        algorithm: Algorithm,
        is_nar: bool,
        bases: Option<Arc<BaseFinder>>,
    ) -> Result<Self, Error> {
        let nar = if is_nar {
            let sha256 = Algorithm::from_name("sha256")?.ok_or(Error::Disabled { name: "sha256" })?;
            let hasher = (sha256 != algorithm).then(|| Hasher::new(sha256));
            Some(NarTap { outliner: Outliner::new(), outline: Vec::new(), hasher, bases })
        } else {
            None
        };
        Ok(Self { hasher: Hasher::new(algorithm), nar })
    }

    /// Takes the next bytes of the object.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Nar`] for bytes that are no NAR.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        if let Some(nar) = &mut self.nar {
            nar.outliner.feed_with(piece, &mut nar.outline, |node| {
                nar.bases.iter().for_each(|bases| bases.add_file(node));
            })?;
            if let Some(hasher) = &mut nar.hasher {
                hasher.update(piece);
            }
        }
        self.hasher.update(piece);
        Ok(())
    }

    /// Takes the next bytes of the outline.
    pub(super) fn take_outline(&mut self) -> Vec<u8> {
        self.nar.as_mut().map(|nar| std::mem::take(&mut nar.outline)).unwrap_or_default()
    }

    /// Ends the object.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Nar`] for a NAR that is truncated.
    pub(super) fn finish(self) -> Result<Digests, Error> {
        let hash = self.hasher.finish();
        let nar_hash = match self.nar {
            None => None,
            Some(nar) => {
                nar.outliner.finish()?;
                Some(nar.hasher.map_or(hash, Hasher::finish))
            }
        };
        Ok(Digests { hash, nar_hash })
    }
}

/// Reads a source through a [`Tap`].
pub(super) struct TappedSource<S> {
    source: S,
    state: Arc<Mutex<TapState>>,
}

struct TapState {
    /// `None` at the end of the source.
    tap: Option<Tap>,
    /// The rest of the outline, at the end of the source.
    outline: Vec<u8>,
    digests: Option<Digests>,
}

/// What a [`TappedSource`] has seen.
pub(super) struct TapView(Arc<Mutex<TapState>>);

impl<S> TappedSource<S> {
    pub(super) fn new(source: S, tap: Tap) -> (Self, TapView) {
        let state = TapState { tap: Some(tap), outline: Vec::new(), digests: None };
        let state = Arc::new(Mutex::new(state));
        (Self { source, state: Arc::clone(&state) }, TapView(state))
    }
}

fn lock(state: &Mutex<TapState>) -> MutexGuard<'_, TapState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TapView {
    /// Takes the next bytes of the outline.
    pub(super) fn take_outline(&self) -> Vec<u8> {
        let mut state = lock(&self.0);
        let mut outline = std::mem::take(&mut state.outline);
        if let Some(tap) = &mut state.tap {
            outline.extend(tap.take_outline());
        }
        outline
    }

    /// Returns the digests once the source has been read to its end.
    pub(super) fn digests(&self) -> Option<Digests> {
        lock(&self.0).digests
    }
}

impl<S: Source> Source for TappedSource<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        let count = self.source.read(buffer)?;
        let mut state = lock(&self.state);
        match count {
            Some(0) => {
                if let Some(mut tap) = state.tap.take() {
                    state.outline = tap.take_outline();
                    state.digests = Some(tap.finish()?);
                }
            }
            Some(count) => {
                if let Some(tap) = &mut state.tap {
                    tap.feed(&buffer[..count])?;
                }
            }
            None => {}
        }
        Ok(count)
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.source.wait(timeout)
    }
}
