//! Lets the library link on macOS.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The `enif_*` functions live in the VM that loads the library. The linker of macOS refuses such open symbols unless
    // told otherwise. This stands here and not in `.cargo/config.toml`, because flags from there vanish as soon as
    // somebody sets RUSTFLAGS, and because it holds whatever the folder Cargo is called in.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("macos") {
        println!("cargo::rustc-link-arg-cdylib=-undefined");
        println!("cargo::rustc-link-arg-cdylib=dynamic_lookup");
    }
}
