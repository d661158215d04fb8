//! Which entry of an index serves a platform.

use layer_store::{Descriptor, Platform};

/// The entry that serves `wanted` best: the nearest platform, and of equals the first. Attestations (`unknown/unknown`)
/// are no images. An entry without a platform serves only where it is the only one.
pub(crate) fn best<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let near = |entry: &&Descriptor| entry.platform.as_ref().and_then(|platform| platform.distance(wanted));
    let nearest = entries
        .iter()
        .filter(|entry| is_image(entry))
        .filter_map(|entry| near(&entry).map(|distance| (distance, entry)))
        .min_by_key(|(distance, _)| *distance);
    match (nearest, entries) {
        (Some((_, entry)), _) => Some(entry),
        (None, [only]) if only.platform.is_none() => Some(only),
        _ => None,
    }
}

/// The platforms that an index has images for.
pub(crate) fn platforms(entries: &[Descriptor]) -> Vec<Platform> {
    entries.iter().filter(|entry| is_image(entry)).filter_map(|entry| entry.platform.clone()).collect()
}

fn is_image(entry: &Descriptor) -> bool {
    entry
        .platform
        .as_ref()
        .is_none_or(|platform| platform.os != "unknown" && platform.architecture != "unknown")
}

#[cfg(test)]
mod tests {
    use layer_store::Digest;

    use super::*;

    #[test]
    fn the_nearest_platform_wins() {
        let check = |entries: &str, wanted: &str, expected: Option<usize>| {
            let list: Vec<Descriptor> = entries
                .split(' ')
                .map(|platform| Descriptor {
                    platform: Some(platform).filter(|text| *text != "-").map(|text| text.parse().unwrap()),
                    ..Descriptor::new("m", Digest::of(platform.as_bytes()), 1)
                })
                .collect();
            let found = best(&list, &wanted.parse().unwrap());
            let found = found.and_then(|found| list.iter().position(|one| std::ptr::eq(one, found)));
            assert_eq!(found, expected, "{entries} for {wanted}");
        };
        check("linux/amd64 linux/arm64", "linux/arm64", Some(1));
        check("linux/arm64/v8 linux/amd64", "linux/arm64", Some(0));
        check("linux/arm/v5 linux/arm/v7 linux/arm/v6", "linux/arm/v7", Some(1));
        check("linux/arm/v5 linux/arm/v6", "linux/arm/v7", Some(1));
        check("linux/arm/v7", "linux/arm/v6", None);
        check("linux/arm/v7 linux/amd64", "linux/arm64", Some(0));
        check("linux/amd64 linux/amd64/v3 linux/amd64/v2", "linux/amd64/v3", Some(1));
        check("linux/amd64 linux/amd64/v2", "linux/amd64/v3", Some(1));
        check("linux/amd64/v3 linux/386", "linux/amd64", Some(1));
        check("linux/amd64 linux/amd64", "linux/amd64", Some(0));
        check("unknown/unknown linux/amd64", "linux/amd64", Some(1));
        check("unknown/unknown", "linux/amd64", None);
        check("windows/amd64 darwin/amd64", "linux/amd64", None);
        check("linux/s390x", "linux/amd64", None);
        check("-", "linux/amd64", Some(0));
        check("- -", "linux/amd64", None);
        check("- linux/amd64", "linux/amd64", Some(1));
    }
}
