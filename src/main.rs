//! `nhits` on the command line; everything is in the library's `cli` room.

// The training step allocates tensors of the same shapes again and again: an allocator that keeps its pages saves a
// tenth to a quarter of the step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    nhits::cli::main()
}
