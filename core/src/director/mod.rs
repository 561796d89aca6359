//! What this node should do next: composes the machines, owns no time and no fd.
