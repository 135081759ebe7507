//! Memory that the kernel writes to after the system call that told it where.

use std::ptr::NonNull;

/// A value on the heap that is either ours or lent to the kernel. It has one address all its life, nobody gets at it
/// while it is lent, and if it is dropped then it is never freed.
#[derive(Debug)]
pub(in crate::kernel) struct Lent<T> {
    /// From `Box::leak`; freed only by `drop`.
    value: NonNull<T>,
    out: bool,
}

// SAFETY: a Lent owns its value alone; the raw pointer is there to keep its address, not to share it.
unsafe impl<T: Send> Send for Lent<T> {}

impl<T> Lent<T> {
    pub(in crate::kernel) fn new(value: T) -> Lent<T> {
        Lent {
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

    /// From now on the kernel may write to the value.
    pub(in crate::kernel) fn lend(&mut self) {
        self.out = true;
    }

    /// Takes the value back.
    ///
    /// # Safety
    /// The kernel must have given it back: whatever was sent with pointers to it has ended.
    pub(in crate::kernel) unsafe fn take_back(&mut self) {
        self.out = false;
    }
}

impl<T> Drop for Lent<T> {
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
    fn what_is_lent_is_neither_touched_nor_freed() {
        let witness = Arc::new(());
        let mut lent = Lent::new(Arc::clone(&witness));
        assert!(lent.ours().is_some());
        lent.lend();
        assert!(lent.is_out());
        assert!(lent.ours().is_none());
        // SAFETY: no kernel has it.
        unsafe { lent.take_back() };
        assert!(lent.ours().is_some());
        drop(lent);
        assert_eq!(Arc::strong_count(&witness), 1);
        let mut lent = Lent::new(Arc::clone(&witness));
        lent.lend();
        drop(lent);
        assert_eq!(Arc::strong_count(&witness), 2);
    }
}
