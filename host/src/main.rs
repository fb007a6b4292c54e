//! The binary `roost`: a runtime and the command line. Everything else is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// A call allocates some dozens of small blocks on whatever thread it runs.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("roost").build() {
        Ok(runtime) => {
            let code = runtime.block_on(roost::cli::run());
            // A compilation under way would keep a process that was told to end at once.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("roost: the runtime does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
