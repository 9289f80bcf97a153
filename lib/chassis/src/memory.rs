//! The allocator of every program. A command or a read is some dozens of small allocations that
//! live about a millisecond, and libc's allocating and copying took 13 % of the machine.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
