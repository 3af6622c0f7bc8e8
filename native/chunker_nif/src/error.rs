//! Errors as terms.

use chunker::ErrorCode;
use chunker::error::Detail;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::binary::text;

/// The reason that a call fails.
pub(crate) enum NifError<'a> {
    /// An error of the engine.
    Engine(chunker::Error),
    /// The value of an option does not fit in the types of the engine.
    OutOfRange { option: &'static str, value: Term<'a>, allowed: String },
    /// The path of a file is longer than the operating system allows.
    PathTooLong(Term<'a>),
    /// Text that is not Nix base-32.
    Base32(chunker::hash::nix_base32::Base32Error),
}

impl<'a> NifError<'a> {
    /// `{error, {Reason, Details}}`.
    pub(crate) fn to_term(&self, env: Env<'a>) -> Term<'a> {
        let (code, details) = match self {
            Self::Engine(error) => named(env, error),
            Self::Base32(error) => named(env, error),
            Self::OutOfRange { option, value, allowed } => {
                let fields = [
                    ("option", atom(env, option)),
                    ("value", value.in_env(env)),
                    ("allowed", text(env, allowed.as_bytes())),
                ];
                ("invalid_options", Vec::from(fields))
            }
            Self::PathTooLong(path) => {
                ("io_error", vec![("kind", atom(env, "enametoolong")), ("path", path.in_env(env))])
            }
        };
        let details: Vec<_> = details.into_iter().map(|(name, value)| (atom(env, name), value)).collect();
        let details = Term::map_from_pairs(env, &details).expect("the names of an error's fields differ");
        (atoms::error(), (atom(env, code), details)).encode(env)
    }
}

impl<E: Into<chunker::Error>> From<E> for NifError<'_> {
    fn from(error: E) -> Self {
        Self::Engine(error.into())
    }
}

/// Returns the code and the fields of an error.
fn named<'a>(env: Env<'a>, error: &dyn ErrorCode) -> (&'static str, Vec<(&'static str, Term<'a>)>) {
    let fields = error.details().into_iter().map(|(name, detail)| (name, encode(env, detail)));
    (error.code(), fields.collect())
}

fn encode<'a>(env: Env<'a>, detail: Detail) -> Term<'a> {
    match detail {
        Detail::Name(name) => atom(env, name),
        Detail::Number(number) => number.encode(env),
        Detail::Signed(number) => number.encode(env),
        Detail::Bytes(bytes) => text(env, &bytes),
        Detail::Text(value) => text(env, value.as_bytes()),
        Detail::Path(path) => text(env, path.as_os_str().as_encoded_bytes()),
        Detail::Digests(digests) => {
            let digests: Vec<_> = digests.iter().map(|digest| text(env, &digest.0)).collect();
            digests.encode(env)
        }
    }
}

/// Returns an atom. Codes and names are constants of the engine, so no caller can fill the atom table.
pub(crate) fn atom<'a>(env: Env<'a>, name: &'static str) -> Term<'a> {
    Atom::from_str(env, name).expect("the engine's names are short").to_term(env)
}
