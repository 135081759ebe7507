//! Memory that the kernel writes to even after the system call that passed its address.

use std::ptr::NonNull;

/// A value on the heap that is either available here or lent to the kernel. Its address never changes. While it is lent
/// it cannot be accessed, and if it is dropped then, its memory is never freed.
#[derive(Debug)]
pub(in crate::kernel) struct ScratchBuffer<T> {
    /// From `Box::leak`; freed only by `drop`.
    value: NonNull<T>,
    out: bool,
}

// SAFETY: a Lent is the only owner of its value; the raw pointer keeps the address stable and is not shared.
unsafe impl<T: Send> Send for ScratchBuffer<T> {}

impl<T> ScratchBuffer<T> {
    pub(in crate::kernel) fn new(value: T) -> ScratchBuffer<T> {
        ScratchBuffer {
            value: NonNull::from(Box::leak(Box::new(value))),
            out: false,
        }
    }

    /// Whether the kernel has it.
    pub(in crate::kernel) fn is_out(&self) -> bool {
        self.out
    }

    /// The value, unless the kernel has it.
    pub(in crate::kernel) fn ours(&mut self) -> Option<&mut T> {
        if self.out {
            return None;
        }
        // SAFETY: the pointer is from Box::leak and not freed; the kernel does not use the value, and `&mut self`
        // makes this the only reference.
        Some(unsafe { self.value.as_mut() })
    }

    /// Lends the value: from now on the kernel may write to it.
    pub(in crate::kernel) fn lend(&mut self) {
        self.out = true;
    }

    /// Takes the value back.
    ///
    /// # Safety
    /// The kernel must have returned it: everything that was sent with pointers to it has ended.
    pub(in crate::kernel) unsafe fn take_back(&mut self) {
        self.out = false;
    }
}

impl<T> Drop for ScratchBuffer<T> {
    fn drop(&mut self) {
        if !self.out {
            // SAFETY: the pointer is from Box::leak, this is the only place that frees it, and the kernel does not
            // use the value.
            drop(unsafe { Box::from_raw(self.value.as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_lent_buffer_is_neither_touched_nor_freed() {
        let witness = Arc::new(());
        let mut scratch_buffer = ScratchBuffer::new(Arc::clone(&witness));
        assert!(scratch_buffer.ours().is_some());
        scratch_buffer.lend();
        assert!(scratch_buffer.is_out());
        assert!(scratch_buffer.ours().is_none());
        // SAFETY: it was not passed to a kernel.
        unsafe { scratch_buffer.take_back() };
        assert!(scratch_buffer.ours().is_some());
        drop(scratch_buffer);
        assert_eq!(Arc::strong_count(&witness), 1);
        let mut scratch_buffer = ScratchBuffer::new(Arc::clone(&witness));
        scratch_buffer.lend();
        drop(scratch_buffer);
        assert_eq!(Arc::strong_count(&witness), 2);
    }
}
