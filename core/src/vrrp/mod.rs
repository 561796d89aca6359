//! VRRPv3 (RFC 9568): adverts, election, the router machine.
