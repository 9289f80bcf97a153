//! headwater-command-svc
