//! The form of small objects: lines of a key and a value, and a line with a check of those before it.
//!
//! It can be read with any tool and any language. A file that was cut or edited by hand fails its check.

use super::error::StoreError;

/// The last line: 16 hexadecimal digits of the BLAKE3 of all lines before it.
const CHECK: &str = "check ";

/// Writes an object. Neither keys nor values have line breaks, and keys have no spaces.
pub(super) fn write<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in lines {
        debug_assert!(!key.contains([' ', '\n']) && !value.contains('\n'));
        text.extend([key, " ", &value, "\n"]);
    }
    let check = check(&text);
    text.extend([CHECK, &check, "\n"]);
    text.into_bytes()
}

fn check(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].into()
}

/// The lines of an object.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    object: &'a str,
    text: &'a str,
}

impl<'a> Lines<'a> {
    /// Reads the object of that name.
    pub(super) fn read(object: &'a str, content: &'a [u8]) -> Result<Self, StoreError> {
        let corrupt = |why| StoreError::corrupt(object, None, why);
        let text = str::from_utf8(content).map_err(|_| corrupt("not_text"))?;
        let at = text.rfind(CHECK).ok_or_else(|| corrupt("no_check"))?;
        let (text, last) = text.split_at(at);
        let whole = (text.is_empty() || text.ends_with('\n')) && last[CHECK.len()..] == check(text) + "\n";
        if whole { Ok(Self { object, text }) } else { Err(corrupt("check_mismatch")) }
    }

    /// Returns the values of a key, in order.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| {
            let (found, value) = line.split_once(' ')?;
            (found == key).then_some(value)
        })
    }

    /// Returns the value of a key that is there once, as `parse` reads it.
    pub(super) fn one<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        let mut values = self.all(key);
        let value = values.next().filter(|_| values.next().is_none()).and_then(parse);
        value.ok_or_else(|| StoreError::corrupt(self.object, None, key))
    }
}
