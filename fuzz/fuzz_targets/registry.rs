//! What registries answer and people configure: challenges, `Link` headers, references, auth files and settings of all
//! formats. The first line is a reference, which a plan of the rest as settings is made for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use registry_client::Reference;
use registry_client::testing::text;

fuzz_target!(|text: &str| {
    let (name, rest) = text.split_once('\n').unwrap_or((text, ""));
    let reference = Reference::parse(name);
    if let Ok(reference) = &reference {
        let again = Reference::parse(&reference.canonical()).unwrap();
        assert_eq!(again.canonical(), reference.canonical());
        let familiar = Reference::parse(&reference.familiar()).unwrap();
        assert_eq!(familiar.name(), reference.name());
    }
    let reference = reference.unwrap_or_else(|_| Reference::parse("registry.example/a:1").unwrap());
    let (count, preferred) = text::challenges(text);
    assert!(count > 0 || preferred.is_none());
    if let Some(next) = text::next_link(rest) {
        assert!(!next.contains(['\r', '\n']));
    }
    let _ = text::auth_file(rest.as_bytes(), reference.domain(), reference.repository());
    let _ = text::settings(rest, &reference);
});
