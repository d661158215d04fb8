//! Rules about Dockerfiles that build and should not be written so.
