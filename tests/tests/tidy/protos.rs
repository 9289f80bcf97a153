//! The protos are what other teams read first, so they are documented like a manual, and their
//! options are what the router and every client rely on.

use headwater_domain_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};

/// Field numbers of `descriptor.proto`, from which the paths of comments are made.
mod number {
    pub const MESSAGE: i32 = 4;
    pub const ENUM: i32 = 5;
    pub const SERVICE: i32 = 6;
    pub const METHOD: i32 = 2;
    pub const FIELD: i32 = 2;
    pub const NESTED: i32 = 3;
    pub const NESTED_ENUM: i32 = 4;
}

/// Everything that is undocumented or misnamed in our files of a descriptor set. Demanded are:
///
/// - packages that end in a version, `v1`;
/// - a comment on every service, method, message and enum, and on every member of a oneof, where
///   the message's own comment cannot speak for each; other fields and enum values are commented
///   where their names leave a question open, which only a reader can tell;
/// - requests and replies named after their method, so that each can grow by itself;
/// - enums whose zero is `<ENUM>_UNSPECIFIED` and whose values bear the enum's name;
/// - `NO_SIDE_EFFECTS` on every method of a query service, and on none of a command service: it is
///   what the router routes and repeats calls by.
pub fn check(descriptors: &[u8]) -> Vec<String> {
    let set = FileDescriptorSet::decode(descriptors).expect("a descriptor set");
    let ours = set.file.iter().filter(|file| !file.package().starts_with("google."));
    ours.flat_map(|file| File { file, complaints: Vec::new() }.checked()).collect()
}

struct File<'a> {
    file: &'a FileDescriptorProto,
    complaints: Vec<String>,
}

impl File<'_> {
    fn checked(mut self) -> Vec<String> {
        if !self.file.package().ends_with(".v1") {
            self.complain(self.file.package(), "end the package's name in its version, `v1`");
        }
        for (at, service) in (0..).zip(&self.file.service) {
            self.service(&[number::SERVICE, at], service);
        }
        for (at, message) in (0..).zip(&self.file.message_type) {
            self.message(&[number::MESSAGE, at], message);
        }
        for (at, kind) in (0..).zip(&self.file.enum_type) {
            self.kind(&[number::ENUM, at], kind);
        }
        self.complaints
    }

    fn complain(&mut self, name: &str, what: &str) {
        self.complaints.push(format!("{}: {name}: {what}", self.file.name()));
    }

    fn must_be_commented(&mut self, path: &[i32], name: &str) {
        let info = self.file.source_code_info.as_ref().map(|info| info.location.as_slice());
        let place = info.unwrap_or_default().iter().find(|place| place.path == path);
        if place.is_none_or(|place| place.leading_comments().trim().is_empty()) {
            self.complain(name, "say in a comment above it what it means, its unit and its bound");
        }
    }

    fn service(&mut self, path: &[i32], service: &ServiceDescriptorProto) {
        self.must_be_commented(path, service.name());
        for (at, method) in (0..).zip(&service.method) {
            self.must_be_commented(&[path, &[number::METHOD, at]].concat(), method.name());
            self.own_messages(method);
            self.side_effects(service.name(), method);
        }
        if !service.name().ends_with("QueryService") && !service.name().ends_with("CommandService")
        {
            self.complain(service.name(), "name it …CommandService or …QueryService");
        }
    }

    fn own_messages(&mut self, method: &MethodDescriptorProto) {
        let messages = [(method.input_type(), "Request"), (method.output_type(), "Response")];
        for (message, suffix) in messages {
            let own = format!(".{}.{}{suffix}", self.file.package(), method.name());
            if message != own {
                self.complain(method.name(), &format!("name its message {own}, not {message}"));
            }
        }
    }

    fn side_effects(&mut self, service: &str, method: &MethodDescriptorProto) {
        let level = method.options.as_ref().map(|options| options.idempotency_level());
        let marked = level == Some(IdempotencyLevel::NoSideEffects);
        let complaint = match (service.ends_with("QueryService"), marked) {
            (true, false) => "mark the query: option idempotency_level = NO_SIDE_EFFECTS;",
            (false, true) => "a command must not be marked NO_SIDE_EFFECTS; or is it a query?",
            (true, true) | (false, false) => "",
        };
        if !complaint.is_empty() {
            self.complain(method.name(), complaint);
        }
    }

    fn message(&mut self, path: &[i32], message: &DescriptorProto) {
        self.must_be_commented(path, message.name());
        for (at, field) in (0..).zip(&message.field) {
            if field.oneof_index.is_some() && !field.proto3_optional() {
                let path = [path, &[number::FIELD, at]].concat();
                self.must_be_commented(&path, &format!("{}.{}", message.name(), field.name()));
            }
        }
        for (at, nested) in (0..).zip(&message.nested_type) {
            let is_map = nested.options.as_ref().is_some_and(|options| options.map_entry());
            if !is_map {
                self.message(&[path, &[number::NESTED, at]].concat(), nested);
            }
        }
        for (at, nested) in (0..).zip(&message.enum_type) {
            self.kind(&[path, &[number::NESTED_ENUM, at]].concat(), nested);
        }
    }

    fn kind(&mut self, path: &[i32], kind: &EnumDescriptorProto) {
        self.must_be_commented(path, kind.name());
        let prefix = screaming(kind.name());
        for value in &kind.value {
            let unspecified = value.name() == format!("{prefix}_UNSPECIFIED");
            if (value.number() == 0) != unspecified {
                self.complain(value.name(), &format!("0, and 0 alone, is {prefix}_UNSPECIFIED"));
            }
            if !value.name().starts_with(&format!("{prefix}_")) {
                self.complain(value.name(), &format!("begin its name with {prefix}_"));
            }
        }
    }
}

/// `NodeRole` -> `NODE_ROLE`.
fn screaming(name: &str) -> String {
    let mut screaming = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !screaming.is_empty() {
            screaming.push('_');
        }
        screaming.extend(c.to_uppercase());
    }
    screaming
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found after a change to the real contract.
    fn found(change: impl Fn(&mut FileDescriptorProto)) -> Vec<String> {
        let mut set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a set");
        let name = "users/v1/users.proto";
        let file = set.file.iter_mut().find(|file| file.name() == name).expect("the file");
        change(file);
        check(&set.encode_to_vec())
    }

    #[test]
    fn what_is_missing_or_misnamed_is_found() {
        let check = |what: &str, change: fn(&mut FileDescriptorProto)| {
            let found = found(change);
            assert!(found.iter().any(|complaint| complaint.contains(what)), "{what}: {found:?}");
        };
        assert_eq!(found(|_| {}), Vec::<String>::new());
        check("`v1`", |file| file.package = Some("users".to_owned()));
        check("comment above", |file| file.source_code_info = None);
        check("RegisterUserRequest, not", |file| {
            file.service[0].method[0].input_type = Some(".users.v1.User".to_owned());
        });
        check("mark the query", |file| file.service[1].method[0].options = None);
        check("must not be marked", |file| {
            file.service[0].method[0].options = file.service[1].method[0].options.clone();
        });
        check("…QueryService", |file| file.service[0].name = Some("Users".to_owned()));
        check("_UNSPECIFIED", |file| file.enum_type[0].value[0].number = Some(7));
        check("begin its name", |file| {
            file.enum_type[0].value[1].name = Some("ACTIVE".to_owned());
        });
    }

    #[test]
    fn enum_names_scream() {
        assert_eq!(screaming("NodeRole"), "NODE_ROLE");
    }
}
