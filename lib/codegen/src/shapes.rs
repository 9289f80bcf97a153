//! The shapes of messages: which of their fields means what. Pure.

use std::collections::BTreeMap;

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

pub const OPTIONS: &str = ".headwater.v1.CommandOptions";
pub const RECEIPT: &str = ".headwater.v1.Receipt";
pub const CONSISTENCY: &str = ".headwater.v1.Consistency";
pub const FRESHNESS: &str = ".headwater.v1.Freshness";
pub const WATCH_OPTIONS: &str = ".headwater.v1.WatchOptions";
pub const RPC_STATUS: &str = ".google.rpc.Status";

/// Top-level messages by their full name, which begins with a dot.
pub type Messages<'s> = BTreeMap<String, &'s DescriptorProto>;

/// Every top-level message of a set.
pub fn messages(set: &FileDescriptorSet) -> Messages<'_> {
    let mut messages = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            messages.insert(format!(".{}.{}", file.package(), message.name()), message);
        }
    }
    messages
}

/// The message's field of a message type.
pub fn field<'m>(message: &'m DescriptorProto, of_type: &str) -> Option<&'m FieldDescriptorProto> {
    message.field.iter().find(|field| field.type_name() == of_type)
}

/// The name of the Rust type of a message of this package.
pub fn local(message: &str, package: &str) -> Option<String> {
    let name = message.strip_prefix('.')?.strip_prefix(package)?.strip_prefix('.')?;
    (!name.contains('.')).then(|| name.to_upper_camel_case())
}

/// The path of a message's Rust type, as seen from a package's module.
pub fn rust_type(message: &str, package: &str) -> String {
    if let Some(local) = local(message, package) {
        return local;
    }
    let supers = "super::".repeat(package.split('.').count());
    let mut path: Vec<String> =
        message.trim_start_matches('.').split('.').map(str::to_owned).collect();
    if let Some(last) = path.last_mut() {
        *last = last.to_upper_camel_case();
    }
    format!("{supers}{}", path.join("::"))
}

/// What tonic calls a service's modules, before `_client` and `_server`: an underscore before each
/// capital letter, also within an abbreviation.
pub fn service_module(name: &str) -> String {
    let mut module = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !module.is_empty() {
            module.push('_');
        }
        module.push(letter.to_ascii_lowercase());
    }
    module
}

/// A command's reply of a receipt and at most one id: their names.
pub fn receipt(reply: &DescriptorProto) -> Option<(&str, Option<&str>)> {
    let receipt = field(reply, RECEIPT)?;
    let mut others = reply.field.iter().filter(|field| field.name() != receipt.name());
    let id = others.next();
    let is_id = id.is_none_or(|id| is_string(id) && id.name().ends_with("_id"));
    let fits = is_id && others.next().is_none();
    fits.then(|| (receipt.name(), id.map(|id| id.name())))
}

/// Type of the commands in a request of many: its field `requests`, of a message with options.
pub fn batch<'m>(request: &'m DescriptorProto, messages: &Messages<'_>) -> Option<&'m str> {
    let [requests] = &request.field[..] else { return None };
    let fits = requests.name() == "requests" && is_message(requests) && is_repeated(requests);
    let command = messages.get(requests.type_name()).filter(|_| fits)?;
    field(command, OPTIONS).map(|_| requests.type_name())
}

/// Results of many commands: the field `results`, each a oneof of the command's reply and of the
/// status of an error.
pub struct BatchReply<'m> {
    /// The type of a result.
    pub result: &'m str,
    /// The type of a command's reply.
    pub reply: &'m str,
    /// The module of the oneof.
    pub module: String,
    /// The oneof's type.
    pub oneof: String,
    /// The oneof's field.
    pub field: String,
    /// The variant of a reply.
    pub applied: String,
    /// The variant of an error.
    pub failed: String,
}

/// The reply as results of many commands and their token, if it is that.
pub fn batch_reply<'m>(
    reply: &'m DescriptorProto,
    messages: &Messages<'m>,
) -> Option<BatchReply<'m>> {
    let (results, result) = rows(reply, "token")?;
    let message = messages.get(result).filter(|_| results == "results")?;
    let ([oneof], [applied, failed]) = (&message.oneof_decl[..], &message.field[..]) else {
        return None;
    };
    receipt(messages.get(applied.type_name())?)?;
    let fits = failed.type_name() == RPC_STATUS && applied.oneof_index.is_some();
    fits.then(|| BatchReply {
        result,
        reply: applied.type_name(),
        module: message.name().to_snake_case(),
        oneof: oneof.name().to_upper_camel_case(),
        field: oneof.name().to_snake_case(),
        applied: applied.name().to_upper_camel_case(),
        failed: failed.name().to_upper_camel_case(),
    })
}

/// A reply of one message and the freshness: the field and the type of that message.
pub fn entity(reply: &DescriptorProto) -> Option<(&str, &str)> {
    match fields(reply)[..] {
        [entity] if is_message(entity) && !is_repeated(entity) => {
            Some((entity.name(), entity.type_name()))
        }
        _ => None,
    }
}

/// A reply of many messages, the freshness and the field `beside`: the field and the type of these
/// messages.
pub fn rows<'m>(reply: &'m DescriptorProto, beside: &str) -> Option<(&'m str, &'m str)> {
    let fields = fields(reply);
    let rows = fields.iter().find(|field| is_message(field) && is_repeated(field))?;
    let others = fields.iter().filter(|field| field.name() != rows.name());
    let names: Vec<&str> = others.map(|field| field.name()).collect();
    (names == [beside]).then(|| (rows.name(), rows.type_name()))
}

/// True if the message has a version of its own: a field `uint64 version`.
pub fn has_version(message: &DescriptorProto) -> bool {
    let is = |field: &FieldDescriptorProto| {
        field.name() == "version" && field.r#type() == Type::Uint64 && !is_repeated(field)
    };
    message.field.iter().any(is)
}

/// The field that names the aggregate of a row: its first one, if that is a string.
pub fn id(message: &DescriptorProto) -> Option<&str> {
    message.field.first().filter(|field| is_string(field)).map(|field| field.name())
}

/// A change of a row: a oneof of the row and of the key under which there is none any more.
pub struct Change<'m> {
    /// The type of the row's message.
    pub of: &'m str,
    /// The module of the oneof.
    pub module: String,
    /// The oneof's type.
    pub oneof: String,
    /// The oneof's field.
    pub field: String,
    /// The variant of a row.
    pub there: String,
    /// The variant of a key.
    pub gone: String,
}

/// The message as a change, if it is one.
pub fn change(message: &DescriptorProto) -> Option<Change<'_>> {
    let [oneof] = &message.oneof_decl[..] else { return None };
    let [there, gone] = &message.field[..] else { return None };
    let fits = is_message(there) && is_string(gone) && there.oneof_index.is_some();
    fits.then(|| Change {
        of: there.type_name(),
        module: message.name().to_snake_case(),
        oneof: oneof.name().to_upper_camel_case(),
        field: oneof.name().to_snake_case(),
        there: there.name().to_upper_camel_case(),
        gone: gone.name().to_upper_camel_case(),
    })
}

/// All fields but the freshness.
fn fields(reply: &DescriptorProto) -> Vec<&FieldDescriptorProto> {
    reply.field.iter().filter(|field| field.type_name() != FRESHNESS).collect()
}

fn is_message(field: &FieldDescriptorProto) -> bool {
    field.r#type() == Type::Message
}

fn is_string(field: &FieldDescriptorProto) -> bool {
    field.r#type() == Type::String && !is_repeated(field)
}

fn is_repeated(field: &FieldDescriptorProto) -> bool {
    field.label() == Label::Repeated
}
