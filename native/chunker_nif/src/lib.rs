//! The NIF: decodes terms, calls the engine, encodes terms.

mod atoms {
    rustler::atoms! { version }
}

#[rustler::nif]
fn info() -> (rustler::Atom, &'static str) {
    (atoms::version(), chunker::VERSION)
}

rustler::init!("Elixir.Chunker.Native");
