//! From a Dockerfile and a context to an image.
