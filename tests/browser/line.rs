//! The line between the browser and the service: it counts what it carries, and it can be cut and mended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A line to a service, with an address of its own.
#[derive(Debug)]
pub(crate) struct Line {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    service: watch::Sender<String>,
    is_cut: watch::Sender<bool>,
    /// Bytes that came from the service.
    received: AtomicU64,
    /// Bytes that may still go to the service before the line is cut.
    left_to_send: AtomicU64,
}

impl Line {
    /// A line to the service at this address.
    pub(crate) async fn to(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            service: watch::Sender::new(service.to_owned()),
            is_cut: watch::Sender::new(false),
            received: AtomicU64::new(0),
            left_to_send: AtomicU64::new(u64::MAX),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Breaks off every connection, and every one that is made until [`mend`](Self::mend).
    pub(crate) fn cut(&self) {
        self.shared.is_cut.send_replace(true);
    }

    /// Cuts the line once so many bytes more were sent towards the service.
    pub(crate) fn cut_after_sending(&self, bytes: u64) {
        self.shared.left_to_send.store(bytes, Ordering::SeqCst);
    }

    pub(crate) async fn was_cut(&self) {
        self.shared.is_cut.subscribe().wait_for(|it| *it).await.unwrap();
    }

    pub(crate) fn mend(&self) {
        self.shared.left_to_send.store(u64::MAX, Ordering::SeqCst);
        self.shared.is_cut.send_replace(false);
    }

    /// Breaks off every connection; those that are made from now on lead to this service.
    pub(crate) fn lead_to(&self, service: &str) {
        self.shared.service.send_replace(service.to_owned());
    }

    /// How many bytes came from the service so far, heads of answers included.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (browser, _) = listener.accept().await.unwrap();
        tokio::spawn(carry(browser, Arc::clone(&shared)));
    }
}

/// Carries what one connection says, until either side ends it or the line is cut.
async fn carry(mut browser: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.is_cut.subscribe();
    let mut leads_to = shared.service.subscribe();
    let address = leads_to.borrow_and_update().clone();
    let carried = async {
        let mut service = TcpStream::connect(address).await.ok()?;
        let (mut from_browser, mut to_browser) = browser.split();
        let (mut from_service, mut to_service) = service.split();
        let (mut sent, mut received) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            tokio::select! {
                n = from_browser.read(&mut sent) => {
                    let n = n.ok().filter(|it| 0 < *it)?;
                    shared.count_sent(n);
                    to_service.write_all(&sent[..n]).await.ok()?;
                }
                n = from_service.read(&mut received) => {
                    let n = n.ok().filter(|it| 0 < *it)?;
                    shared.received.fetch_add(n as u64, Ordering::SeqCst);
                    to_browser.write_all(&received[..n]).await.ok()?;
                }
            }
        }
    };
    tokio::select! {
        biased;
        _ = cut.wait_for(|it| *it) => {}
        _ = leads_to.changed() => {}
        None::<()> = carried => return,
    }
    // A reset, as where a network goes away, and no orderly end.
    browser.set_zero_linger().unwrap();
}

impl Shared {
    /// Cuts the line where no more bytes may be sent.
    fn count_sent(&self, n: usize) {
        let take = |left: u64| left.checked_sub(n as u64);
        if self.left_to_send.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            self.is_cut.send_replace(true);
        }
    }
}
