//! The other end of the control socket: asks a node for its state, or for
//! something else.

use super::proto::Odd;
use super::proto::v1::node_client::NodeClient;
use super::proto::v1::{FailOverRequest, GetStateRequest};
use super::state::{Failover, State};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Response, Status};

/// How long an answer may take: longer than a node waits for its loops.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a node did not tell its state.
#[derive(Debug)]
pub enum Silence {
    /// Nobody could be asked on this socket.
    Unreached(PathBuf, io::Error),
    /// It was asked, and refused or fell silent.
    Refused(String),
    /// Its answer was not understood.
    Odd(Odd),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreached(path, error) => {
                let (path, kind) = (path.display(), error.kind());
                if kind == ErrorKind::NotFound {
                    write!(
                        f,
                        "no node on {path}: start one with `trunnion run`, or say where it is with --socket or --config"
                    )
                } else if kind == ErrorKind::ConnectionRefused {
                    write!(f, "nobody answers on {path}: the daemon has ended")
                } else if kind == ErrorKind::PermissionDenied {
                    write!(f, "{path} is for its owner alone: run this as root")
                } else {
                    write!(f, "{path}: {error}")
                }
            }
            Self::Refused(words) => write!(f, "not done: {words}"),
            Self::Odd(odd) => odd.fmt(f),
        }
    }
}

impl std::error::Error for Silence {}

/// Asks the node on the control socket at `path`; blocks for at most 5 s.
///
/// # Errors
/// [`Silence`] says what to do.
pub fn fetch(path: &Path) -> Result<State, Silence> {
    let answer = call(path, async |mut client| {
        client.get_state(GetStateRequest {}).await
    })?;
    State::try_from(answer).map_err(Silence::Odd)
}

/// Tells the node on the control socket at `path` who should not be Active;
/// returns how many virtual routers obeyed. Blocks for at most 5 s.
///
/// # Errors
/// [`Silence`] says what to do.
pub fn fail_over(path: &Path, order: &Failover) -> Result<u32, Silence> {
    let hold = order.hold.unwrap_or_default();
    let request = FailOverRequest {
        name: order.name.clone(),
        hold_ms: u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
        cancel: order.hold.is_none(),
    };
    let answer = call(path, async |mut client| client.fail_over(request).await)?;
    Ok(answer.routers)
}

/// Calls the node on the control socket at `path`; blocks for at most 5 s.
pub(super) fn call<T>(
    path: &Path,
    ask: impl AsyncFnOnce(NodeClient<Channel>) -> Result<Response<T>, Status>,
) -> Result<T, Silence> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Silence::Refused(error.to_string()))?;
    runtime.block_on(async {
        let answer = async {
            let asked = ask(connect(path).await?).await;
            match asked {
                Ok(answer) => Ok(answer.into_inner()),
                Err(status) => Err(Silence::Refused(status.message().to_owned())),
            }
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Silence::Refused(format!(
                "no answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    })
}

async fn connect(path: &Path) -> Result<NodeClient<Channel>, Silence> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| Silence::Unreached(path.to_path_buf(), error))?;
    // One connection, made above for the sake of its error; no second one.
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| io::Error::from(ErrorKind::NotConnected)) }
    });
    let channel = Endpoint::from_static("http://trunnion")
        .connect_with_connector(connector)
        .await
        .map_err(|error| Silence::Refused(error.to_string()))?;
    // A node of many backends has much to tell.
    Ok(NodeClient::new(channel).max_decoding_message_size(usize::MAX))
}
