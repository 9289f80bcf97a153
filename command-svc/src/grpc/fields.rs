//! From the fields of requests to the domain's values. Every mistake is recorded, with the field's
//! name.

use headwater_chassis::{Failure, Violations};
use headwater_domain::values::{
    AMOUNT_MAX, Currency, EMAIL_BYTES_MAX, Email, Money, QUANTITY_MAX, Quantity, SKU_LEN_MAX, Sku,
};
use headwater_proto::headwater::v1::CommandOptions;
use headwater_proto::stores::v1 as stores;
use headwater_proto::users::v1 as users;
use prost_types::Timestamp;
use time::{Duration, OffsetDateTime};
use tonic::Request;
use uuid::Uuid;

use crate::call::Envelope;

/// Characters of a name or a reason at most.
pub(super) const TEXT_LEN_MAX: usize = 200;

/// Characters of a city's name at most.
pub(super) const CITY_LEN_MAX: usize = 100;

/// A request that is a command.
pub(super) trait CommandRequest: prost::Message {
    /// Full name of its method: with the message it is what an idempotency key stands for.
    const METHOD: &'static str;

    /// Takes the options out, so that the rest is the payload.
    fn take_options(&mut self) -> Option<CommandOptions>;
}

macro_rules! command_requests {
    ($($request:ty => $method:literal,)*) => {
        $(impl CommandRequest for $request {
            const METHOD: &'static str = $method;

            fn take_options(&mut self) -> Option<CommandOptions> {
                self.options.take()
            }
        })*

        /// Every method above.
        #[cfg(test)]
        const METHODS: &[&str] = &[$($method),*];
    };
}

command_requests! {
    stores::OpenStoreRequest => "stores.v1.StoreCommandService/OpenStore",
    stores::RenameStoreRequest => "stores.v1.StoreCommandService/RenameStore",
    stores::RelocateStoreRequest => "stores.v1.StoreCommandService/RelocateStore",
    stores::AssignManagerRequest => "stores.v1.StoreCommandService/AssignManager",
    stores::RemoveManagerRequest => "stores.v1.StoreCommandService/RemoveManager",
    stores::CloseStoreRequest => "stores.v1.StoreCommandService/CloseStore",
    stores::ListItemRequest => "stores.v1.StockCommandService/ListItem",
    stores::RepriceItemRequest => "stores.v1.StockCommandService/RepriceItem",
    stores::ReceiveStockRequest => "stores.v1.StockCommandService/ReceiveStock",
    stores::RecordSaleRequest => "stores.v1.StockCommandService/RecordSale",
    stores::AdjustStockRequest => "stores.v1.StockCommandService/AdjustStock",
    stores::DelistItemRequest => "stores.v1.StockCommandService/DelistItem",
    users::RegisterUserRequest => "users.v1.UserCommandService/RegisterUser",
    users::RenameUserRequest => "users.v1.UserCommandService/RenameUser",
    users::ChangeEmailRequest => "users.v1.UserCommandService/ChangeEmail",
    users::DeactivateUserRequest => "users.v1.UserCommandService/DeactivateUser",
}

/// Reads a request: its options and metadata, and what `fields` makes of the rest.
///
/// # Errors
/// Malformed options, or every violation that `fields` recorded.
pub(super) fn read<M: CommandRequest, T>(
    request: Request<M>,
    fields: impl FnOnce(&M, &mut Violations) -> Option<T>,
) -> Result<(Envelope, T), Failure> {
    let (metadata, _, mut message) = request.into_parts();
    let options = message.take_options();
    let envelope = Envelope::read(&metadata, options, M::METHOD, &message)?;
    let mut violations = Violations::new();
    let value = fields(&message, &mut violations);
    Ok((envelope, violations.finish(value)?))
}

/// The id of something new: the client's, or a time-ordered one where it leaves that to us. A
/// repeated command with an idempotency key mints another one in vain: it is answered with the
/// first one's.
pub(super) fn new_id(v: &mut Violations, field: &str, text: &str) -> Option<Uuid> {
    if text.is_empty() { Some(Uuid::now_v7()) } else { v.uuid(field, text) }
}

/// See [`Currency::parse`].
pub(super) fn currency(v: &mut Violations, field: &str, code: &str) -> Option<Currency> {
    let description = "must be an ISO 4217 code: three capital letters, such as EUR";
    recorded(v, field, description, Currency::parse(code))
}

/// See [`Email::parse`].
pub(super) fn email(v: &mut Violations, field: &str, text: &str) -> Option<Email> {
    let description = format!(
        "must be an e-mail address of at most {EMAIL_BYTES_MAX} bytes, with one @ and no spaces"
    );
    recorded(v, field, &description, Email::parse(text))
}

/// See [`Sku::parse`].
pub(super) fn sku(v: &mut Violations, field: &str, text: &str) -> Option<Sku> {
    let description = format!("must be 1 to {SKU_LEN_MAX} printable ASCII characters");
    recorded(v, field, &description, Sku::parse(text))
}

/// See [`Quantity::new`].
pub(super) fn quantity(v: &mut Violations, field: &str, units: i64) -> Option<Quantity> {
    let description = format!("must be from 1 to {QUANTITY_MAX}, not {units}");
    recorded(v, field, &description, Quantity::new(units))
}

/// See [`Money::new`].
pub(super) fn money(
    v: &mut Violations,
    field: &str,
    money: Option<&stores::Money>,
) -> Option<Money> {
    let money = v.required(field, money)?;
    let code = currency(v, &format!("{field}.currency"), &money.currency);
    let amount = v.number(&format!("{field}.minor_units"), money.minor_units, 0..=AMOUNT_MAX);
    Money::new(code?, amount?)
}

/// A time from year 1 to 9999, as `google.protobuf.Timestamp` has it. `Some(None)` if it was left
/// out.
pub(super) fn time(
    v: &mut Violations,
    field: &str,
    time: Option<Timestamp>,
) -> Option<Option<OffsetDateTime>> {
    let Some(Timestamp { seconds, nanos }) = time else { return Some(None) };
    let time = OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .filter(|time| (1..=9999).contains(&time.year()) && (0..1_000_000_000).contains(&nanos))
        .map(|time| time + Duration::nanoseconds(nanos.into()));
    recorded(v, field, "must be a time from year 1 to 9999", time).map(Some)
}

fn recorded<T>(v: &mut Violations, field: &str, description: &str, value: Option<T>) -> Option<T> {
    v.check(value.is_some(), field, description)?;
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use prost_types::method_options::IdempotencyLevel;

    use super::*;

    #[test]
    fn every_command_of_the_contract_has_its_own_name() {
        let files = FileDescriptorSet::decode(headwater_proto::FILE_DESCRIPTOR_SET).expect("ours");
        let mut commands = BTreeSet::new();
        for file in &files.file {
            for service in &file.service {
                let of_service = format!("{}.{}", file.package(), service.name());
                let command = |m: &&prost_types::MethodDescriptorProto| {
                    m.options.as_ref().map(|options| options.idempotency_level())
                        != Some(IdempotencyLevel::NoSideEffects)
                };
                let names = service.method.iter().filter(command).map(|m| m.name());
                commands.extend(names.map(|name| format!("{of_service}/{name}")));
            }
        }
        assert_eq!(METHODS.iter().map(|m| (*m).to_owned()).collect::<BTreeSet<_>>(), commands);
    }

    fn check<T>(right: bool, parse: impl FnOnce(&mut Violations) -> Option<T>) {
        let mut violations = Violations::new();
        let value = parse(&mut violations);
        assert_eq!(value.is_some(), right);
        assert_eq!(violations.finish(Some(())).is_ok(), right, "a missing value is a violation");
    }

    #[test]
    fn a_value_or_a_violation() {
        check(true, |v| new_id(v, "id", ""));
        check(true, |v| new_id(v, "id", "0198c1c6-4d2e-7e4f-9f0c-5b1f6f3f2a10"));
        check(false, |v| new_id(v, "id", "7"));
        check(true, |v| currency(v, "currency", "EUR"));
        check(false, |v| currency(v, "currency", "eur"));
        check(true, |v| email(v, "email", "Ada@example.org"));
        check(false, |v| email(v, "email", "ada"));
        check(true, |v| sku(v, "sku", "A-1"));
        check(false, |v| sku(v, "sku", ""));
        check(true, |v| quantity(v, "quantity", 1));
        check(false, |v| quantity(v, "quantity", 0));
    }

    #[test]
    fn money_is_whole() {
        let of = |currency: &str, minor_units| stores::Money {
            currency: currency.to_owned(),
            minor_units,
        };
        check(true, |v| money(v, "price", Some(&of("EUR", 0))));
        check(true, |v| money(v, "price", Some(&of("EUR", AMOUNT_MAX))));
        check(false, |v| money(v, "price", Some(&of("EUR", AMOUNT_MAX + 1))));
        check(false, |v| money(v, "price", Some(&of("EUR", -1))));
        check(false, |v| money(v, "price", Some(&of("", 1))));
        check(false, |v| money(v, "price", None));
    }

    #[test]
    fn times_are_those_of_the_wire_type() {
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        check(true, |v| time(v, "sold_time", None));
        check(true, |v| time(v, "sold_time", at(0, 999_999_999)));
        check(true, |v| time(v, "sold_time", at(-62_135_596_800, 0)));
        check(false, |v| time(v, "sold_time", at(-62_135_596_801, 0)));
        check(true, |v| time(v, "sold_time", at(253_402_300_799, 0)));
        check(false, |v| time(v, "sold_time", at(253_402_300_800, 0)));
        check(false, |v| time(v, "sold_time", at(i64::MAX, 0)));
        check(false, |v| time(v, "sold_time", at(0, -1)));
        check(false, |v| time(v, "sold_time", at(0, 1_000_000_000)));
    }
}
