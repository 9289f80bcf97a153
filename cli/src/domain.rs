//! The domain that the tool is built with: its views are migrated, and its events are decoded.

use std::sync::OnceLock;

use headwater_projector::projection::Projection;

/// What the tool needs to know of a domain.
#[derive(Clone, Copy)]
pub struct Domain {
    /// The projections, whose views are migrated.
    pub projections: fn() -> Vec<Projection>,
    /// The contract, an encoded descriptor set: events are decoded by it.
    pub descriptors: &'static [u8],
}

static DOMAIN: OnceLock<Domain> = OnceLock::new();

impl Domain {
    /// The sample domain: stores, their stock, and users.
    pub fn sample() -> Self {
        Self {
            projections: headwater_domain_api::projections,
            descriptors: headwater_domain_api::FILE_DESCRIPTOR_SET,
        }
    }
}

/// Sets the process's domain; the first one counts.
pub(crate) fn set(domain: Domain) {
    DOMAIN.get_or_init(|| domain);
}

/// The process's domain: the sample, unless another one was set.
pub(crate) fn domain() -> Domain {
    *DOMAIN.get_or_init(Domain::sample)
}
