//! The allocator, and how it gives back what is free. All `unsafe` of this crate is here.
#![expect(unsafe_code, reason = "allocators are asked in C")]

/// That of musl's libc is slow under load.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives the memory that is free back to the system. By itself the allocator does so only when more is asked for, or freed.
pub(crate) fn trim() {
    #[cfg(target_env = "musl")]
    {
        unsafe extern "C" {
            fn mi_collect(force: bool);
        }
        // SAFETY: it can be called at any time, from any thread; the name is mimalloc's, which is linked.
        unsafe { mi_collect(true) }
    }
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: it can be called at any time, from any thread; the name is glibc's, which is linked.
        _ = unsafe { malloc_trim(0) };
    }
}
