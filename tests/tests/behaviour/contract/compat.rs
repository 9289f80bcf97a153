//! The contract keeps its promises: whatever was released still means the same on the wire.
//!
//! `fixtures/contract_v1.binpb` is the descriptor set as of the last release, without comments.
//! Today's must still hold every message, field, enum value, service and method of it, unchanged.
//! Additions are free. With a release, freeze what was added:
//!
//! ```text
//! HEADWATER_REGENERATE=1 cargo test -p headwater-tests --test behaviour compat
//! ```
//! That a change breaks clients is no reason to do so: give the new meaning a new name or number,
//! or a package `v2` beside `v1`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use headwater_domain_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto,
};

/// Full name of everything in a contract, and what clients rely on about it.
type Facts = BTreeMap<String, String>;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/contract_v1.binpb")
}

/// Our files of today's contract.
fn today() -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    set.file.retain(|file| !file.package().starts_with("google."));
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    set
}

#[test]
fn what_was_released_still_holds() {
    if std::env::var_os("HEADWATER_REGENERATE").is_some() {
        std::fs::write(fixture(), today().encode_to_vec()).expect("a fixture");
    }
    let frozen = std::fs::read(fixture()).expect("the fixture");
    let frozen = FileDescriptorSet::decode(frozen.as_slice()).expect("a descriptor set");
    assert!(facts(&frozen).len() > 250, "this is not the whole contract");
    let broken = broken(&facts(&frozen), &facts(&today()));
    assert!(broken.is_empty(), "breaks clients:\n{}", broken.join("\n"));
}

/// What is gone or means something else.
fn broken(frozen: &Facts, today: &Facts) -> Vec<String> {
    let changed = frozen.iter().filter(|(name, fact)| today.get(*name) != Some(fact));
    changed
        .map(|(name, was)| match today.get(name) {
            Some(is) => format!("{name} was `{was}` and is now `{is}`"),
            None => format!("{name} (`{was}`) is gone"),
        })
        .collect()
}

fn facts(set: &FileDescriptorSet) -> Facts {
    let mut facts = Facts::new();
    set.file.iter().for_each(|file| add_file(file, &mut facts));
    facts
}

fn add_file(file: &FileDescriptorProto, facts: &mut Facts) {
    let package = file.package();
    file.message_type.iter().for_each(|message| add_message(package, message, facts));
    file.enum_type.iter().for_each(|kind| add_enum(package, kind, facts));
    for service in &file.service {
        let name = format!("{package}.{}", service.name());
        for method in &service.method {
            facts.insert(format!("{name}/{}", method.name()), method_fact(method));
        }
        facts.insert(name, "service".to_owned());
    }
}

fn add_message(parent: &str, message: &DescriptorProto, facts: &mut Facts) {
    let name = format!("{parent}.{}", message.name());
    for field in &message.field {
        facts.insert(format!("{name}.{}", field.name()), field_fact(message, field));
    }
    message.nested_type.iter().for_each(|nested| add_message(&name, nested, facts));
    message.enum_type.iter().for_each(|nested| add_enum(&name, nested, facts));
    facts.insert(name, "message".to_owned());
}

fn add_enum(parent: &str, kind: &EnumDescriptorProto, facts: &mut Facts) {
    let name = format!("{parent}.{}", kind.name());
    for value in &kind.value {
        facts.insert(format!("{name}.{}", value.name()), format!("= {}", value.number()));
    }
    facts.insert(name, "enum".to_owned());
}

/// Number, type and presence; the oneof too, since what excludes what is part of the meaning.
fn field_fact(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let oneof = field.oneof_index.and_then(|index| message.oneof_decl.get(index as usize));
    let oneof = oneof.filter(|_| !field.proto3_optional()).map(|oneof| oneof.name());
    format!(
        "{:?} {:?} {} = {} json {} optional {} oneof {}",
        field.label(),
        field.r#type(),
        field.type_name(),
        field.number(),
        field.json_name(),
        field.proto3_optional(),
        oneof.unwrap_or("none"),
    )
}

/// Messages, streams, and what the router goes by.
fn method_fact(method: &MethodDescriptorProto) -> String {
    let level = method.options.as_ref().map(|options| options.idempotency_level());
    format!(
        "{} (stream {}) -> {} (stream {}), {:?}",
        method.input_type(),
        method.client_streaming(),
        method.output_type(),
        method.server_streaming(),
        level.unwrap_or_default(),
    )
}

/// What a change to today's contract would break.
fn breaks(change: fn(&mut FileDescriptorProto)) -> Vec<String> {
    let mut changed = today();
    let users = "users/v1/users.proto";
    change(changed.file.iter_mut().find(|file| file.name() == users).expect("the users"));
    broken(&facts(&today()), &facts(&changed))
}

#[test]
fn additions_break_nothing() {
    let added = |file: &mut FileDescriptorProto| {
        let mut field = file.message_type[0].field[0].clone();
        (field.name, field.number) = (Some("nickname".to_owned()), Some(99));
        file.message_type[0].field.push(field);
        let mut message = file.message_type[0].clone();
        message.name = Some("Group".to_owned());
        file.message_type.push(message);
    };
    assert_eq!(breaks(added), Vec::<String>::new());
}

#[test]
fn every_kind_of_break_is_found() {
    let check = |what: &str, change: fn(&mut FileDescriptorProto)| {
        let found = breaks(change);
        assert!(found.iter().any(|broken| broken.starts_with(what)), "{what}: {found:?}");
    };
    check("users.v1.User (`message`) is gone", |file| drop(file.message_type.remove(0)));
    check("users.v1.User.email (", |file| drop(file.message_type[0].field.remove(1)));
    check("users.v1.User.email was", |file| file.message_type[0].field[1].number = Some(7));
    check("users.v1.User.email was", |file| {
        file.message_type[0].field[1].set_type(Type::Bytes);
    });
    check("users.v1.User.email was", |file| {
        file.message_type[0].field[1].set_label(Label::Repeated);
    });
    check("users.v1.User.email was", |file| {
        file.message_type[0].field[1].proto3_optional = Some(true);
    });
    check("users.v1.UserStatus.USER_STATUS_ACTIVE was", |file| {
        file.enum_type[0].value[1].number = Some(3);
    });
    check("users.v1.UserStatus (", |file| drop(file.enum_type.remove(0)));
    check("users.v1.UserCommandService (", |file| drop(file.service.remove(0)));
    check("users.v1.UserCommandService/RegisterUser (", |file| {
        drop(file.service[0].method.remove(0));
    });
    check("users.v1.UserCommandService/RegisterUser was", |file| {
        file.service[0].method[0].output_type = Some(".users.v1.User".to_owned());
    });
    check("users.v1.UserQueryService/GetUser was", |file| {
        file.service[1].method[0].options = None;
    });
    check("users.v1.UserQueryService/GetUser was", |file| {
        file.service[1].method[0].server_streaming = Some(true);
    });
}
