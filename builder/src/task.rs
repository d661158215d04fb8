//! Work that goes on whoever waits for it.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::task::JoinError;

use crate::error::{Error, Result};

/// The end of work that several wait for.
pub(crate) type Awaited<T> = Shared<BoxFuture<'static, Result<T>>>;

/// Starts work as a task of its own, whose end any number may wait for. It goes on when nobody does: work that stood
/// still there would keep its locks, and whoever does it instead would wait for them for ever.
pub(crate) fn start<T: Clone + Send + Sync + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Awaited<T> {
    let work = tokio::spawn(work);
    async move { work.await.map_err(|error| lost(&error))? }.boxed().shared()
}

/// Runs blocking work on its own thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| lost(&error))?
}

/// What became of work that did not end.
pub(crate) fn lost(error: &JoinError) -> Error {
    if error.is_cancelled() { Error::Cancelled } else { Error::Internal(error.to_string()) }
}
