//! `kubectl ferrolb ui` in a browser: what it shows, and that a takeover is seen while it happens.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, SOON};
use lab::browser::Browser;
use lab::{Host, chart, debian, wait_until};
use serde_json::json;
use tokio::runtime::Builder;

use crate::{serve, with_cluster};

/// For the page to say that all is well after whatever the test before has done.
const WELL_WITHIN: Duration = Duration::from_mins(1);

const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/page");

/// Serves the page until the test's process ends, and returns its address. It has the network of the calling thread.
fn serve_page(kubeconfig: &str) -> Result<String> {
    let (tell, told) = std::sync::mpsc::channel();
    let line: Vec<String> =
        ["kubectl-ferrolb", "--kubeconfig", kubeconfig, "ui", "--no-browser"].map(str::to_owned).to_vec();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let served = runtime.context("making a runtime").and_then(|runtime| {
            runtime.block_on(async {
                let page = kubectl_ferrolb::page(line).await?;
                _ = tell.send(page.url());
                page.serve().await;
                Ok(())
            })
        });
        if let Err(error) = served {
            eprintln!("the page: {error:#}");
        }
    });
    told.recv().context("the page is not served")
}

/// Whether the headline has this text.
fn headline(text: &str) -> String {
    format!("document.querySelector('h1')?.textContent.includes({text:?})")
}

/// The text of what this selects, once for each element.
fn texts(browser: &mut Browser, selector: &str) -> Result<Vec<String>> {
    let script = format!("[...document.querySelectorAll({selector:?})].map(it => it.innerText)");
    Ok(serde_json::from_value(browser.evaluate(&script)?)?)
}

/// Nothing sticks out at the sides of a large screen, a tablet and a phone. Leaves pictures for people to look at.
fn fits(browser: &mut Browser) -> Result<()> {
    std::fs::create_dir_all(PICTURES)?;
    for (width, height) in [(1440, 900), (820, 1180), (390, 844)] {
        for (dark, scheme) in [(false, "light"), (true, "dark")] {
            browser.resize(width, height, dark)?;
            let wide = browser.evaluate("document.documentElement.scrollWidth")?;
            ensure!(wide.as_u64() <= Some(width.into()), "it is {wide} wide in a window of {width}");
            browser.screenshot(&Path::new(PICTURES).join(format!("{width}-{scheme}.png")))?;
        }
    }
    Ok(())
}

#[test]
fn the_page_shows_who_announces_what_and_a_takeover_without_being_loaded_again() {
    debian::ensure(debian::FOR_PAGES).unwrap_or_else(|error| panic!("{error:#}"));
    with_cluster(|cluster| {
        let address = serve(cluster, "page", &["172.16.211.230/31"])?.to_string();
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.kubectl(["config", "view", "--raw", "--flatten"])?)?;
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        cluster.lab.in_network(Host::Cp, || seen(cluster, kubeconfig, &address))
    });
}

/// Told with its reason, and on the card of each node, until nobody asks for it any more.
fn a_router_that_does_not_answer_is_a_problem(cluster: &Cluster, browser: &mut Browser) -> Result<()> {
    // The client has no router, and refuses to talk to one.
    let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": Host::Client.ipv4()});
    let metadata = json!({"name": "nobody", "namespace": chart::NAMESPACE});
    let peer =
        json!({"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": metadata, "spec": spec});
    cluster.apply([&peer])?;
    let told = "[...document.querySelectorAll('.problems .card')].some(it => \
         it.innerText.includes('BGPPeer nobody') && it.innerText.includes('No node has a session with it'))";
    browser.wait_for("the router in the problems", told)?;
    wait_until("the router is on the card of each node", SOON, || {
        let sessions = texts(browser, ".node .sessions summary")?;
        ensure!(
            sessions.len() == cluster.lab.nodes().count()
                && sessions.iter().all(|it| it.contains("0/1 router")),
            "{sessions:?}"
        );
        Ok(())
    })?;
    fits(browser)?;
    cluster.kubectl(["delete", "bgppeer", "-n", chart::NAMESPACE, "nobody"])?;
    browser.wait_for("that all is well again", &headline("All is well"))?;
    Ok(())
}

fn seen(cluster: &Cluster, kubeconfig: &str, address: &str) -> Result<()> {
    let first = cluster.announcer(address.parse()?)?.to_string();
    let mut browser = Browser::start()?;
    browser.open(&serve_page(kubeconfig)?)?;
    wait_until("the page says that all is well", WELL_WITHIN, || {
        ensure!(browser.evaluate(&headline("All is well"))? == true, "it says: {}", browser.text()?);
        Ok(())
    })?;
    browser.evaluate("window.neverLoadedAgain = true")?;

    // What it shows.
    let nodes = texts(&mut browser, ".node h3")?;
    assert_eq!(nodes, cluster.lab.nodes().map(|node| node.to_string()).collect::<Vec<_>>());
    let announcer = format!("[data-key='node {first}'] .chip");
    let cell = format!("[data-key='pool page'] .cell.used[data-key='{address}']");
    wait_until("the page shows who announces", SOON, || {
        ensure!(texts(&mut browser, &announcer)?.contains(&address.to_owned()), "{}", browser.text()?);
        let row = texts(&mut browser, "[data-key='service e2e/page']")?.concat();
        ensure!(row.contains(address) && row.contains(&first) && row.contains("announced"), "{row}");
        ensure!(texts(&mut browser, &cell)?.len() == 1, "{}", browser.text()?);
        Ok(())
    })?;

    // A drain by a click.
    browser.evaluate(&format!("document.querySelector(\"[data-key='node {first}'] .button\").click()"))?;
    browser.wait_for("what a drain would do", "document.getElementById('drain')")?;
    let drain = texts(&mut browser, "#drain")?.concat();
    ensure!(drain.contains(address) && drain.contains(&format!("stays on {first}")), "{drain}");
    assert_eq!(browser.evaluate("document.activeElement.id")?, "drain", "a screen reader is led there");
    assert_eq!(browser.evaluate("window.neverLoadedAgain")?, true);

    fits(&mut browser)?;
    a_router_that_does_not_answer_is_a_problem(cluster, &mut browser)?;

    // A takeover while it is looked at.
    let node = cluster.lab.nodes().find(|node| node.to_string() == first).context("a node")?;
    cluster.lab.poweroff(node)?;
    let moved = format!(
        "[...document.querySelectorAll('.event')].some(it => it.innerText.includes('moved from {first} to') \
         && it.innerText.includes('{address}'))"
    );
    browser.wait_for("the takeover in the timeline", &moved)?;
    browser.wait_for(
        "the problem in the headline",
        "document.querySelector('.headline').classList.contains('bad')",
    )?;
    wait_until("the page shows who announces now", SOON, || {
        ensure!(!texts(&mut browser, &announcer)?.contains(&address.to_owned()), "{}", browser.text()?);
        let row = texts(&mut browser, "[data-key='service e2e/page']")?.concat();
        ensure!(row.contains("announced") && !row.contains(&first), "{row}");
        Ok(())
    })?;
    assert_eq!(browser.evaluate("window.neverLoadedAgain")?, true);
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    Ok(())
}
