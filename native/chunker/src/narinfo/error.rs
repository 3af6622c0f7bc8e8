//! Errors of narinfos, keys and signatures.

use std::fmt;

use crate::error::{Detail, ErrorCode};

/// Reports an invalid narinfo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NarInfoError {
    /// A line is not `Name: value`.
    #[error("line {line}: {why}")]
    Line {
        /// The line number, from 1.
        line: u64,
        /// The fault of the line.
        why: LineFault,
    },
    /// A field breaks a rule.
    #[error("{field}: {why}")]
    Field {
        /// The name of the field in the file.
        field: String,
        /// The rule that the field breaks.
        why: Fault,
    },
}

impl ErrorCode for NarInfoError {
    fn code(&self) -> &'static str {
        "invalid_narinfo"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
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

/// Defines an enum of reasons, each with a stable snake_case name.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$why:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$why])* $variant,)+
        }

        impl $name {
            /// Returns the stable snake_case name of the reason.
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
    /// The fault of a line.
    LineFault {
        /// There is no colon after the name.
        MissingColon = "missing_colon",
        /// There is no space after the colon.
        MissingSpace = "missing_space",
        /// The text ends without a line break.
        MissingNewline = "missing_newline",
    }
}

reasons! {
    /// The rule that a field breaks.
    Fault {
        /// The field is required and must not be empty; the size of a NAR must not be 0.
        Missing = "missing",
        /// The field must not be repeated.
        Repeated = "repeated",
        /// The field must not contain a line break.
        LineBreak = "line_break",
        /// The field must be an integer from 0 to 2⁶⁴-1.
        NotANumber = "not_a_number",
        /// The field must be an absolute path.
        NotAbsolute = "not_absolute",
        /// A store path must begin with 32 characters of Nix's base 32 and a dash.
        BadHashPart = "bad_hash_part",
        /// The name in a store path must not be empty.
        NameEmpty = "name_empty",
        /// The name in a store path must have at most 211 characters.
        NameTooLong = "name_too_long",
        /// The name in a store path must consist of ASCII letters, digits and `+-._?=`; the name of a field
        /// must not contain a colon or a line break.
        NameCharacter = "name_character",
        /// The name in a store path must not be `.` or `..`, or begin with one of them and a dash.
        NameDots = "name_dots",
        /// The name of an extra field must not be that of a known one.
        NameKnown = "name_known",
        /// A hash must begin with the name of an algorithm and a colon, or a dash in the SRI form.
        UnknownAlgorithm = "unknown_algorithm",
        /// A hash must be in base 16, 32 or 64 and have the length of its algorithm.
        BadHash = "bad_hash",
        /// The hash of a NAR must be a SHA-256 hash.
        NotSha256 = "not_sha256",
        /// A content address must begin with `text:`, `fixed:`, `fixed:r:` or `fixed:git:`.
        UnknownMethod = "unknown_method",
    }
}

impl Fault {
    /// Creates the error for a field, by its name in the file.
    #[must_use]
    pub fn of(self, field: &str) -> NarInfoError {
        NarInfoError::Field { field: field.into(), why: self }
    }
}

/// Reports a key that is invalid or does not match any signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid key: {why}")]
pub struct KeyError {
    /// The reason.
    pub why: KeyFault,
}

impl ErrorCode for KeyError {
    fn code(&self) -> &'static str {
        "invalid_key"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        vec![("why", Detail::Name(self.why.as_str()))]
    }
}

reasons! {
    /// The fault of a key.
    KeyFault {
        /// The key is not `name:base64`.
        MissingColon = "missing_colon",
        /// The name is empty, or contains white space, a control character or a colon.
        BadName = "bad_name",
        /// The text after the name is not base 64.
        BadBase64 = "bad_base64",
        /// A secret key must have 64 bytes and a public key 32.
        WrongLength = "wrong_length",
        /// The second half of a secret key is not its public key. Signing with such a key would reveal the
        /// secret.
        HalvesDiffer = "halves_differ",
        /// The bytes are not a point of the curve, or not its canonical encoding.
        NotAPoint = "not_a_point",
        /// The point is one of the few of small order, for which anyone can forge signatures.
        SmallOrder = "small_order",
        /// No key has the name of a signature.
        UnknownName = "unknown_name",
    }
}

/// Reports that no signature of a narinfo could be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no valid signature: {why}")]
pub struct SignatureError {
    /// The reason.
    pub why: SignatureFault,
}

impl ErrorCode for SignatureError {
    fn code(&self) -> &'static str {
        "invalid_signature"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        vec![("why", Detail::Name(self.why.as_str()))]
    }
}

reasons! {
    /// The fault of a signature.
    SignatureFault {
        /// The narinfo has no signature.
        Unsigned = "unsigned",
        /// The signature of a known key is not base 64.
        BadBase64 = "bad_base64",
        /// The signature of a known key does not have 64 bytes.
        WrongLength = "wrong_length",
        /// The signature of a known key is for another text or by another key.
        Mismatch = "mismatch",
    }
}
