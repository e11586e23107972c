//! What runs while it is measured: the server, nginx, gateways, peers. All on loopback, all gone when this is dropped.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::rows::{At, Row};
use super::{COUNTED, Options, nginx, policies};
use crate::layout::Layout;
use crate::peer::{Peer, free_port};
use crate::process::{self, Group};
use crate::{Failure, gateway};

/// Until something listens.
const READY: Duration = Duration::from_secs(60);

/// Something that calls are sent to.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) at: At,
    pub(crate) name: String,
    /// `127.0.0.1:PORT`; the endpoint is `/mcp` there.
    pub(crate) address: String,
    group: Group,
    /// A gateway's audit log, and what it says.
    audit: Option<PathBuf>,
    log: PathBuf,
}

impl Place {
    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let own = self.group.child.id();
        std::iter::once(own).chain(gateway::descendants(own)).collect()
    }

    /// Full segments of the audit log, of which a benchmark would leave gigabytes.
    pub(crate) fn tidy(&self) -> Result<(), Failure> {
        let Some(folder) = &self.audit else { return Ok(()) };
        let mut segments: Vec<PathBuf> = std::fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
            .collect();
        segments.sort();
        // The newest is being written.
        segments.pop();
        segments.iter().try_for_each(|segment| Ok(std::fs::remove_file(segment)?))
    }

    /// Ends it as a person would, and waits until it has done what it does at its end.
    pub(crate) fn end(mut self, limit: Duration) -> Result<(), Failure> {
        self.group.ask_to_stop();
        match self.group.wait(limit)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{}: {status}", self.name).into()),
            None => Err(format!("{}: no end after {} s", self.name, limit.as_secs()).into()),
        }
    }

    /// A counter of its own metrics.
    pub(crate) fn metric(&self, name: &str) -> Result<Option<f64>, Failure> {
        let said = std::fs::read_to_string(&self.log)?;
        let Some(address) =
            said.lines().find_map(|line| line.trim().strip_prefix("metrics  http://")?.strip_suffix("/metrics"))
        else {
            return Ok(None);
        };
        let page = fetch(address, "/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map(str::parse).transpose()?)
    }
}

/// A page of a server that closes the connection after it.
fn fetch(address: &str, path: &str) -> Result<String, Failure> {
    use std::io::{Read as _, Write as _};
    let mut socket = TcpStream::connect(address)?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    Ok(text)
}

/// What a set of rows needs.
#[derive(Debug)]
pub(crate) struct Stand {
    places: Vec<Place>,
}

impl Stand {
    pub(crate) fn start(layout: &Layout, options: &Options, rows: &[&Row]) -> Result<Self, Failure> {
        let ground = Ground::new(layout, options, "calls")?;
        let wanted = |at: &At| rows.iter().any(|row| row.at.contains(at));
        let direct = ground.upstream(100)?;
        let mut places = Vec::new();
        for at in [At::Nginx, At::Portcullis, At::Observe, At::Policies1000].into_iter().filter(wanted) {
            places.push(ground.proxy(at, &direct)?);
        }
        if wanted(&At::Tools1000) {
            let many = ground.upstream(1000)?;
            places.push(ground.proxy(At::Tools1000, &many)?);
            places.push(Place { at: At::Behind, ..many });
        }
        if wanted(&At::Merged) {
            let many = ground.upstream(50)?;
            places.push(ground.merged(&many)?);
            places.push(Place { at: At::Behind, ..many });
        }
        for (name, shell) in &options.peers {
            places.push(ground.peer(name, shell, &direct)?);
        }
        places.insert(0, direct);
        Ok(Self { places })
    }

    pub(crate) fn places(&self, row: &Row) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| row.at.contains(&place.at))
    }

    pub(crate) fn tidy(&self) -> Result<(), Failure> {
        self.places.iter().try_for_each(Place::tidy)
    }

    /// A gateway that drops entries of its log would be fast by not doing its work.
    pub(crate) fn lost_nothing(&self) -> Result<(), Failure> {
        for place in self.places.iter().filter(|place| place.audit.is_some()) {
            let lost = place.metric("portcullis_audit_lost_total")?;
            if lost.is_none_or(|lost| lost > 0.0) {
                return Err(format!("{}: {lost:?} entries of its log are lost", place.name).into());
            }
        }
        Ok(())
    }
}

/// Which cores something runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Load,
    Server,
    Proxy,
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The cores of a side. On two cores load and server share the first, and what is measured has the second.
fn pinned(side: Side, cores: usize) -> (usize, usize) {
    match side {
        _ if cores < 2 => (0, 0),
        Side::Load => (0, 0),
        Side::Server if cores < 4 => (0, 0),
        Side::Server => (1, 1),
        Side::Proxy if cores < 4 => (1, cores - 1),
        Side::Proxy => (2, cores - 1),
    }
}

/// A command on the cores of its side.
pub(crate) fn on(options: &Options, side: Side, program: &Path) -> Command {
    if !options.split {
        return Command::new(program);
    }
    let (first, last) = pinned(side, cores());
    let mut command = Command::new("taskset");
    command.args(["-c", &format!("{first}-{last}")]).arg(program);
    command
}

/// The limit of open files as high as it goes: a thousand streams are three thousand sockets.
pub(crate) fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // What cannot be raised shows where a socket cannot be opened.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn address(url: &str) -> Result<String, Failure> {
    let rest = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/mcp"));
    Ok(rest.ok_or_else(|| format!("not the address of an endpoint: {url}"))?.to_owned())
}

/// Where places are started: their files are in one folder.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    layout: &'a Layout,
    options: &'a Options,
    folder: PathBuf,
}

/// What only some gateways are started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) config: Option<PathBuf>,
    /// Where a gateway that counts its allocations tells them.
    pub(crate) counter: Option<String>,
}

impl<'a> Ground<'a> {
    /// A folder of its own, emptied first.
    pub(crate) fn new(layout: &'a Layout, options: &'a Options, name: &str) -> Result<Self, Failure> {
        Ok(Self { layout, options, folder: layout.fresh(&format!("bench/{name}"))? })
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn upstream(&self, tools: usize) -> Result<Place, Failure> {
        let mut command = on(self.options, Side::Server, &self.layout.compiled(self.options.folder, "bench-upstream"));
        command.args(["--tools", &tools.to_string()]);
        self.announced(command, At::Direct, &format!("upstream-{tools}"))
    }

    /// A proxy in front of a server.
    pub(crate) fn proxy(&self, at: At, upstream: &Place) -> Result<Place, Failure> {
        if at == At::Nginx { self.nginx(upstream) } else { self.portcullis(at, upstream, &Extras::default()) }
    }

    fn nginx(&self, upstream: &Place) -> Result<Place, Failure> {
        nginx::install(self.layout)?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let (first, last) = pinned(Side::Proxy, cores());
        let workers = if self.options.split { last + 1 - first } else { cores() };
        nginx::configure(&self.folder, &listen, &upstream.address, workers)?;
        let mut command = on(self.options, Side::Proxy, Path::new(nginx::PROGRAM));
        command.arg("-p").arg(&self.folder).arg("-c").arg(self.file("nginx.conf")).args(["-g", "daemon off;"]);
        self.listening(command, At::Nginx, At::Nginx.name(), listen)
    }

    /// A gateway as a user starts it: default guards, log and metrics on.
    pub(crate) fn portcullis(&self, at: At, upstream: &Place, extras: &Extras) -> Result<Place, Failure> {
        let name = at.name().replace(' ', "-").replace(',', "");
        let program = match extras.counter {
            Some(_) => self.layout.compiled(self.options.folder, COUNTED),
            None => self.options.program(self.layout),
        };
        let mut command = on(self.options, Side::Proxy, &program);
        command.args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--name", "bench"]);
        command.args(["--upstream", &format!("http://{}/mcp", upstream.address)]);
        let audit = self.file(&format!("{name}-audit"));
        command.arg("--audit-log").arg(&audit);
        if let Some(config) = &extras.config {
            command.arg("--config").arg(config);
        }
        if let Some(counter) = &extras.counter {
            command.env("BENCH_COUNTER", counter);
        }
        let policies = match at {
            At::Observe => None,
            At::Policies1000 => Some(policies::thousand()),
            _ => Some(policies::TEN.to_owned()),
        };
        if let Some(text) = policies {
            let file = self.file(&format!("{name}.cedar"));
            std::fs::write(&file, text)?;
            command.arg("--policy").arg(file);
        }
        Ok(Place { audit: Some(audit), ..self.announced(command, at, &name)? })
    }

    /// A gateway with twenty servers merged at its path; all of them are the same one, which costs the gateway no less.
    fn merged(&self, upstream: &Place) -> Result<Place, Failure> {
        let server =
            |number| format!("- {{ name: s{number:02}, http: {{ url: \"http://{}/mcp\" }} }}\n", upstream.address);
        let servers: String = (0..20).map(server).collect();
        let config = self.file("merged.yaml");
        std::fs::write(&config, format!("policy: observe\nupstreams:\n{servers}"))?;
        let mut command = on(self.options, Side::Proxy, &self.options.program(self.layout));
        command.args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let audit = self.file("merged-audit");
        command.arg("--config").arg(config).arg("--audit-log").arg(&audit);
        Ok(Place { audit: Some(audit), ..self.announced(command, At::Merged, "merged")? })
    }

    fn peer(&self, name: &str, shell: &str, upstream: &Place) -> Result<Place, Failure> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let mut command = on(self.options, Side::Proxy, Path::new("sh"));
        command.args(["-c", shell]).env("LISTEN", &listen).env("UPSTREAM", format!("http://{}/mcp", upstream.address));
        self.listening(command, At::Peer, name, listen)
    }

    /// Starts something that says where it listens.
    fn announced(&self, mut command: Command, at: At, name: &str) -> Result<Place, Failure> {
        let Peer { group, url, log } = Peer::start(&mut command, &self.file(&format!("{name}.log")), Peer::announced)?;
        Ok(Place { at, name: at.name().to_owned(), address: address(&url)?, group, audit: None, log })
    }

    /// Starts something that does not, and waits until it takes connections.
    fn listening(&self, mut command: Command, at: At, name: &str, address: String) -> Result<Place, Failure> {
        let log = self.file(&format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut group = Group { child };
        let deadline = Instant::now() + READY;
        while TcpStream::connect(&address).is_err() {
            if group.child.try_wait()?.is_some() || Instant::now() > deadline || process::interrupted() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("{name} does not listen on {address}: {}", said.trim_end()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Place { at, name: name.to_owned(), address, group, audit: None, log })
    }
}

#[cfg(test)]
mod tests {
    use super::{Side, address, pinned};

    #[test]
    fn sides_share_no_core_with_what_is_measured() {
        for cores in [2, 3, 4, 16] {
            let (first, last) = pinned(Side::Proxy, cores);
            assert!(first <= last && last < cores);
            assert!(pinned(Side::Load, cores).1 < first && pinned(Side::Server, cores).1 < first);
        }
        assert_eq!(pinned(Side::Proxy, 1), (0, 0));
    }

    #[test]
    fn the_address_of_an_endpoint_is_found() {
        assert_eq!(address("http://127.0.0.1:1/mcp").unwrap(), "127.0.0.1:1");
        assert!(address("http://127.0.0.1:1/").is_err());
    }
}
