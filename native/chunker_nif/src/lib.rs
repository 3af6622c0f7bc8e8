//! The NIF: decodes terms, calls the engine, encodes terms.

rustler::atoms! { version }

#[rustler::nif]
fn info() -> (rustler::Atom, &'static str) {
    (version(), chunker::VERSION)
}

rustler::init!("Elixir.Chunker.Native");
