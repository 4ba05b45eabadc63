//! Compiles again when a migration is added: the macro that embeds them sees only files that it has seen before.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
