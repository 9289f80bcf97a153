//! headwater-chassis
