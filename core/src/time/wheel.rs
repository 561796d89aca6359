//! The hierarchical timer wheel over the owner's slots.
