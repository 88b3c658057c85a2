//! The load: many connections on one thread, each with one request under way.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::http;

/// Requests per second that are answered with `status` over `connections` for as long as `time`.
/// `next` writes the next request into an empty buffer.
pub(crate) fn rate(
    address: &str,
    connections: usize,
    time: Duration,
    status: u16,
    next: impl FnMut(&mut Vec<u8>) + 'static,
) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let next = Rc::new(RefCell::new(next));
    let tasks = LocalSet::new();
    let (started, done) = tasks.block_on(&runtime, async move {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.expect("the server listens");
            stream.set_nodelay(true).expect("a socket option");
            streams.push(stream);
        }
        let started = Instant::now();
        let running: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::task::spawn_local(drive(stream, started + time, status, next.clone())))
            .collect();
        let mut done = 0_u32;
        for task in running {
            done += task.await.expect("no connection fails");
        }
        (started, done)
    });
    f64::from(done) / started.elapsed().as_secs_f64()
}

async fn drive(
    stream: TcpStream,
    until: Instant,
    expected: u16,
    next: Rc<RefCell<impl FnMut(&mut Vec<u8>)>>,
) -> u32 {
    let (mut out, mut answer) = (Vec::new(), vec![0; 1 << 19]);
    let mut done = 0;
    while Instant::now() < until {
        out.clear();
        (next.borrow_mut())(&mut out);
        let mut sent = 0;
        while sent < out.len() {
            match stream.try_write(&out[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stream.writable().await.expect("the server reads");
                }
                Err(error) => panic!("{error}"),
            }
        }
        let mut filled = 0;
        let (status, start, length) = loop {
            stream.readable().await.expect("the server answers");
            match stream.try_read(&mut answer[filled..]) {
                Ok(0) => panic!("the server closed the connection"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{error}"),
                Ok(read) => filled += read,
            }
            if let Some(found) = http::head(&answer[..filled])
                && filled >= found.1 + found.2
            {
                break found;
            }
        };
        assert_eq!(status, expected, "{}", String::from_utf8_lossy(&answer[start..start + length]));
        done += 1;
    }
    done
}
