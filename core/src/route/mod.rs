//! Addresses and links over rtnetlink.
