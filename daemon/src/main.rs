//! The `trunnion` binary.

use trunnion_sys::alloc::SealedAlloc;

/// Counts what the sealed loops allocate, which is nothing.
#[global_allocator]
static ALLOC: SealedAlloc = SealedAlloc;

fn main() -> std::process::ExitCode {
    trunnion::cli::main()
}
