//! Defines the rules for NARs, and the error for an input that breaks one.

use crate::error::{Detail, ErrorCode};

/// A rule that every NAR follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A NAR begins with the string `nix-archive-1`. An input that breaks this rule is something else.
    Magic,
    /// The fixed parts, such as parentheses and the word `contents`, are in their places.
    Token,
    /// A name has at least one byte.
    NameEmpty,
    /// A name has at most 255 bytes.
    NameTooLong,
    /// A name has no `/` and no NUL, and is neither `.` nor `..`.
    NameInvalid,
    /// The names in a directory ascend strictly, compared as bytes.
    NamesUnsorted,
    /// A target has at least one byte.
    TargetEmpty,
    /// A target has at most 4095 bytes.
    TargetTooLong,
    /// A target has no NUL.
    TargetInvalid,
    /// The contents of a file end within the first 2^63 bytes.
    ContentsTooLong,
    /// Padding bytes are zero.
    Padding,
    /// A path has at most 63 names.
    Depth,
    /// Nothing follows the end.
    TrailingData,
    /// The input does not end before the archive does.
    Truncated,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 14] = [
        Self::Magic,
        Self::Token,
        Self::NameEmpty,
        Self::NameTooLong,
        Self::NameInvalid,
        Self::NamesUnsorted,
        Self::TargetEmpty,
        Self::TargetTooLong,
        Self::TargetInvalid,
        Self::ContentsTooLong,
        Self::Padding,
        Self::Depth,
        Self::TrailingData,
        Self::Truncated,
    ];

    /// Returns the stable name of a violation of this rule, in snake case like all codes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Magic => "bad_magic",
            Self::Token => "bad_token",
            Self::NameEmpty => "name_empty",
            Self::NameTooLong => "name_too_long",
            Self::NameInvalid => "name_invalid",
            Self::NamesUnsorted => "names_unsorted",
            Self::TargetEmpty => "target_empty",
            Self::TargetTooLong => "target_too_long",
            Self::TargetInvalid => "target_invalid",
            Self::ContentsTooLong => "contents_too_long",
            Self::Padding => "padding_nonzero",
            Self::Depth => "too_deep",
            Self::TrailingData => "trailing_data",
            Self::Truncated => "truncated",
        }
    }
}

/// Reports that an input is not a NAR.
///
/// Neither field depends on how the input is split into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a NAR: {} at byte {offset}", .rule.name())]
pub struct NarError {
    /// The position of the violation, in bytes from the start of the input: in general that of the first byte
    /// that is not allowed. For a length out of range, the start of its 8 bytes; for a name that is invalid
    /// as a whole, the start of the name; for an entry that is too deep, the start of the entry; for a
    /// truncated input, its length.
    pub offset: u64,
    /// The broken rule.
    pub rule: Rule,
}

impl ErrorCode for NarError {
    fn code(&self) -> &'static str {
        "invalid_nar"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        vec![("offset", Detail::Number(self.offset)), ("why", Detail::Name(self.rule.name()))]
    }
}
