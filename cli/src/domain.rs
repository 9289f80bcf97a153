//! The domain that the tool is built with: its views are migrated, and its events are decoded.

use std::sync::OnceLock;

use headwater_kernel::AggregateType;
use headwater_projector::projection::Projection;

/// What the tool needs to know of a domain.
#[derive(Clone, Copy)]
pub struct Domain {
    /// The projections, whose views are migrated.
    pub projections: fn() -> Vec<Projection>,
    /// The aggregates, whose claims and marks can be verified and made anew.
    pub aggregates: fn() -> Vec<AggregateType>,
    /// The contract, an encoded descriptor set: events are decoded by it.
    pub descriptors: &'static [u8],
}

/// Names what the platform takes of a domain: its contract, its projections with the views of each,
/// and the services of its commands and queries. Makes of that the module of the contract and
/// `FILE_DESCRIPTOR_SET`, `PROJECTIONS` (which are served), `projections()` (for the projector),
/// `commands()` (for the command service), `queries()` (for the query service) and `aggregates()`
/// (for the tool). Views of one projection stand in the order in which they are folded; a service
/// is a type that `command_service!` or `query_service!` made, or any with functions like theirs.
///
/// ```text
/// domain! {
///     contract v1 = "counter.v1";
///     projection "counters" of aggregate::CounterEvent: view::CounterRow;
///     commands api::CounterCommands;
///     queries api::CounterQueries;
/// }
/// ```
#[macro_export]
macro_rules! domain {
    (
        contract $module:ident = $package:literal;
        $(projection $projection:literal of $events:ty: $($view:ty),+;)+
        commands $($commands:ty),+;
        queries $($queries:ty),+;
    ) => {
        $crate::parts::include_contract!($module = $package);

        /// The projections whose views are served.
        pub const PROJECTIONS: &[&str] = &[$($projection),+];

        /// The views, for the projector.
        pub fn projections() -> ::std::vec::Vec<$crate::parts::Projection> {
            vec![$(
                $crate::parts::Projection::of::<$events>($projection)$(.view::<$view>())+.build()
            ),+]
        }

        /// The commands, for the command service.
        pub fn commands(
            executor: &::std::sync::Arc<$crate::parts::Executor>,
        ) -> $crate::parts::Routes {
            $crate::parts::Routes::default()$(.add_service(<$commands>::server(executor)))+
        }

        /// The aggregates, for the tool.
        pub fn aggregates() -> ::std::vec::Vec<$crate::parts::AggregateType> {
            vec![$(<$commands>::aggregate()),+]
        }

        /// The queries, for the query service.
        pub fn queries(reads: &$crate::parts::Reads) -> $crate::parts::Routes {
            $crate::parts::Routes::default()$(.add_service(<$queries>::server(reads)))+
        }
    };
}

static DOMAIN: OnceLock<Domain> = OnceLock::new();

impl Domain {
    /// The sample domain: stores, their stock, and users.
    pub fn sample() -> Self {
        Self {
            projections: headwater_domain_api::projections,
            aggregates: headwater_domain_api::commands::aggregates,
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
