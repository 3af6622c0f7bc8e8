//! What can be wrong with a narinfo, a key and a signature.

use std::fmt;

use crate::error::Detail;

/// A text or fields that are no narinfo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NarInfoError {
    /// A line is not `Name: value`.
    #[error("line {line}: {why}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        why: LineFault,
    },
    /// A field is not what it must be.
    #[error("{field}: {why}")]
    Field {
        /// Its name in the file.
        field: String,
        /// The rule that it breaks.
        why: Fault,
    },
}

impl NarInfoError {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_narinfo"
    }

    /// The fields of the error, by their names in the public API.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::Line { line, why } => {
                vec![("line", Detail::Number(*line)), ("why", Detail::Name(why.as_str()))]
            }
            Self::Field { field, why } => {
                vec![("field", Detail::Text(field.clone())), ("why", Detail::Name(why.as_str()))]
            }
        }
    }
}

/// An enum of reasons, each with its stable snake_case name.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$why:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$why])* $variant,)+
        }

        impl $name {
            /// The stable snake_case name of the reason.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// What is wrong with a line.
    LineFault {
        /// It has no colon after a name.
        MissingColon = "missing_colon",
        /// The colon has no space after it.
        MissingSpace = "missing_space",
        /// It does not end: the text ends before.
        MissingNewline = "missing_newline",
    }
}

reasons! {
    /// The rule that a field breaks.
    Fault {
        /// It must be there, and not be empty; the size of a NAR must not be 0.
        Missing = "missing",
        /// It may be there only once.
        Repeated = "repeated",
        /// It must fit in a line.
        LineBreak = "line_break",
        /// It must be a whole number from 0 to 2⁶⁴-1.
        NotANumber = "not_a_number",
        /// It must be a full path.
        NotAbsolute = "not_absolute",
        /// A store path must begin with 32 characters of Nix's base 32 and a dash.
        BadHashPart = "bad_hash_part",
        /// The name in a store path must not be empty.
        NameEmpty = "name_empty",
        /// The name in a store path has at most 211 characters.
        NameTooLong = "name_too_long",
        /// The name in a store path is made of ASCII letters, digits and `+-._?=`; that of a field has no colon and no line
        /// break.
        NameCharacter = "name_character",
        /// The name in a store path must not be `.` or `..` or begin with one of them and a dash.
        NameDots = "name_dots",
        /// The name of an unknown field must not be that of a known one.
        NameKnown = "name_known",
        /// A hash must begin with the name of an algorithm and a colon, or a dash in the SRI form.
        UnknownAlgorithm = "unknown_algorithm",
        /// A hash must be in base 16, 32 or 64 and have its algorithm's length.
        BadHash = "bad_hash",
        /// The hash of a NAR must be that of SHA-256.
        NotSha256 = "not_sha256",
        /// A content address must begin with `text:`, `fixed:`, `fixed:r:` or `fixed:git:`.
        UnknownMethod = "unknown_method",
    }
}

impl Fault {
    /// The error that this rule is broken by that field, by its name in the file.
    #[must_use]
    pub fn of(self, field: &str) -> NarInfoError {
        NarInfoError::Field { field: field.into(), why: self }
    }
}

/// A key that is none, or not the one that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot be used: {why}")]
pub struct KeyError {
    /// The reason.
    pub why: KeyFault,
}

impl KeyError {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_key"
    }
}

reasons! {
    /// What is wrong with a key.
    KeyFault {
        /// It is not `name:base64`.
        MissingColon = "missing_colon",
        /// Its name is empty, or has a space, a control character or a colon in it.
        BadName = "bad_name",
        /// What follows its name is not base 64.
        BadBase64 = "bad_base64",
        /// A secret key has 64 bytes and a public one 32.
        WrongLength = "wrong_length",
        /// The second half of a secret key is its public key, and is another one here. Signing with it would tell the secret.
        HalvesDiffer = "halves_differ",
        /// The bytes are no point of the curve, or not in the one form that each has.
        NotAPoint = "not_a_point",
        /// The point is one of the few of small order, for which anybody can make signatures.
        SmallOrder = "small_order",
        /// None of the keys has the name of a signature.
        UnknownName = "unknown_name",
    }
}

/// No signature of a narinfo could be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no signature can be trusted: {why}")]
pub struct SignatureError {
    /// The reason.
    pub why: SignatureFault,
}

impl SignatureError {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_signature"
    }
}

reasons! {
    /// What is wrong with a signature.
    SignatureFault {
        /// There is none.
        Unsigned = "unsigned",
        /// That of a known key is not base 64.
        BadBase64 = "bad_base64",
        /// That of a known key has not 64 bytes.
        WrongLength = "wrong_length",
        /// That of a known key belongs to something else, or to another key.
        Mismatch = "mismatch",
    }
}
