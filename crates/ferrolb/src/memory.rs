//! The allocator, and when what is free goes back to the system.
#![expect(unsafe_code, reason = "mimalloc is a library in C")]

use std::convert::Infallible;
use std::time::Duration;

/// The allocator of musl's libc is slow under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Short against the minutes for which people look at memory; and looking costs microseconds.
const PERIOD: Duration = Duration::from_secs(5);

/// Gives back what is free, again and again: a burst, such as thousands of Services at the start, leaves much of it behind,
/// and mimalloc itself looks only when more is asked for.
pub(crate) async fn give_back() -> Infallible {
    loop {
        tokio::time::sleep(PERIOD).await;
        // SAFETY: it takes no pointer, and may be called at any time by any thread; it touches only what is free.
        unsafe { libmimalloc_sys::mi_collect(true) };
    }
}
