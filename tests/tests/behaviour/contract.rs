//! Promises to those who build on Headwater: the wire, its errors, clients in other languages, and
//! the page on a domain of one's own.

mod clients;
mod compat;
mod errors;
mod your_own_domain;
