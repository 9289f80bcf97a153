//! headwater-eventlog
