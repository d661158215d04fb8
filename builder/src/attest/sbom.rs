//! A bill of materials: SPDX 2.3 in JSON.

use layer_store::ImageConfig;
use layer_store::digest::Hasher;
use serde_json::{Value, json};

use super::packages::{Found, Package};

/// What SPDX says where nothing is known.
const NO_ASSERTION: &str = "NOASSERTION";

/// The document about an image of that name. The same image, name and time give the same bytes.
pub(super) fn document(found: &Found, config: &ImageConfig, name: &str, created: &str) -> Value {
    let layers = || config.rootfs.diff_ids.iter();
    let mut hasher = Hasher::default();
    hasher.field("sbom").field(name).field(created);
    for layer in layers() {
        hasher.field(layer.as_bytes());
    }
    let unique = hasher.finish().hex();
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "comment": format!(
            "layers: {}",
            layers().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    })];
    let mut relationships = vec![related("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")];
    for package in &found.packages {
        let id = identity(package);
        relationships.push(related("SPDXRef-Image", "CONTAINS", &id));
        packages.push(entry(package, &id));
    }
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/rbuild-{unique}"),
        "creationInfo": {
            "created": created,
            "creators": [format!("Tool: rbuild-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    });
    let distribution = Some(&found.distribution).filter(|name| !name.is_empty());
    let comments = distribution.map(|name| format!("distribution: {name}"));
    let comments: Vec<String> = comments.into_iter().chain(found.unread.iter().cloned()).collect();
    if !comments.is_empty() {
        document["comment"] = json!(comments.join("; "));
    }
    document
}

fn entry(package: &Package, id: &str) -> Value {
    let mut entry = json!({
        "SPDXID": id,
        "name": package.name,
        "versionInfo": package.version,
        "supplier": supplier(&package.maintainer),
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "sourceInfo": format!("listed in {}", package.listed_in),
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": package.purl,
        }],
    });
    if package.home.contains("://") {
        entry["homepage"] = json!(package.home);
    }
    // Not every distribution writes SPDX expressions, and a wrong one would spoil the document.
    if !package.licence.is_empty() {
        entry["licenseComments"] = json!(format!("the package says: {}", package.licence));
    }
    entry
}

/// `Person: NAME (MAIL)`, as SPDX writes it.
fn supplier(maintainer: &str) -> String {
    match maintainer.split_once('<') {
        Some((name, mail)) if !name.trim().is_empty() => {
            format!("Person: {} ({})", name.trim(), mail.trim().trim_end_matches('>'))
        }
        _ if maintainer.trim().is_empty() => NO_ASSERTION.to_owned(),
        _ => format!("Person: {}", maintainer.trim()),
    }
}

/// An identifier of letters, digits, dots and hyphens; the package URL makes it unique.
fn identity(package: &Package) -> String {
    let name: String =
        package.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let mut hasher = Hasher::default();
    hasher.field(&package.purl);
    format!("SPDXRef-Package-{name}-{}", &hasher.finish().hex()[..16])
}

fn related(one: &str, how: &str, other: &str) -> Value {
    json!({"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_what_the_specification_requires() {
        let package = Package {
            name: "libstdc++6".to_owned(),
            version: "12".to_owned(),
            purl: "pkg:deb/debian/libstdc%2B%2B6@12".to_owned(),
            maintainer: "A B <a@b>".to_owned(),
            home: "https://gcc.gnu.org/".to_owned(),
            licence: "GPL".to_owned(),
            listed_in: "/var/lib/dpkg/status".to_owned(),
        };
        let found = Found { packages: vec![package], ..Found::default() };
        let config = ImageConfig::default();
        let document = || document(&found, &config, "app:1.0", "1970-01-01T00:00:01Z");
        let value = document();
        assert_eq!(value, document());
        for field in ["spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"] {
            assert!(!value[field].is_null(), "{field}");
        }
        let packages = value["packages"].as_array().unwrap();
        for package in packages {
            for field in ["SPDXID", "name", "downloadLocation"] {
                assert!(package[field].is_string(), "{field}");
            }
            let id = package["SPDXID"].as_str().unwrap().strip_prefix("SPDXRef-").unwrap();
            assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{id}");
        }
        assert_eq!(packages[1]["supplier"], "Person: A B (a@b)");
        assert_eq!(value["relationships"][1]["relatedSpdxElement"], packages[1]["SPDXID"]);
    }
}
