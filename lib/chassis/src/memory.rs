//! The allocator of every program. A command or a read is some dozens of small allocations that
//! live about a millisecond, and libc's `malloc` took a tenth of the machine under load.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
