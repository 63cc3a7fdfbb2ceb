//! Asking memory for what will be read soon, without waiting for it. A load that misses holds up all that comes after
//! it once a few hundred instructions wait; a prefetch holds up nothing, so that memory answers for all columns of a
//! user at once.
//!
//! The only `unsafe` of this crate.

/// Asks for the line of memory that byte `at` of `bytes` is in, if there is such a byte.
#[inline]
pub fn prefetch(bytes: &[u8], at: usize) {
    if let Some(byte) = bytes.get(at) {
        ask(byte);
    }
}

/// Bytes of a line of memory.
pub const LINE_BYTES: usize = 64;

/// Asks for the lines of memory that `value` itself takes, not for what it points to; for the first two, if it takes
/// more.
#[inline]
pub fn prefetch_value<T>(value: &T) {
    let start: *const u8 = std::ptr::from_ref(value).cast();
    for at in (0..size_of::<T>()).step_by(LINE_BYTES).take(2) {
        ask(start.wrapping_add(at));
    }
}

#[inline]
#[cfg_attr(not(all(target_arch = "x86_64", not(miri))), allow(unused_variables, reason = "there is nothing to ask"))]
fn ask(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing that the program sees and faults on no address; every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
}
