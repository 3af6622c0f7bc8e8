//! Lists as arguments.

use rustler::{Decoder, Error, NifResult, Term};

/// The items of a proper list. An improper list is a `badarg`; rustler's decoder of `Vec` panics on it.
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<'a, T: Decoder<'a>> Decoder<'a> for List<T> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        // Fails unless the list is proper.
        let length = term.list_length()?;
        let mut items = Vec::new();
        items.try_reserve_exact(length).map_err(|_| Error::RaiseAtom("system_limit"))?;
        let mut rest = term;
        for _ in 0..length {
            let (item, tail) = rest.list_get_cell()?;
            items.push(item.decode()?);
            rest = tail;
        }
        Ok(Self(items))
    }
}
