//! The allocator's appetite, for a daemon that idles for most of its life.

/// Bounds how many heaps the threads of this process get (glibc makes up to eight per CPU, each of which keeps what
/// it once needed). A no-op with other C libraries.
pub fn limit_arenas(count: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets a number inside the allocator; it takes no pointer.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, count);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = count;
}

/// Gives the kernel back what is free in all heaps, after work that needed much. Costs some milliseconds.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only returns free pages of the allocator to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
}
