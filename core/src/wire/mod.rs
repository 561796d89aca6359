//! Headers that leave the box: Ethernet, ARP, IPv4, IPv6, ICMPv6 neighbour advertisements.
