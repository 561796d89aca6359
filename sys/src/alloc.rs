//! The global allocator that notices a sealed thread.
