//! Whether the result of a step is known: in the store first, then in the shared caches.

use layer_store::Digest;

use super::Solver;
use super::record::{self, StepRecord};
use crate::cache::Offer;
use crate::error::Result;
use crate::explain::Verdict;
use crate::graph::{CopySource, Node, Op};
use crate::task;

/// What looking for a step's result gave.
#[derive(Debug, Clone)]
pub(super) enum Lookup {
    /// It is known.
    Known {
        /// The result.
        record: StepRecord,
        /// The shared cache that it is from; `None` for the store.
        from: Option<String>,
    },
    /// It is not, or must not be used; never [`Verdict::Hit`].
    Unknown(Verdict),
}

impl Solver {
    /// Looks for the result of a step. Costs one small read where the store has it; shared caches are asked otherwise.
    pub(super) async fn look_up(&self, node: &Node, key: Digest) -> Result<Lookup> {
        let inner = &self.inner;
        if node.no_cache {
            return Ok(Lookup::Unknown(Verdict::Refused));
        }
        let store = inner.around.store.clone();
        let (record, here) = task::blocking(move || {
            let record = record::read(&store, &key)?;
            let here = record
                .as_ref()
                .is_some_and(|record| store.has_layer(&record.diff_id) && store.has_bytes(&record.diff_id));
            if here {
                store.used_record(record::SPACE, &key);
            }
            Ok((record, here))
        })
        .await?;
        let mut verdict = Verdict::Miss;
        match record {
            Some(record) if self.expired(node, &record) => {
                verdict = Verdict::Expired { created: record.created };
            }
            Some(record) if here => return Ok(Lookup::Known { record, from: None }),
            Some(_) => verdict = Verdict::Lost,
            None => {}
        }
        match self.look_up_shared(node, &key).await? {
            Some(known) => Ok(known),
            None => Ok(Lookup::Unknown(verdict)),
        }
    }

    /// Asks the shared caches. The layer is only offered: it comes when something needs it.
    async fn look_up_shared(&self, node: &Node, key: &Digest) -> Result<Option<Lookup>> {
        let Some(shared) = &self.inner.around.shared else { return Ok(None) };
        let Some(offer) = shared.find(key).await else { return Ok(None) };
        let Offer { place, record, .. } = offer.clone();
        let (diff_id, created, name) = (record.diff_id, record.created, record.name);
        let record = StepRecord { diff_id, created, name, shared: true };
        // A time is read again when history is made of it.
        if record.created.parse::<jiff::Timestamp>().is_err() || self.expired(node, &record) {
            return Ok(None);
        }
        self.inner.layers.offer(offer);
        Ok(Some(Lookup::Known { record, from: Some(place.to_string()) }))
    }

    /// Whether a record is older than this build allows. What a COPY makes of files is as good as on its first day; a
    /// command, or what came from elsewhere, may give something else today.
    fn expired(&self, node: &Node, record: &StepRecord) -> bool {
        let Some(ttl) = self.inner.around.cache_ttl else { return false };
        let ages = match &node.op {
            Op::Exec(_) => true,
            Op::Copy(copy) => copy
                .sources
                .iter()
                .any(|source| matches!(source, CopySource::Url { .. } | CopySource::Git(_))),
            Op::Scratch | Op::Image(_) | Op::Workdir(_) => false,
        };
        let Ok(created) = record.created.parse::<jiff::Timestamp>() else { return ages };
        let age = jiff::Timestamp::now().duration_since(created);
        ages && age.unsigned_abs() > ttl
    }
}
