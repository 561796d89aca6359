//! The options of a destination: `-a`, `-e`, `-d`.

use super::{
    Destination, DestinationKey, Family, Forward, INT, IpAddr, Kind, Notes, Options, Range,
    ServiceKey, Tunnel, TunnelFlags, TunnelType, said, select,
};

/// The kinds that say how packets get there.
const FORWARDS: &[(Kind, Forward)] = &[
    (Kind::Route, Forward::ROUTE),
    (Kind::Tunnel, Forward::TUNNEL),
    (Kind::Masq, Forward::MASQ),
];

const TUNNELS: &[(&str, TunnelType)] = &[
    ("ipip", TunnelType::IPIP),
    ("gue", TunnelType::GUE),
    ("gre", TunnelType::GRE),
];

impl Options<'_, '_> {
    pub fn server(&self, notes: &mut Notes) -> Option<(ServiceKey, Destination)> {
        self.only(
            &[
                Kind::Server,
                Kind::Route,
                Kind::Tunnel,
                Kind::Masq,
                Kind::Weight,
                Kind::Upper,
                Kind::Lower,
                Kind::TunnelType,
                Kind::TunnelPort,
                Kind::NoCsum,
                Kind::Csum,
                Kind::RemCsum,
            ],
            notes,
        );
        let service = self.key(notes);
        let server = self.at(service.as_ref(), notes);
        let forward = self.forward(notes);
        let weight = self.number(Kind::Weight, INT, 1, notes);
        let mistakes = notes.list.len();
        let upper_threshold = self.number(Kind::Upper, INT, 0, notes);
        let lower_threshold = self.number(Kind::Lower, INT, 0, notes);
        if let Some(lower) = self.find(Kind::Lower)
            && lower_threshold > upper_threshold
            && notes.list.len() == mistakes
        {
            notes.error(
                &lower.span,
                format!(
                    "the lower threshold {lower_threshold} is above the upper one, \
                     {upper_threshold}"
                ),
                format!("write -x {lower_threshold} or more"),
            );
        }
        let tunnel = self.tunnel(forward, notes);
        let (service, (key, span)) = (service?, server?);
        if Family::of(&key.address) != service.family() && forward != Forward::TUNNEL {
            notes.error(
                &span,
                "a destination of the other address family needs a tunnel",
                "write -i",
            );
        }
        if let ServiceKey::Address { port, .. } = service
            && forward != Forward::MASQ
            && port != key.port
        {
            notes.warn(
                &span,
                format!(
                    "packets keep port {port}: only -m changes it, and {} is but a name",
                    key.port
                ),
                format!("write port {port}, or -m"),
            );
        }
        let destination = Destination {
            key,
            forward,
            weight,
            upper_threshold,
            lower_threshold,
            tunnel,
        };
        Some((service, destination))
    }

    pub fn server_key(&self, notes: &mut Notes) -> Option<(ServiceKey, DestinationKey)> {
        self.only(&[Kind::Server], notes);
        let service = self.key(notes);
        let server = self.at(service.as_ref(), notes);
        Some((service?, server?.0))
    }

    /// The destination's address, with the service's port where it has none.
    fn at(
        &self,
        service: Option<&ServiceKey>,
        notes: &mut Notes,
    ) -> Option<(DestinationKey, Range<usize>)> {
        if self.find(Kind::Server).is_none() && self.understood {
            notes.error(
                &self.command.span,
                format!("{} without a destination", self.command.name),
                "write -r ADDRESS:PORT",
            );
        }
        let word = self.value(Kind::Server)?;
        let (address, port) = select::endpoint(word.text)
            .map_err(|why| said(&word.span, &why, notes))
            .ok()?;
        let no_host = match address {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
        };
        if no_host {
            notes.error(
                &word.span,
                format!("{address} is the address of no host"),
                "write the address of one host",
            );
        }
        let its = match service {
            Some(ServiceKey::Address { port, .. }) => *port,
            Some(ServiceKey::Fwmark { .. }) | None => 0,
        };
        let port = port.unwrap_or(its);
        Some((DestinationKey { address, port }, word.span.clone()))
    }

    fn forward(&self, notes: &mut Notes) -> Forward {
        let mut said = self.given.iter().filter_map(|given| {
            let forward = FORWARDS.iter().find(|(kind, _)| *kind == given.kind);
            forward.map(|(_, forward)| (given, *forward))
        });
        let Some((first, forward)) = said.next() else {
            return Forward::ROUTE;
        };
        if let Some((second, _)) = said.find(|(second, _)| second.kind != first.kind) {
            notes.error_also(
                &second.span,
                format!("`{}` after `{}`", second.name, first.name),
                "write one forwarding method",
                (&first.span, "the first"),
            );
        }
        forward
    }

    fn tunnel(&self, forward: Forward, notes: &mut Notes) -> Tunnel {
        let mut tunnel = Tunnel::IPIP;
        if let Some(word) = self.value(Kind::TunnelType) {
            match TUNNELS.iter().find(|(name, _)| *name == word.text) {
                Some((_, kind)) => tunnel.kind = *kind,
                None => notes.error(
                    &word.span,
                    format!("`{}` is no tunnel type", word.text),
                    "write ipip, gue or gre",
                ),
            }
        }
        let port = self.number(Kind::TunnelPort, 1..=65535, 0, notes);
        tunnel.port = u16::try_from(port).unwrap_or(0);
        for (kind, flag) in [
            (Kind::NoCsum, TunnelFlags::empty()),
            (Kind::Csum, TunnelFlags::CSUM),
            (Kind::RemCsum, TunnelFlags::REMCSUM),
        ] {
            if self.find(kind).is_some() {
                tunnel.flags |= flag;
            }
        }
        self.fits(forward, &tunnel, notes);
        tunnel
    }

    /// Which options of a tunnel go with its type.
    fn fits(&self, forward: Forward, tunnel: &Tunnel, notes: &mut Notes) {
        for kind in [
            Kind::TunnelType,
            Kind::TunnelPort,
            Kind::NoCsum,
            Kind::Csum,
            Kind::RemCsum,
        ] {
            let Some(given) = self.find(kind) else {
                continue;
            };
            let name = &given.name;
            if forward != Forward::TUNNEL {
                notes.error(
                    &given.span,
                    format!("`{name}` without a tunnel"),
                    format!("write -i, or remove {name}"),
                );
            } else if tunnel.kind == TunnelType::IPIP && kind != Kind::TunnelType {
                notes.error(
                    &given.span,
                    format!("`{name}` does not go with a tunnel of type ipip"),
                    format!("write --tun-type gue, or remove {name}"),
                );
            } else if tunnel.kind == TunnelType::GRE && kind == Kind::TunnelPort {
                notes.error(
                    &given.span,
                    format!("`{name}` does not go with a tunnel of type gre"),
                    format!("remove {name}"),
                );
            }
        }
        if tunnel.kind == TunnelType::GUE
            && self.find(Kind::TunnelPort).is_none()
            && self.understood
            && let Some(word) = self.value(Kind::TunnelType)
        {
            notes.error(
                &word.span,
                "a tunnel of type gue needs a port",
                "write --tun-port, 6080 as a rule",
            );
        }
        if let Some(plain) = self.find(Kind::NoCsum)
            && !tunnel.flags.is_empty()
        {
            notes.error(
                &plain.span,
                format!("`{}` beside a checksum", plain.name),
                format!("remove {}", plain.name),
            );
        }
    }
}
