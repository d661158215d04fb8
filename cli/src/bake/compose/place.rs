//! Paths of a file that stands in another directory than where bake runs.

use super::super::markup::{Markup, Node};
use super::super::paths;

/// A service whose build and files of variables have their paths below `base`.
pub(super) fn service(mut node: Node, base: &str) -> Node {
    if base.is_empty() {
        return node;
    }
    let Markup::Map(fields) = &mut node.value else { return node };
    for (_, files) in fields.iter_mut().filter(|(key, _)| key.is("env_file")) {
        let Markup::List(files) = &mut files.value else { continue };
        for file in files {
            match &mut file.value {
                Markup::Map(fields) => {
                    fields
                        .iter_mut()
                        .filter(|(key, _)| key.is("path"))
                        .for_each(|(_, path)| below(path, base));
                }
                _ => below(file, base),
            }
        }
    }
    for (_, build) in fields.iter_mut().filter(|(key, _)| key.is("build")) {
        let text = |text: &str| build.with(Markup::Scalar { text: text.to_owned(), plain: false });
        let usual = (text("context"), text("."));
        let Markup::Map(fields) = &mut build.value else { continue };
        if !fields.iter().any(|(key, _)| key.is("context")) {
            fields.push(usual);
        }
        for (key, value) in fields.iter_mut() {
            if key.is("context") {
                below(value, base);
            } else if key.is("additional_contexts")
                && let Markup::Map(contexts) = &mut value.value
            {
                contexts.iter_mut().for_each(|(_, place)| below(place, base));
            }
        }
    }
    node
}

/// A secret whose file is below `base`.
pub(super) fn secret(mut node: Node, base: &str) -> Node {
    if let Markup::Map(fields) = &mut node.value {
        fields.iter_mut().filter(|(key, _)| key.is("file")).for_each(|(_, file)| below(file, base));
    }
    node
}

/// A path below `base`; what is no path stays.
fn below(node: &mut Node, base: &str) {
    if let Markup::Scalar { text, .. } = &mut node.value {
        let elsewhere = text.contains("://") || paths::is_remote(text);
        let named = ["service:", "target:"].iter().any(|kind| text.starts_with(kind));
        if !base.is_empty() && !elsewhere && !named {
            *text = paths::join(base, text);
        }
    }
}
