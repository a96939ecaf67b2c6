//! `cargo xtask lab`: shows what FerroLB does, step by step, on a cluster that it starts for the purpose.
//!
//! Every step waits for a condition, says how long that took, and fails when what it shows is not so.

mod announcer;
mod routed;
mod traffic;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;

use crate::plan::{IpFamily, LabName, Router};
use crate::ui::{self, human};
use crate::{Lab, Options, chart, cluster, debian, wait_until};

/// What people paste, as the quickstart has it.
const QUICKSTART: &str = "examples/quickstart";
/// Its pool, and the one in its place where IPv6 comes first.
const POOL: &str = "172.16.211.200-172.16.211.210";
const POOL_OF_IPV6: &str = "fd00:172:16:211::200-fd00:172:16:211::210";
/// Everything but the power cut takes seconds; this is for machines that do other things besides.
const SOON: Duration = Duration::from_mins(1);
/// The speakers find a dead one in about half a second; this is for machines that do other things besides.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(10);

/// Set when the demonstration is over, and an interruption is what the reader was told to do.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Runs the demonstration. With `once` it ends there; otherwise the lab stays until Ctrl-C.
pub(crate) fn run(options: Options, once: bool) -> Result<()> {
    debian::ensure_installed(options.router)?;
    remove_on_interrupt(options.name.clone())?;
    let image = chart::build_image()?;
    let name = options.name.clone();
    let began = Instant::now();
    let lab = Lab::start(options)?;
    let address = show(&lab, &image, began).inspect_err(|_| explain_failure(&lab))?;
    if once {
        let task = ui::task("removing the lab", Duration::ZERO);
        lab.down()?;
        task.done();
        return Ok(());
    }
    SHOWN.store(true, Ordering::Relaxed);
    print!("{}", next_steps(&name, address, lab.router()));
    loop {
        // The thread that waits for signals ends the process.
        thread::park();
    }
}

/// Shows it all, and returns the address of the Service that is shown.
fn show(lab: &Lab, image: &std::path::Path, began: Instant) -> Result<IpAddr> {
    println!();
    print_indented(&lab.kubectl(["get", "nodes", "-o", "wide"])?);
    chart::install(lab, image)?;
    print_indented(&lab.kubectl(["get", "pods", "-n", chart::NAMESPACE, "-o", "wide"])?);

    let address = match lab.router() {
        None => show_on_lan(lab, began)?,
        Some(router) => routed::show(lab, router, began)?,
    };
    ui::note(format_args!("everything was shown {} after the start", human(began.elapsed())));
    Ok(address)
}

fn show_on_lan(lab: &Lab, began: Instant) -> Result<IpAddr> {
    let capture = announcer::Capture::start(lab)?;
    let service = apply_quickstart(lab)?;
    let address = service.wait_for_address(lab)?;
    let expected = expected(lab.families().first())?;
    ensure!(address == expected, "the Service got {address}, not the first address of the pool, {expected}");
    traffic::curl(lab, address)?;
    ui::note(format_args!("the address answers {} after the start", human(began.elapsed())));
    capture.show(address)?;
    service.wait_for_pods(lab)?;
    traffic::hey(lab, &service, address)?;
    announcer::power_off(lab, address)?;
    Ok(address)
}

/// The Service of the quickstart.
struct Service {
    name: String,
    /// Its pods, as a label selector.
    selector: String,
}

fn apply_quickstart(lab: &Lab) -> Result<Service> {
    let folder = chart::workspace().join(QUICKSTART).display().to_string();
    match lab.families().first() {
        IpFamily::V4 => {
            let task = ui::task(format_args!("kubectl apply -f {QUICKSTART}"), Duration::ZERO);
            lab.kubectl(["apply", "-f", &folder])?;
            task.done();
        }
        IpFamily::V6 => {
            let task = ui::task(format_args!("{QUICKSTART} with the pool {POOL_OF_IPV6}"), Duration::ZERO);
            lab.apply(&quickstart_of_ipv6()?)?;
            task.done();
        }
    }
    print_indented(&lab.kubectl(["get", "ipaddresspools", "-n", chart::NAMESPACE])?);
    Service::of(lab, &folder)
}

/// The quickstart's manifests with addresses of IPv6 in its pool.
fn quickstart_of_ipv6() -> Result<String> {
    let mut manifests = Vec::new();
    for entry in fs::read_dir(chart::workspace().join(QUICKSTART)).context("reading the quickstart")? {
        manifests.push(fs::read_to_string(entry?.path()).context("reading the quickstart")?);
    }
    let manifests = manifests.join("\n---\n");
    ensure!(manifests.contains(POOL), "the quickstart has no pool {POOL}");
    Ok(manifests.replace(POOL, POOL_OF_IPV6))
}

/// The first address of the pool.
fn expected(family: IpFamily) -> Result<IpAddr> {
    let pool = match family {
        IpFamily::V4 => POOL,
        IpFamily::V6 => POOL_OF_IPV6,
    };
    let (first, _) = pool.split_once('-').context("a pool is a range")?;
    Ok(first.parse()?)
}

/// Where a browser would go.
fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("http://{address}/"),
        IpAddr::V6(address) => format!("http://[{address}]/"),
    }
}

impl Service {
    /// The one among manifests that were applied.
    fn of(lab: &Lab, manifests: &str) -> Result<Self> {
        let applied = lab.kubectl_json(["get", "-f", manifests])?;
        let items = applied["items"].as_array().context("there are several objects")?;
        let is_balanced = |item: &&Value| item["kind"] == "Service" && item["spec"]["type"] == "LoadBalancer";
        let service = items.iter().find(is_balanced).context("there is no LoadBalancer Service")?;
        let labels = service["spec"]["selector"].as_object().context("its Service selects pods")?;
        let labels =
            labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        let name = service["metadata"]["name"].as_str().context("every Service has a name")?.to_owned();
        Ok(Self { name, selector: labels.collect::<Vec<_>>().join(",") })
    }

    fn wait_for_address(&self, lab: &Lab) -> Result<IpAddr> {
        let task = ui::task("the Service has an EXTERNAL-IP", Duration::ZERO);
        let address = wait_until("the Service has an address", SOON, || {
            let service = lab.kubectl_json(["get", "service", &self.name])?;
            let address = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned);
            Ok(address.context("its status names none")?.parse()?)
        })?;
        task.done_with(address);
        print_indented(&lab.kubectl(["get", "service", &self.name])?);
        Ok(address)
    }

    fn wait_for_pods(&self, lab: &Lab) -> Result<()> {
        let task = ui::task("all its pods are ready", Duration::ZERO);
        lab.kubectl(["wait", "pods", "--for=condition=Ready", "-l", &self.selector, "--timeout=60s"])?;
        task.done();
        print_indented(&lab.kubectl(["get", "pods", "-l", &self.selector, "-o", "wide"])?);
        Ok(())
    }
}

fn remove_on_interrupt(name: LabName) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    // All threads start after this and inherit the mask, so only the one below gets these signals.
    signals.thread_block().context("blocking signals")?;
    let remove = move || {
        let _ = signals.wait();
        println!();
        let task = ui::task("removing the lab", Duration::ZERO);
        let code = match cluster::down(&name) {
            Ok(()) => i32::from(!SHOWN.load(Ordering::Relaxed)) * 130,
            Err(error) => {
                eprintln!("error: {error:#}");
                1
            }
        };
        task.done();
        process::exit(code);
    };
    thread::Builder::new().name("signals".into()).spawn(remove)?;
    Ok(())
}

/// What one looks at first, before the lab is gone.
pub(crate) fn explain_failure(lab: &Lab) {
    for question in [
        &["get", "pods,services", "-A", "-o", "wide"][..],
        &["get", "events", "-A", "--field-selector", "type=Warning", "--sort-by=.lastTimestamp"],
    ] {
        println!("\n  kubectl {}", question.join(" "));
        print_indented(&lab.kubectl(question).unwrap_or_else(|error| format!("{error:#}")));
    }
}

fn next_steps(name: &LabName, address: IpAddr, router: Option<Router>) -> String {
    let lab = match name.as_str() {
        "lab" => "cargo xtask lab".to_owned(),
        name => format!("cargo xtask lab --name {name}"),
    };
    let look = match router {
        None => format!("exec client tcpdump -n -e {}", announcer::filter(IpFamily::of(address))),
        Some(router) => {
            format!("exec router {}", router.asks_in_a_shell(&router.shows_route(&routed::prefix(address))))
        }
    };
    let values = [("lab", &lab[..]), ("url", &url(address)), ("look", &look)];
    crate::template::render(include_str!("../templates/next-steps.txt"), &values)
}

fn print_indented(text: &str) {
    println!();
    for line in text.lines() {
        println!("         {}", line.trim_end());
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickstart_has_a_pool_of_either_family_and_the_rest_stays() {
        let of_ipv6 = quickstart_of_ipv6().unwrap();
        assert!(of_ipv6.contains("    - fd00:172:16:211::200-fd00:172:16:211::210\n"), "{of_ipv6}");
        assert!(
            of_ipv6.contains("kind: Service\n") && of_ipv6.contains("kind: L2Advertisement\n"),
            "{of_ipv6}"
        );
        let first = [IpFamily::V4, IpFamily::V6].map(|family| url(expected(family).unwrap()));
        assert_eq!(first, ["http://172.16.211.200/", "http://[fd00:172:16:211::200]/"]);
    }

    #[test]
    fn what_to_try_next_is_said_for_the_family() {
        let said = next_steps(&LabName::default(), "fd00:172:16:211::200".parse().unwrap(), None);
        assert!(
            said.contains("curl http://[fd00:172:16:211::200]/\n") && said.contains("-e icmp6\n"),
            "{said}"
        );
        let of = |router| next_steps(&LabName::default(), "172.16.213.1".parse().unwrap(), Some(router));
        let said = of(Router::Frr);
        assert!(said.contains("exec router vtysh -c 'show ip route 172.16.213.1/32'\n"), "{said}");
        let said = of(Router::Bird);
        assert!(said.contains("exec router birdc show route 172.16.213.1/32\n"), "{said}");
    }
}
