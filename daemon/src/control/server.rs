//! The gRPC server on a Unix socket. Not what it tells: that is the
//! [`Source`]'s.

use super::PATIENCE;
use super::operate::{Order, Refusal, Speaker};
use super::proto::v1::node_server::{Node, NodeServer};
use super::proto::v1::{
    FailOverRequest, FailOverResponse, GetStateRequest, GetStateResponse, SetBackendsRequest,
    SetBackendsResponse,
};
use super::state::{Failover, NotDone, Source, Unavailable};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io::ErrorKind};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

/// The control socket, bound. The file is removed with it, unless another
/// daemon has put its own there.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
}

impl Listener {
    /// Binds `path`, for the owner of the process alone (mode 0600). Makes its
    /// directory where there is none, and takes the place of a socket that
    /// nobody answers on any more.
    ///
    /// # Errors
    /// `AddrInUse` when a daemon answers there, `AlreadyExists` when the file is
    /// no socket, and errors of mkdir(2), bind(2), chmod(2).
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                clear(path)?;
                UnixListener::bind(path)
            }
            bound => bound,
        }?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            listener,
            path: path.to_path_buf(),
            file: (metadata.dev(), metadata.ino()),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody answers on.
fn clear(path: &Path) -> io::Result<()> {
    let shown = path.display();
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let words = format!("{shown} is there and no socket: remove it, or write another run_dir");
        return Err(io::Error::new(ErrorKind::AlreadyExists, words));
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            let words = format!("a daemon answers on {shown}: stop it, or write another run_dir");
            Err(io::Error::new(ErrorKind::AddrInUse, words))
        }
        Err(_) => fs::remove_file(path),
    }
}

/// Answers on `listener` until `stop` comes.
///
/// # Errors
/// What the transport says.
pub(super) async fn serve(
    listener: &Listener,
    source: impl Source,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let listener = tokio::net::UnixListener::from_std(listener.listener.try_clone()?)?;
    tonic::transport::Server::builder()
        .serve_with_incoming_shutdown(
            NodeServer::new(Answers { source }),
            UnixListenerStream::new(listener),
            stop,
        )
        .await?;
    Ok(())
}

struct Answers<S> {
    source: S,
}

#[tonic::async_trait]
impl<S: Source> Node for Answers<S> {
    async fn get_state(
        &self,
        _: Request<GetStateRequest>,
    ) -> Result<Response<GetStateResponse>, Status> {
        let state = patiently(self.source.snapshot()).await?;
        Ok(Response::new(state.into()))
    }

    async fn set_backends(
        &self,
        request: Request<SetBackendsRequest>,
    ) -> Result<Response<SetBackendsResponse>, Status> {
        let info = request.extensions().get::<UdsConnectInfo>();
        let by = info.and_then(|info| info.peer_cred).map(|peer| Speaker {
            uid: peer.uid(),
            pid: peer.pid().and_then(|pid| pid.try_into().ok()).unwrap_or(0),
        });
        let message = request.into_inner();
        let state = message.state().try_into();
        let order = Order {
            state: state.map_err(|_| Status::invalid_argument("no state is asked for"))?,
            service: message.service,
            backend: message.backend,
        };
        if order.service.is_empty() && order.backend.is_empty() {
            return Err(Status::invalid_argument("name a service or a backend"));
        }
        match patiently(self.source.operate(order, by.unwrap_or_default())).await? {
            Ok(changed) => Ok(Response::new(changed.into())),
            Err(Refusal(words)) => Err(Status::not_found(words)),
        }
    }

    async fn fail_over(
        &self,
        request: Request<FailOverRequest>,
    ) -> Result<Response<FailOverResponse>, Status> {
        let FailOverRequest {
            name,
            hold_ms,
            cancel,
        } = request.into_inner();
        let hold = (!cancel).then(|| Duration::from_millis(hold_ms).min(HOLD_MAX));
        let order = Failover { name, hold };
        match tokio::time::timeout(PATIENCE, self.source.fail_over(order)).await {
            Ok(Ok(routers)) => Ok(Response::new(FailOverResponse {
                routers: routers.into(),
            })),
            Ok(Err(NotDone::NoSuch(words))) => Err(Status::not_found(words)),
            Ok(Err(NotDone::Refused(words))) => Err(Status::failed_precondition(words)),
            Ok(Err(NotDone::Unavailable(Unavailable(words)))) => Err(Status::unavailable(words)),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "the ha loop did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }
}

/// What the source answers, if it does so in time.
async fn patiently<T>(answer: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Status> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Unavailable(words))) => Err(Status::unavailable(words)),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "the loops did not answer within {} s",
            PATIENCE.as_secs()
        ))),
    }
}
/// The longest hold: a week is no failover any more.
const HOLD_MAX: Duration = Duration::from_secs(7 * 86_400);
