//! A query service whose methods all follow from its view.

/// Implements a query service on one served view: methods that get a row by a field of the request,
/// and methods that list rows. Whatever else a service offers is written by hand, on a
/// [`ViewReader`](crate::ViewReader).
///
/// ```text
/// query_service! {
///     CounterQueryService for CounterQueries on Counters {
///         get get_counter(GetCounterRequest) -> GetCounterResponse, by counter_id;
///         list list_counters(ListCountersRequest) -> ListCountersResponse, by total;
///     }
/// }
/// ```
#[macro_export]
macro_rules! query_service {
    ($service:ident for $name:ident on $served:ty {
        $(get $get:ident($get_request:ty) -> $get_reply:ty, by $key:ident;)*
        $(list $list:ident($list_request:ty) -> $list_reply:ty, by $order:ident;)*
    }) => {
        #[doc = concat!("`", stringify!($service), "`, answered from its view.")]
        pub struct $name($crate::ViewReader<$served>);

        impl $name {
            /// On these reads; on the tokio runtime.
            pub fn new(reads: &$crate::Reads) -> Self {
                Self($crate::ViewReader::new(reads))
            }
        }

        #[::tonic::async_trait]
        impl $service for $name {
            $(async fn $get(
                &self,
                request: ::tonic::Request<$get_request>,
            ) -> Result<::tonic::Response<$get_reply>, ::tonic::Status> {
                self.0.get(request, |r, v| v.uuid(stringify!($key), &r.$key)).await
            })*

            $(async fn $list(
                &self,
                request: ::tonic::Request<$list_request>,
            ) -> Result<::tonic::Response<$list_reply>, ::tonic::Status> {
                let all = $crate::Filters::none();
                let list = $crate::Listing::by(stringify!($order), all);
                self.0.list(request, |_, _| Some(list)).await
            })*
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

            fn message($row: <$view as $crate::View>::Row) -> $message {
                $make
            }
        }
    };
}
