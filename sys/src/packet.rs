//! AF_PACKET: frames for gratuitous ARP and neighbour advertisements.
