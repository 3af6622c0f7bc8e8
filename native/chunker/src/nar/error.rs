//! Why something is no NAR.

/// What a NAR must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A NAR begins with the string `nix-archive-1`. Nothing here resembles one.
    Magic,
    /// A fixed part, such as a parenthesis or the word `contents`, does not stand where it must.
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
    /// The bytes that fill a string up are zero.
    Padding,
    /// A path has at most 63 names.
    Depth,
    /// Nothing follows the end.
    TrailingData,
    /// The input ends where the archive does.
    Truncated,
}

impl Rule {
    /// Each rule there is.
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

    /// The stable name of how this rule is broken: snake case, as all codes.
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

/// Something is no NAR.
///
/// Neither field depends on how the input is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a NAR: {} at byte {offset}", .rule.name())]
pub struct NarError {
    /// Where, in bytes from the start: the first byte that cannot stand there; for a length that is out of range the start of
    /// its 8 bytes; for a name that is not allowed as a whole the start of the name; for an entry that is too deep the
    /// start of the entry; for an input that ends too early its length.
    pub offset: u64,
    /// The rule that is broken there.
    pub rule: Rule,
}

impl NarError {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_nar"
    }
}
