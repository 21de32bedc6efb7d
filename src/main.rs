//! `nhits` on the command line; everything is in the library's `cli` room.

// The training step allocates tensors of the same shapes again and again: an allocator that keeps its pages saves a
// tenth to a quarter of the step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of the option `purge_delay` in mimalloc's `mi_option_t`; its Rust binding gives no name to it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed pages. The allocator would give them back to the system after ten milliseconds and fault them in again in
/// the next step: a quarter of the processor time of training was spent on that.
fn keep_pages() {
    // SAFETY: a plain C function that stores an integer in an array of options, which it checks the number against.
    // Other threads do not exist yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

/// Asks the system for pages of ordinary size. The allocator would have pages of 2 MB, of which each of its threads fills
/// only a part: a third more memory, and the time to clear it.
#[cfg(target_os = "linux")]
fn ordinary_pages() {
    // SAFETY: sets a flag of this process and touches no memory of it. A refusal changes nothing.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

fn main() -> std::process::ExitCode {
    keep_pages();
    #[cfg(target_os = "linux")]
    ordinary_pages();
    nhits::cli::main()
}
