//! IPVS over generic netlink: numbers, requests, replies.
