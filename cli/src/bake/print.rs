//! `--print`: what would be built, in the JSON of `docker buildx bake --print`.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::entries::Entry;
use super::select::Selection;
use super::target::Target;

/// The groups and targets of a selection.
pub(crate) fn json(selection: &Selection) -> String {
    #[derive(serde::Serialize)]
    struct Printed<'a> {
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        group: &'a BTreeMap<String, super::target::Group>,
        target: &'a BTreeMap<String, Target>,
    }
    let printed = Printed { group: &selection.groups, target: &selection.targets };
    for_html(&serde_json::to_string_pretty(&printed).unwrap_or_default())
}

/// JSON as Go writes it: what HTML would take for its own is escaped. These characters stand in texts only.
pub(crate) fn for_html(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text += &format!("\\u{:04x}", u32::from(character)),
            other => text.push(other),
        }
    }
    text
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut fields = Fields(&mut map);
        fields.some("description", self.description.as_ref())?;
        fields.list("annotations", &self.annotations.iter().map(|text| escaped(text)).collect::<Vec<_>>())?;
        fields.list("attest", &self.attest.iter().map(attestation).collect::<Vec<_>>())?;
        fields.some("context", self.context.as_ref())?;
        fields.map("contexts", &self.contexts)?;
        fields.some("dockerfile", self.dockerfile.as_ref())?;
        fields.some("dockerfile-inline", self.dockerfile_inline.as_deref().map(escaped).as_ref())?;
        fields.map("args", &escaped_all(&self.args))?;
        fields.map("labels", &escaped_all(&self.labels))?;
        fields.list("tags", self.tags.as_deref().unwrap_or_default())?;
        fields.list("cache-from", &self.cache_from)?;
        fields.list("cache-to", self.cache_to.as_deref().unwrap_or_default())?;
        fields.some("target", self.target.as_ref())?;
        fields.list("secret", &self.secrets)?;
        fields.list("ssh", &self.ssh)?;
        fields.list("platforms", self.platforms.as_deref().unwrap_or_default())?;
        fields.list("output", self.outputs.as_deref().unwrap_or_default())?;
        fields.some("pull", self.pull.as_ref())?;
        fields.some("no-cache", self.no_cache.as_ref())?;
        fields.some("network", self.network.as_ref())?;
        fields.list("no-cache-filter", &self.no_cache_filter)?;
        fields.some("shm-size", self.shm_size.as_ref())?;
        fields.list("ulimits", &self.ulimits)?;
        fields.some("resources", self.resources.as_ref())?;
        fields.some("call", self.call.as_ref())?;
        fields.list("entitlements", &self.entitlements)?;
        fields.map("extra-hosts", &escaped_all(&self.extra_hosts))?;
        fields.some("policy", self.policy.as_ref())?;
        map.end()
    }
}

/// Writes the fields that say something.
struct Fields<'a, M>(&'a mut M);

impl<M: SerializeMap> Fields<'_, M> {
    fn some<T: Serialize>(&mut self, name: &str, value: Option<&T>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.0.serialize_entry(name, value))
    }

    fn list<T: Serialize>(&mut self, name: &str, values: &[T]) -> Result<(), M::Error> {
        self.some(name, Some(&values).filter(|values| !values.is_empty()))
    }

    fn map(&mut self, name: &str, values: &BTreeMap<String, String>) -> Result<(), M::Error> {
        self.some(name, Some(values).filter(|values| !values.is_empty()))
    }
}

/// An attestation says with a bool that it is not wanted.
fn attestation(entry: &Entry) -> serde_json::Map<String, serde_json::Value> {
    let value = |key: &str, text: &str| match (key, text) {
        ("disabled", text) => {
            serde_json::Value::Bool(matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"))
        }
        (_, text) => text.into(),
    };
    let fields = entry.iter().map(|(key, text)| (key.clone(), value(key, text)));
    fields.filter(|(_, value)| *value != serde_json::Value::Bool(false)).collect()
}

/// A text that can stand in a bake file and mean itself.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn escaped_all(texts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    texts.iter().map(|(name, text)| (name.clone(), escaped(text))).collect()
}
