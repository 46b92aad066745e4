//! A connection between the service and a server that may be cut, slowed, stalled, half closed, or stopped at a named
//! place of what is said.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicI16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// Which of Kafka's requests asks for messages, and which one for the offsets that there are.
const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;

/// Where brokers that a link stands before say that they are.
const HOST: &str = "127.0.0.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Whole,
    /// What is said takes so much longer, each way.
    Slow(Duration),
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Whatever is open breaks, and nothing new is opened.
    Cut,
    /// Of what is open the service's end is closed; the server is not told before this is over.
    ServiceGone,
    /// Of what is open the server's end is closed; the service is not told before this is over.
    ServerGone,
}

#[derive(Clone, Copy)]
struct State {
    condition: Condition,
    /// How often open connections were broken: one that is whole again at once would not be seen else.
    breaks: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Service,
    Server,
}

/// A place in what is said to Postgres: a message of a kind, in or of a statement that begins so.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub name: &'static str,
    kind: u8,
    statement: &'static str,
}

impl Place {
    /// Before a statement without parameters is sent.
    pub const fn query(name: &'static str, statement: &'static str) -> Self {
        Self { name, kind: b'Q', statement }
    }

    /// Before a prepared statement is run.
    pub const fn statement(name: &'static str, statement: &'static str) -> Self {
        Self { name, kind: b'B', statement }
    }

    /// Before rows of a COPY are sent.
    pub const fn rows(name: &'static str, statement: &'static str) -> Self {
        Self { name, kind: b'd', statement }
    }

    /// Before it is said that a COPY has no more rows.
    pub const fn end_of_rows(name: &'static str, statement: &'static str) -> Self {
        Self { name, kind: b'c', statement }
    }

    /// Before Postgres's answer comes that a statement is done.
    pub const fn answer(name: &'static str, statement: &'static str) -> Self {
        Self { name, kind: b'C', statement }
    }
}

struct Trap {
    place: Place,
    sprung: oneshot::Sender<()>,
}

/// How messages are told apart.
enum Protocol {
    Postgres,
    /// Brokers say where they are: what they say is changed, by port, to where their links are.
    Kafka(Vec<(u16, u16)>),
}

struct Shared {
    /// `host:port`.
    server: String,
    protocol: Protocol,
    state: watch::Sender<State>,
    trap: Mutex<Option<Trap>>,
    deaf_to: AtomicI16,
    fetches: AtomicU64,
}

/// What passes between the service and one server.
pub struct Link {
    port: u16,
    shared: Arc<Shared>,
}

impl Link {
    /// Before Postgres; and the URL of a database by this way.
    pub async fn to_postgres(url: &str) -> (Self, String) {
        let (front, name) = url.rsplit_once('/').expect("a database");
        let (user, server) = front.rsplit_once('@').expect("a user");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let link = Self::open(listener, server, Protocol::Postgres);
        let url = format!("{user}@127.0.0.1:{}/{name}?sslmode=disable", link.port);
        (link, url)
    }

    /// Before each of some brokers; and where they are by this way.
    pub async fn to_kafka(brokers: &str) -> (Vec<Self>, String) {
        let mut listeners = Vec::new();
        for server in brokers.split(',') {
            listeners.push((server, TcpListener::bind("127.0.0.1:0").await.expect("a socket")));
        }
        let here = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let ports: Vec<(u16, u16)> =
            listeners.iter().map(|(server, listener)| (port_of(server), here(listener))).collect();
        let opened = |(server, listener)| Self::open(listener, server, Protocol::Kafka(ports.clone()));
        let links: Vec<Self> = listeners.into_iter().map(opened).collect();
        let there = links.iter().map(|link| format!("127.0.0.1:{}", link.port)).collect::<Vec<_>>().join(",");
        (links, there)
    }

    fn open(listener: TcpListener, server: &str, protocol: Protocol) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let state = watch::Sender::new(State { condition: Condition::Whole, breaks: 0 });
        let (trap, deaf_to, fetches) = (Mutex::default(), AtomicI16::new(-1), AtomicU64::new(0));
        let shared = Arc::new(Shared { server: server.to_owned(), protocol, state, trap, deaf_to, fetches });
        let there = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((service, _)) = listener.accept().await {
                tokio::spawn(carry(service, Arc::clone(&there)));
            }
        });
        Self { port, shared }
    }

    pub fn set(&self, condition: Condition) {
        let breaks = matches!(condition, Condition::Cut | Condition::ServiceGone | Condition::ServerGone);
        self.shared.state.send_modify(|state| {
            *state = State { condition, breaks: state.breaks + u64::from(breaks) };
        });
    }

    /// Breaks what is open; what is opened from now on is whole.
    pub fn cut(&self) {
        self.set(Condition::Cut);
        self.set(Condition::Whole);
    }

    /// Has the next connection that comes to a place stop there; the answer comes when one has. It goes on to be
    /// held until the link is cut, or half closed.
    pub fn hold_at(&self, place: Place) -> oneshot::Receiver<()> {
        let (sprung, reached) = oneshot::channel();
        *self.shared.trap.lock().expect("the trap") = Some(Trap { place, sprung });
        reached
    }

    /// Swallows requests of one kind; none of them gets an answer.
    pub fn set_deaf(&self, api_key: Option<i16>) {
        self.shared.deaf_to.store(api_key.unwrap_or(-1), Ordering::Relaxed);
    }

    /// How often messages were asked for by this way.
    pub fn fetches(&self) -> u64 {
        self.shared.fetches.load(Ordering::Relaxed)
    }
}

/// The port of a broker, which says of itself that it is on this machine.
fn port_of(server: &str) -> u16 {
    let (host, port) = server.rsplit_once(':').expect("host:port");
    assert_eq!(host, HOST, "only brokers of this machine are found behind a link");
    port.parse().expect("a port")
}

/// One connection, until either end closes it or a condition does.
async fn carry(mut service: TcpStream, shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let born = *state.borrow_and_update();
    if born.condition == Condition::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(&shared.server).await else { return };
    // What is late is late by our doing alone.
    drop((service.set_nodelay(true), server.set_nodelay(true)));
    let broken = {
        let ((from_service, to_service), (from_server, to_server)) = (service.split(), server.split());
        tokio::select! {
            _ = pass(&shared, Side::Service, from_service, to_server) => None,
            _ = pass(&shared, Side::Server, from_server, to_service) => None,
            broken = state.wait_for(|state| state.breaks > born.breaks) => broken.ok().map(|state| state.condition),
        }
    };
    let left = match broken {
        Some(Condition::ServiceGone) => {
            drop(service);
            &mut server
        }
        Some(Condition::ServerGone) => {
            drop(server);
            &mut service
        }
        _ => return,
    };
    // Nobody answers, until this is over.
    let mut heard = [0; 4096];
    loop {
        tokio::select! {
            read = left.read(&mut heard) => if read.is_ok_and(|bytes| bytes > 0) { continue },
            _ = state.changed() => {}
        }
        return;
    }
}

/// Passes on what one side says.
async fn pass(shared: &Shared, side: Side, from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    let (mut from, mut state) = (BufReader::with_capacity(1 << 16, from), shared.state.subscribe());
    let mut said = Said::default();
    // What a client of Postgres says first has no kind.
    let mut has_kind = matches!(shared.protocol, Protocol::Postgres) && side == Side::Server;
    loop {
        let mut message = message(&mut from, &shared.protocol, has_kind).await?;
        let late = match state.borrow().condition {
            // What was said in one go is late in one go.
            Condition::Slow(late) if from.buffer().is_empty() => Some(late),
            _ => None,
        };
        tokio::time::sleep(late.unwrap_or_default()).await;
        state.wait_for(|state| state.condition != Condition::Stalled).await.map_err(io::Error::other)?;
        match &shared.protocol {
            Protocol::Postgres if has_kind && shared.holds(side, &message, &mut said) => {
                std::future::pending::<()>().await;
            }
            Protocol::Postgres => has_kind = true,
            Protocol::Kafka(ports) if side == Side::Server => redirect(&mut message, ports),
            Protocol::Kafka(_) => {
                let api_key = i16::from_be_bytes([message[4], message[5]]);
                if api_key == shared.deaf_to.load(Ordering::Relaxed) {
                    continue;
                }
                if api_key == FETCH {
                    shared.fetches.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        to.write_all(&message).await?;
    }
}

/// The next message, with its kind if it has one and its length.
async fn message(from: &mut BufReader<ReadHalf<'_>>, protocol: &Protocol, has_kind: bool) -> io::Result<Vec<u8>> {
    let head = usize::from(has_kind) + 4;
    let mut message = vec![0; head];
    from.read_exact(&mut message).await?;
    let length = u32::from_be_bytes(message[head - 4..].try_into().expect("four bytes")) as usize;
    // Postgres counts the length itself as well.
    let counted = if matches!(protocol, Protocol::Postgres) { 4 } else { 0 };
    message.resize(head + length.saturating_sub(counted), 0);
    from.read_exact(&mut message[head..]).await?;
    Ok(message)
}

/// What a connection has said to Postgres so far.
#[derive(Default)]
struct Said {
    prepared: HashMap<Vec<u8>, String>,
    statement: String,
}

impl Said {
    /// Takes a message; names and statements end with a zero byte.
    fn take(&mut self, message: &[u8]) {
        let mut texts = message[5..].split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        let sql = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match message[0] {
            b'Q' | b'C' => self.statement = sql(text()),
            b'P' => {
                let name = text().to_vec();
                self.prepared.insert(name, sql(text()));
            }
            b'B' => {
                let _portal = text();
                self.statement = self.prepared.get(text()).cloned().unwrap_or_default();
            }
            _ => {}
        }
    }
}

impl Shared {
    /// Whether a trap is set at this message; it is sprung then.
    fn holds(&self, side: Side, message: &[u8], said: &mut Said) -> bool {
        said.take(message);
        let mut trap = self.trap.lock().expect("the trap");
        let is_there = trap.as_ref().is_some_and(|Trap { place, .. }| {
            let speaks = if place.kind == b'C' { Side::Server } else { Side::Service };
            side == speaks && message[0] == place.kind && said.statement.starts_with(place.statement)
        });
        if is_there && let Some(trap) = trap.take() {
            // Whoever set it may have gone.
            let _ = trap.sprung.send(());
        }
        is_there
    }
}

/// Changes where brokers say that they are. Only messages of others are large.
fn redirect(message: &mut [u8], ports: &[(u16, u16)]) {
    if message.len() > 1 << 16 {
        return;
    }
    let (host, port) = (HOST.len(), size_of::<u32>());
    for at in 0..message.len().saturating_sub(host + port - 1) {
        if message[at..].starts_with(HOST.as_bytes()) {
            let place = &mut message[at + host..at + host + port];
            let said = u32::from_be_bytes((&*place).try_into().expect("four bytes"));
            if let Some((_, link)) = ports.iter().find(|(server, _)| u32::from(*server) == said) {
                place.copy_from_slice(&u32::from(*link).to_be_bytes());
            }
        }
    }
}
