//! A real S3 server in the test process: it checks signatures and keeps objects in a temporary folder.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::eventually::eventually;
use async_trait::async_trait;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::crypto::{Checksum, Md5};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use swimcoach::storage::r2::{R2Limits, R2Settings};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

const BUCKET: &str = "frames-test";
const ACCESS_KEY_ID: &str = "AKTEST";
const SECRET: &str = "sktest-sktest";

/// The server, with one bucket; it stops when it is dropped.
#[derive(Debug)]
pub(crate) struct S3Server {
    address: SocketAddr,
    folder: TempDir,
    downloads: Arc<Downloads>,
    _accepting: AbortOnDropHandle<()>,
}

/// The way of all downloads, which can be barred.
#[derive(Debug, Default)]
struct Downloads {
    are_held: watch::Sender<bool>,
    asked_for: AtomicUsize,
}

impl S3Server {
    /// Starts a server on a free port.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let files = FileSystem::new(folder.path()).unwrap();
        let downloads = Arc::new(Downloads::default());
        let root = folder.path().to_owned();
        let tagged =
            Tagged { files, root, downloads: Arc::clone(&downloads), writing: tokio::sync::Mutex::default() };
        let mut service = S3ServiceBuilder::new(tagged);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET));
        let service = service.build();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service.clone();
                // A connection that a client drops is the client's affair.
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { address, folder, downloads, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// What a client needs to reach the bucket.
    pub(crate) fn settings(&self) -> R2Settings {
        R2Settings {
            endpoint: format!("http://{}", self.address).parse().unwrap(),
            bucket: BUCKET.to_owned(),
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET.into(),
            limits: R2Limits::default(),
        }
    }

    /// Keeps downloads waiting, or lets them go on.
    pub(crate) fn hold_downloads(&self, are_held: bool) {
        self.downloads.are_held.send_replace(are_held);
    }

    /// Waits until a download was asked for.
    pub(crate) async fn is_asked_for_a_frame(&self) {
        let asked_for = || self.downloads.asked_for.load(Ordering::Relaxed);
        eventually("a frame is asked for", async || (0 < asked_for()).then_some(())).await;
    }

    /// Puts objects into the bucket without asking the server, which takes a thousand times longer.
    pub(crate) fn put_at_once(&self, keys: impl IntoIterator<Item = String>, content: &[u8]) {
        for key in keys {
            let file = self.folder.path().join(BUCKET).join(key);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
    }
}

/// The server that keeps objects in files, with the entity tags in its listings that it leaves out and
/// that S3 and R2 give.
struct Tagged {
    files: FileSystem,
    root: PathBuf,
    downloads: Arc<Downloads>,
    writing: tokio::sync::Mutex<()>,
}

#[async_trait]
impl S3 for Tagged {
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = self.root.join(&request.input.bucket);
        let mut response = self.files.list_objects_v2(request).await?;
        for object in response.output.contents.iter_mut().flatten() {
            let content = fs::read(bucket.join(object.key.as_ref().unwrap())).unwrap();
            object.e_tag = Some(ETag::Strong(hex::encode(Md5::checksum(&content))));
        }
        Ok(response)
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.downloads.asked_for.fetch_add(1, Ordering::Relaxed);
        self.downloads.are_held.subscribe().wait_for(|it| !it).await.unwrap();
        self.files.get_object(request).await
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        // The files do not see to it that of several writes where nothing is one wins.
        let _turn = self.writing.lock().await;
        self.files.put_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.files.delete_objects(request).await
    }
}
