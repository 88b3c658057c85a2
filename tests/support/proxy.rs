//! A network between a server and its database that does what it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes.
    Fair = 0,
    /// Nothing passes, and nothing is refused.
    Silent = 1,
    /// A COMMIT passes, and its answer is lost with the connection.
    AnswerLost = 2,
    /// A COMMIT is lost with the connection.
    CommitLost = 3,
}

/// The way to a database.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: Arc<AtomicU8>,
    /// Connections that were cut at a COMMIT.
    pub(crate) cut: Arc<AtomicUsize>,
}

impl Proxy {
    /// To a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, cut) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicUsize::new(0)));
        let (shared, count) = (Arc::clone(&weather), Arc::clone(&cut));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, Arc::clone(&shared), Arc::clone(&count)));
            }
        });
        Self { address, weather, cut }
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.store(weather as u8, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, port: u16, weather: Arc<AtomicU8>, cut: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is = |weather: &AtomicU8, what: Weather| weather.load(Ordering::SeqCst) == what as u8;
    let asks = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok(read @ 1..) = from_client.read(&mut buffer).await else { return };
            while is(&weather, Weather::Silent) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let commit = buffer[..read].windows(6).any(|window| window == b"COMMIT");
            if commit && is(&weather, Weather::CommitLost) {
                cut.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let lost = commit && is(&weather, Weather::AnswerLost);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            if lost {
                cut.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    };
    let answers = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok(read @ 1..) = from_server.read(&mut buffer).await else { return };
            while is(&weather, Weather::Silent) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = asks => {}
        () = answers => {}
    }
    if cut.load(Ordering::SeqCst) > 0 {
        // The server ends what it was asked before it finds nobody there.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
