//! A blocking IPVS client: one socket, no allocation for each operation.
