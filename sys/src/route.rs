//! A blocking rtnetlink client for addresses and links.
