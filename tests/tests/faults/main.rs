//! Everything that goes wrong: stories of one fault each, and histories of many clients under many
//! faults. One program, since linking is what takes the time.

mod machine;

mod history;
mod stories;

mod scenarios;
