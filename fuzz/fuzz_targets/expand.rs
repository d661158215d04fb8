//! Any word expands or fails, to one text and to words alike, within its limits; so do mounts and ports.

#![no_main]

use builder::dockerfile::expand::{Scope, expand, expand_for_display, expand_heredoc, expand_words};
use builder::dockerfile::{mount, port, values};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|word: &str| {
    let lookup = |name: &str| match name.len() {
        0 => None,
        1 => Some("a*b/ c\\?é".to_owned()),
        length => (length % 2 == 0).then(String::new),
    };
    let scope = Scope { lookup: &lookup };
    for escape in ['\\', '`'] {
        let one = expand(word, escape, &scope);
        let split = expand_words(word, escape, &scope);
        assert_eq!(one.is_ok(), split.is_ok());
        if let (Ok(one), Ok(split)) = (&one, &split) {
            let length: usize = split.iter().map(String::len).sum();
            assert!(length <= one.text.len(), "words are parts of the text");
        }
        let _ = expand_for_display(word, escape, &scope);
    }
    let _ = expand_heredoc(word, &scope);
    let _ = mount::parse_mount(word);
    let _ = mount::parse_device(word);
    let _ = port::parse_port(word);
    let _ = values::parse_duration(word);
    let _ = values::parse_size(word);
    let cleaned = values::clean_path(word);
    assert_eq!(values::clean_path(&cleaned), cleaned);
});
