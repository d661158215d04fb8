//! What strangers write is read or refused: headers of registries, auth files, settings.

use proptest::prelude::*;
use registry_client::testing::text;

/// Pieces that the grammars know, and some that they do not.
const PIECES: &str = "(Bearer|Basic|realm|scope|=|,|;|\"|\\\\|<|>| |rel|next|https://a/b|\\[|\\]|\\{|\\}|:|auths|auth|registry|mirror|prefix|location|host|server|\n|\\PC){0,40}";

proptest! {
    #[test]
    fn headers(lines in PIECES) {
        let (count, preferred) = text::challenges(&lines);
        prop_assert!(preferred.is_none() || count > 0);
        if let Some(next) = text::next_link(&lines) {
            prop_assert!(lines.contains(&next));
        }
    }

    #[test]
    fn auth_files(bytes in prop_oneof![PIECES.prop_map(String::into_bytes), any::<Vec<u8>>()], auth in "\\PC{0,20}") {
        let _ = text::auth_file(&bytes, "docker.io", "library/debian");
        let json = serde_json::json!({ "auths": { "r.example": { "auth": auth } } }).to_string();
        let _ = text::auth_file(json.as_bytes(), "r.example", "a/b");
    }

    #[test]
    fn settings(file in PIECES, value in "\\PC{0,30}") {
        let reference = "r.example:5000/team/app:1".parse().unwrap();
        let _ = text::settings(&file, &reference);
        let quoted = serde_json::to_string(&value).unwrap();
        for template in [
            "[[registry]]\nprefix = @\n[[registry.mirror]]\nurl = @\n",
            "[[registry]]\nprefix = \"r.example:5000\"\n[[registry.mirror]]\nurl = \"https://m\"\nrepository = @\n",
            "[[registry]]\nlocation = @\n[[registry.mirror]]\nlocation = @\n",
            "server = @\n[host.@]\ncapabilities = [@]\n",
            "{\"registry-mirrors\": [@], \"insecure-registries\": [@]}",
        ] {
            let _ = text::settings(&template.replace('@', &quoted), &reference);
        }
    }
}
