//! From descriptors to the implementations that adapters need. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use prost_types::method_options::IdempotencyLevel;
use prost_types::{DescriptorProto, FileDescriptorSet, MethodDescriptorProto};

use crate::shapes::{self, CONSISTENCY, FRESHNESS, Messages, OPTIONS, WATCH_OPTIONS, field, local};
use crate::text::{self, filled};

/// The code of each package, by its name; none of the platform's.
///
/// # Errors
/// A request message that belongs to two methods, or to another package than its method.
pub fn of(set: &FileDescriptorSet) -> anyhow::Result<BTreeMap<String, String>> {
    let mut generator =
        Generator { messages: shapes::messages(set), done: BTreeSet::new(), code: BTreeMap::new() };
    for file in set.file.iter().filter(|file| file.package() != "headwater.v1") {
        for service in &file.service {
            generator.service(file.package(), service.name());
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                generator.method(&name, file.package(), method)?;
            }
        }
    }
    Ok(generator.code)
}

struct Generator<'s> {
    messages: Messages<'s>,
    /// Messages, and the traits that they have by now.
    done: BTreeSet<(String, &'static str)>,
    code: BTreeMap<String, String>,
}

impl<'s> Generator<'s> {
    fn service(&mut self, package: &str, name: &str) {
        let module = shapes::service_module(name);
        let written = filled(text::SERVICE, name, &[("module", &module)]);
        self.code.entry(package.to_owned()).or_default().push_str(&written);
    }

    fn method(
        &mut self,
        name: &str,
        package: &str,
        method: &MethodDescriptorProto,
    ) -> anyhow::Result<()> {
        let is_query = method.options.as_ref().map(|options| options.idempotency_level())
            == Some(IdempotencyLevel::NoSideEffects);
        let (marker, template) = match is_query {
            true => (CONSISTENCY, text::QUERY),
            false => (OPTIONS, text::COMMAND),
        };
        let Some(request) = self.messages.get(method.input_type()).copied() else { return Ok(()) };
        if let Some(field) = field(request, marker) {
            ensure!(
                local(method.input_type(), package).is_some(),
                "{name}: its request {} must stand in the package {package}",
                method.input_type()
            );
            ensure!(
                !self.done.contains(&(method.input_type().to_owned(), template)),
                "{name}: {} is the request of another method, too; give each method its own",
                method.input_type()
            );
            let fill = [("method", name), ("field", field.name())];
            self.write(package, method.input_type(), template, &fill);
            self.shape_of_request(package, method.input_type(), request);
        }
        if !is_query {
            self.batch(name, package, method)?;
        }
        self.reply(package, method.output_type());
        Ok(())
    }

    /// A request of many commands, and its reply.
    fn batch(
        &mut self,
        name: &str,
        package: &str,
        method: &MethodDescriptorProto,
    ) -> anyhow::Result<()> {
        let find = |message: &str| self.messages.get(message).copied();
        let (Some(request), Some(reply)) = (find(method.input_type()), find(method.output_type()))
        else {
            return Ok(());
        };
        let Some(of) = shapes::batch(request, &self.messages) else { return Ok(()) };
        let Some(results) = shapes::batch_reply(reply, &self.messages) else {
            bail!(
                "{name}: a request of many commands is answered by `results`, each a oneof of the \
                 command's response and of google.rpc.Status, and a string `token`"
            );
        };
        let command = shapes::rust_type(of, package);
        self.write(package, method.input_type(), text::COMMAND_BATCH, &[("of", &command)]);
        let reply = shapes::rust_type(results.reply, package);
        let result = shapes::rust_type(results.result, package);
        let fill = [
            ("of", &*reply),
            ("result", &*result),
            ("field", &*results.field),
            ("module", &*results.module),
            ("oneof", &*results.oneof),
            ("applied", &*results.applied),
            ("failed", &*results.failed),
        ];
        self.write(package, method.output_type(), text::COMMAND_BATCH_REPLY, &fill);
        Ok(())
    }

    fn shape_of_request(&mut self, package: &str, name: &str, request: &DescriptorProto) {
        let has = |wanted: &str| request.field.iter().any(|field| field.name() == wanted);
        if has("page_size") && has("page_token") {
            self.write(package, name, text::LIST_REQUEST, &[]);
        }
        if let Some(options) = field(request, WATCH_OPTIONS) {
            self.write(package, name, text::WATCH_REQUEST, &[("field", options.name())]);
        }
    }

    fn reply(&mut self, package: &str, name: &str) {
        let Some(reply) = self.messages.get(name).copied() else { return };
        if let Some((receipt, id)) = shapes::receipt(reply) {
            let id = id.map(|id| format!("{id}: stream.to_string(), ")).unwrap_or_default();
            self.write(package, name, text::COMMAND_REPLY, &[("field", receipt), ("id", &id)]);
        }
        let Some(freshness) = field(reply, FRESHNESS) else { return };
        let freshness = freshness.name();
        self.write(package, name, text::REPLY, &[("field", freshness)]);
        if let Some((entity, of)) = shapes::entity(reply) {
            self.entity(package, of);
            let of = shapes::rust_type(of, package);
            let fill = [("field", freshness), ("entity", entity), ("of", &of)];
            self.write(package, name, text::ENTITY_REPLY, &fill);
        }
        for (shape, template) in
            [("missing_ids", text::BATCH_REPLY), ("next_page_token", text::LIST_REPLY)]
        {
            if let Some((rows, of)) = shapes::rows(reply, shape) {
                self.entity(package, of);
                let of = shapes::rust_type(of, package);
                self.write(package, name, template, &[("rows", rows), ("of", &of)]);
            }
        }
        if let Some((changes, of)) = shapes::rows(reply, "resume_token") {
            let of = of.to_owned();
            self.change(package, &of);
            let of = shapes::rust_type(&of, package);
            let fill = [("field", freshness), ("changes", changes), ("of", &of)];
            self.write(package, name, text::WATCH_REPLY, &fill);
        }
    }

    fn change(&mut self, package: &str, name: &str) {
        let Some(change) = self.messages.get(name).and_then(|change| shapes::change(change)) else {
            return;
        };
        self.entity(package, change.of);
        let of = shapes::rust_type(change.of, package);
        let fill = [
            ("oneof", &*change.oneof),
            ("module", &*change.module),
            ("there", &*change.there),
            ("gone", &*change.gone),
            ("field", &*change.field),
            ("of", &*of),
        ];
        self.write(package, name, text::CHANGE, &fill);
    }

    /// A message that stands for a row: its id, and whether it has a version of its own.
    fn entity(&mut self, package: &str, name: &str) {
        let Some(message) = self.messages.get(name) else { return };
        let version = match shapes::has_version(message) {
            true => "::core::option::Option::Some(self.version)",
            false => "::core::option::Option::None",
        };
        let id = match shapes::id(message) {
            Some(field) => format!("::headwater_edge::Uuid::try_parse(&self.{field}).ok()"),
            None => "::core::option::Option::None".to_owned(),
        };
        self.write(package, name, text::ENTITY, &[("version", version), ("id", &id)]);
    }

    /// Implements a trait for a message, once; messages of other packages are left to these.
    fn write(
        &mut self,
        package: &str,
        message: &str,
        template: &'static str,
        fill: &[(&str, &str)],
    ) {
        let Some(local) = local(message, package) else { return };
        if self.done.insert((message.to_owned(), template)) {
            let written = filled(template, &local, fill);
            self.code.entry(package.to_owned()).or_default().push_str(&written);
        }
    }
}
