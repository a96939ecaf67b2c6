//! Steady traffic: the client connects to every address time and again, and makes a request.

use std::io::{Read, Result as IoResult, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use lab::{Host, Lab};

use super::{End, Recorder};
use crate::observation::{Seen, Subjects};

/// Between two requests to an address.
const EVERY: Duration = Duration::from_millis(500);
/// As long as a client waits before it sends the first packet of a connection again: what is lost shows.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200";

pub(super) fn visit(lab: &Lab, subjects: &Subjects, recorder: &Recorder, ends: &End) -> Result<()> {
    lab.in_network(Host::Client, || {
        thread::scope(|scope| {
            for (name, subject) in subjects {
                let port = name.rsplit_once('-').and_then(|(_, port)| port.parse().ok());
                let port = port.filter(|_| subject.sharing.is_some()).unwrap_or(80);
                for address in &subject.addresses {
                    scope.spawn(move || visit_one(*address, port, recorder, ends));
                }
            }
        });
        Ok(())
    })
}

fn visit_one(address: IpAddr, port: u16, recorder: &Recorder, ends: &End) {
    while !ends.is_here() {
        let answered = request(SocketAddr::new(address, port)).is_ok_and(|answered| answered);
        recorder.now(Seen::Visit { address, answered });
        ends.wait(EVERY);
    }
}

fn request(place: SocketAddr) -> IoResult<bool> {
    let mut connection = TcpStream::connect_timeout(&place, CONNECTED_WITHIN)?;
    connection.set_read_timeout(Some(ANSWERED_WITHIN))?;
    connection.write_all(REQUEST)?;
    let mut answer = [0; ANSWER.len()];
    connection.read_exact(&mut answer)?;
    Ok(answer == ANSWER)
}
