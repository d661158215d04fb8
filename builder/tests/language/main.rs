//! The Dockerfile language and the ignore file, against data.

mod corpora;
mod hostile;
mod ignore;
mod lint;
mod parse;
mod peers;
mod properties;
mod summary;
