//! The `trunnion` binary.

fn main() -> std::process::ExitCode {
    trunnion::cli::main()
}
