//! headwater-query-svc
