//! What the targets need beside the laws of core: other people's code.

pub mod ipvs_oracle;
