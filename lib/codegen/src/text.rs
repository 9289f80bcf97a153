//! The implementations as text, with places for names.

/// The template for a message.
pub fn filled(template: &str, message: &str, fill: &[(&str, &str)]) -> String {
    let text = template.replace("{message}", message);
    fill.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

pub const SERVICE: &str = r#"
/// Trait and server of `{message}`, under names that macros know.
pub mod {module} {
    pub use super::{module}_server::{message} as Service;
    pub use super::{module}_server::{message}Server as Server;
}
"#;

pub const COMMAND: &str = r#"
impl ::headwater_edge::CommandRequest for {message} {
    const METHOD: &'static str = "{method}";

    fn take_options(&mut self) -> ::core::option::Option<::headwater_proto::headwater::v1::CommandOptions> {
        self.{field}.take()
    }
}
"#;

pub const COMMAND_REPLY: &str = r#"
impl ::headwater_edge::CommandReply for {message} {
    #[allow(unused_variables)]
    fn of(receipt: ::headwater_proto::headwater::v1::Receipt, stream: ::headwater_edge::Uuid) -> Self {
        Self { {id}{field}: ::core::option::Option::Some(receipt) }
    }
}
"#;

pub const COMMAND_BATCH: &str = r#"
impl ::headwater_edge::CommandBatch for {message} {
    type Command = {of};

    fn requests(&self) -> &[{of}] {
        &self.requests
    }

    fn into_requests(self) -> ::prost::alloc::vec::Vec<{of}> {
        self.requests
    }
}
"#;

pub const COMMAND_BATCH_REPLY: &str = r#"
impl ::headwater_edge::CommandBatchReply for {message} {
    type Reply = {of};

    fn of(results: ::prost::alloc::vec::Vec<::core::result::Result<{of}, ::headwater_edge::RpcStatus>>, token: ::prost::alloc::string::String) -> Self {
        let result = |result| {
            let {field} = match result {
                ::core::result::Result::Ok(reply) => {module}::{oneof}::{applied}(reply),
                ::core::result::Result::Err(status) => {module}::{oneof}::{failed}(status),
            };
            {result} { {field}: ::core::option::Option::Some({field}) }
        };
        Self { results: results.into_iter().map(result).collect(), token }
    }
}
"#;

pub const QUERY: &str = r#"
impl ::headwater_edge::QueryRequest for {message} {
    const METHOD: &'static str = "{method}";

    fn take_consistency(&mut self) -> ::core::option::Option<::headwater_proto::headwater::v1::Consistency> {
        self.{field}.take()
    }
}
"#;

pub const LIST_REQUEST: &str = r#"
impl ::headwater_edge::ListRequest for {message} {
    fn page(&self) -> (i32, &str) {
        (self.page_size, &self.page_token)
    }
}
"#;

pub const WATCH_REQUEST: &str = r#"
impl ::headwater_edge::WatchRequest for {message} {
    fn take_watch_options(&mut self) -> ::core::option::Option<::headwater_proto::headwater::v1::WatchOptions> {
        self.{field}.take()
    }
}
"#;

pub const REPLY: &str = r#"
impl ::headwater_edge::DatedReply for {message} {
    fn freshness_mut(&mut self) -> &mut ::core::option::Option<::headwater_proto::headwater::v1::Freshness> {
        &mut self.{field}
    }
}
"#;

pub const ENTITY: &str = r#"
impl ::headwater_edge::Entity for {message} {
    fn version(&self) -> ::core::option::Option<u64> {
        {version}
    }

    fn id(&self) -> ::core::option::Option<::headwater_edge::Uuid> {
        {id}
    }
}
"#;

pub const ENTITY_REPLY: &str = r#"
impl ::headwater_edge::EntityReply for {message} {
    type Entity = {of};

    fn of(entity: ::core::option::Option<{of}>) -> Self {
        Self { {entity}: entity, {field}: ::core::option::Option::None }
    }
}
"#;

pub const BATCH_REPLY: &str = r#"
impl ::headwater_edge::BatchReply for {message} {
    type Entity = {of};

    fn of({rows}: ::prost::alloc::vec::Vec<{of}>, missing_ids: ::prost::alloc::vec::Vec<::prost::alloc::string::String>) -> Self {
        Self { {rows}, missing_ids, ..::core::default::Default::default() }
    }
}
"#;

pub const LIST_REPLY: &str = r#"
impl ::headwater_edge::ListReply for {message} {
    type Entity = {of};

    fn of({rows}: ::prost::alloc::vec::Vec<{of}>, next_page_token: ::prost::alloc::string::String) -> Self {
        Self { {rows}, next_page_token, ..::core::default::Default::default() }
    }
}
"#;

pub const WATCH_REPLY: &str = r#"
impl ::headwater_edge::WatchReply for {message} {
    type Change = {of};

    fn of({changes}: ::prost::alloc::vec::Vec<{of}>, resume_token: ::prost::alloc::string::String, freshness: ::headwater_proto::headwater::v1::Freshness) -> Self {
        Self { {changes}, resume_token, {field}: ::core::option::Option::Some(freshness) }
    }
}
"#;

pub const CHANGE: &str = r#"
impl ::headwater_edge::ChangeMessage for {message} {
    type Entity = {of};

    fn of(key: ::headwater_edge::Uuid, entity: ::core::option::Option<{of}>) -> Self {
        let {field} = match entity {
            ::core::option::Option::Some(entity) => {module}::{oneof}::{there}(entity),
            ::core::option::Option::None => {module}::{oneof}::{gone}(key.to_string()),
        };
        Self { {field}: ::core::option::Option::Some({field}) }
    }
}
"#;
