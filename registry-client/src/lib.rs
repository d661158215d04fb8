//! The distribution protocol: references, hosts and mirrors, credentials, tokens, transfers.
