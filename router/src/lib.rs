//! headwater-router
