//! `.dockerignore`: which files of a context a build may see.
