//! Damaged parquet files make the format crate panic in places (a dictionary page that is not there, sizes that do not
//! add up); here such a panic becomes an error of the file.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use ::parquet::errors::ParquetError;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`; a panic in it is an error with the panic's message, and is not printed.
///
/// What `read` was building must be thrown away on an error, as its callers do.
pub(super) fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    static QUIET: Once = Once::new();
    // Panics of other threads, and of this one outside of `read`, are printed as before.
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(outer);
    result.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("its parts do not fit together");
        Err(ParquetError::General(message.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_guard_is_lifted_again() {
        let error = guarded::<()>(|| panic!("page {} is odd", 3)).unwrap_err();
        assert!(error.to_string().contains("page 3 is odd"));
        assert_eq!(guarded(|| Ok(5)).unwrap(), 5);
        assert!(!GUARDED.get());
    }
}
