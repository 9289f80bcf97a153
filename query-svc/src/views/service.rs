//! A query service whose methods all follow from its views.

/// Implements a query service on views of its own: for each view the projection that keeps it and
/// what a row is as a message, then the methods that get a row by a field of the request, and those
/// that list rows. The service is named by the module that `headwater_codegen` makes for it.
/// Whatever else a service offers is written by hand, on a [`ViewReader`](crate::ViewReader).
///
/// ```text
/// query_service! {
///     counter_query_service for CounterQueries;
///
///     view Counters: CounterRow as Counter, in "counters",
///     |row| Counter { counter_id: row.counter_id.to_string(), total: row.total };
///     get get_counter(GetCounterRequest) -> GetCounterResponse, by counter_id;
///     list list_counters(ListCountersRequest) -> ListCountersResponse, by total;
/// }
/// ```
#[macro_export]
macro_rules! query_service {
    (
        $($service:ident)::+ for $name:ident;
        $(
            view $served:ident: $view:ty as $message:ty, in $projection:literal,
            |$row:ident| $make:expr;
            $(get $get:ident($get_request:ty) -> $get_reply:ty, by $key:ident;)*
            $(list $list:ident($list_request:ty) -> $list_reply:ty, by $order:ident;)*
        )+
    ) => {
        $($crate::served_view! {
            pub $served: $view as $message, in $projection, |$row| $make
        })+

        #[doc = concat!("`", stringify!($($service)::+), "`, answered from its views.")]
        // A reader is called what its view is.
        #[allow(non_snake_case)]
        pub struct $name {
            $($served: $crate::ViewReader<$served>,)+
        }

        impl $name {
            /// On these reads; on the tokio runtime.
            pub fn new(reads: &$crate::Reads) -> Self {
                Self { $($served: $crate::ViewReader::new(reads),)+ }
            }

            /// The server of the service, on these reads; on the tokio runtime.
            pub fn server(reads: &$crate::Reads) -> $($service)::+::Server<Self> {
                $($service)::+::Server::new(Self::new(reads))
            }
        }

        #[::tonic::async_trait]
        impl $($service)::+::Service for $name {
            $(
                $(async fn $get(
                    &self,
                    request: ::tonic::Request<$get_request>,
                ) -> Result<::tonic::Response<$get_reply>, ::tonic::Status> {
                    self.$served.get(request, |r, v| v.uuid(stringify!($key), &r.$key)).await
                })*

                $(async fn $list(
                    &self,
                    request: ::tonic::Request<$list_request>,
                ) -> Result<::tonic::Response<$list_reply>, ::tonic::Status> {
                    let all = $crate::Filters::none();
                    let list = $crate::Listing::by(stringify!($order), all);
                    self.$served.list(request, |_, _| Some(list)).await
                })*
            )+
        }
    };
}

/// Serves a view: names it, its projection and its message, and says how a row is written.
///
/// ```text
/// served_view! { pub Counters: CounterView as Counter, in "counters", |row| Counter { .. } }
/// ```
#[macro_export]
macro_rules! served_view {
    (
        $vis:vis $name:ident: $view:ty as $message:ty, in $projection:literal,
        |$row:ident| $make:expr
    ) => {
        #[doc = concat!("The view as `", stringify!($message), "` messages.")]
        $vis struct $name;

        impl $crate::ServedView for $name {
            const NAME: &'static str = <$view as $crate::View>::NAME;
            const PROJECTION: &'static str = $projection;
            type View = $view;
            type Message = $message;

            fn message($row: $view) -> $message {
                $make
            }
        }
    };
}
