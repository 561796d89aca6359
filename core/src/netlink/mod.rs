//! Netlink and generic netlink framing: messages, attributes, acks, batches.
