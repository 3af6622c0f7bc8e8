//! Flags without which the library does not link, or does not stay.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        // The `enif_*` functions live in the VM that loads the library. The linker of macOS refuses such open symbols
        // unless told otherwise. This stands here and not in `.cargo/config.toml`, because flags from there vanish as
        // soon as somebody sets RUSTFLAGS, and because it holds whatever the folder Cargo is called in.
        Ok("macos") => {
            println!("cargo::rustc-link-arg-cdylib=-undefined");
            println!("cargo::rustc-link-arg-cdylib=dynamic_lookup");
        }
        // The pool's threads outlive the library when the VM purges its module, and would then run code that is no
        // longer mapped. With this flag it stays mapped.
        Ok("linux" | "freebsd") => println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete"),
        _ => {}
    }
}
