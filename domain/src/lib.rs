//! headwater-domain
