//! What happens to the whole cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::arp::{Arp, Mac};
use e2e::{Card, Role, SOON};
use lab::tools::Program;
use lab::{Host, chart, wait_until};

use super::Actor;
use crate::fault::ClusterFault;
use crate::site;

const API_SERVER_READY_WITHIN: Duration = Duration::from_mins(1);
/// The Secret with the gossip's key, as the chart has it.
const SECRET: &str = "ferrolb-gossip";
/// ETH_P_ARP
const ARP: u16 = 0x0806;
/// Questions of a flood, at once and in a second.
const FLOOD_AT_ONCE: u16 = 50;
const FLOOD_EVERY: Duration = Duration::from_millis(20);
/// Services that come and go: one has to wait for an address.
const MORE_SERVICES: usize = 4;
/// The programs that follow what etcd has. After it got old data they are started anew, as operators are told to do;
/// FerroLB is not.
const FOLLOWERS: [Program; 2] = [Program::KubeControllerManager, Program::KubeScheduler];
const NODE_FOLLOWERS: [Program; 2] = [Program::Kubelet, Program::KubeProxy];

/// A copy of what etcd has.
const BACK_UP: &str = "rm -rf /run/lab/etcd-backup && cp -a /run/lab/etcd /run/lab/etcd-backup";
const RESTORE: &str = "rm -rf /run/lab/etcd && cp -a /run/lab/etcd-backup /run/lab/etcd";

impl Actor<'_> {
    pub(super) fn begin_all(&self, fault: ClusterFault) -> Result<()> {
        match fault {
            ClusterFault::KillControllers => self.signal_all(Role::Controller, "KILL"),
            ClusterFault::FreezeControllers => self.signal_all(Role::Controller, "STOP"),
            ClusterFault::ApiServer => self.lab.crash(Host::Cp, Program::KubeApiserver),
            ClusterFault::Restore => self.restore(),
            ClusterFault::KeyRotation => self.rotate_key(),
            ClusterFault::KeyLoss => self.kubectl(&["delete", "secret", SECRET]).map(drop),
            ClusterFault::Upgrade => {
                let _turn = self.helm.lock().unwrap_or_else(PoisonError::into_inner);
                chart::set(self.lab, ["speaker.logLevel=debug", "controller.logLevel=debug"])
            }
            ClusterFault::Rollout => {
                let speakers =
                    ["rollout", "restart", "daemonset", "-l", "app.kubernetes.io/component=speaker"];
                self.kubectl(&speakers).map(drop)
            }
            // They are done while they last.
            ClusterFault::Flood | ClusterFault::Churn => Ok(()),
            ClusterFault::PoolEdit => self.lab.apply(&site::asked_pool(true).to_string()).map(drop),
            ClusterFault::PoolGone => self.kubectl(&["delete", "ipaddresspool", site::ASKED]).map(drop),
            ClusterFault::AdvertisementGone => {
                self.kubectl(&["delete", "l2advertisements", "--all"]).map(drop)
            }
        }
    }

    pub(super) fn undo_all(&self, fault: ClusterFault) -> Result<()> {
        match fault {
            ClusterFault::KillControllers
            | ClusterFault::Restore
            | ClusterFault::KeyRotation
            | ClusterFault::Flood => Ok(()),
            ClusterFault::FreezeControllers => self.signal_all(Role::Controller, "CONT"),
            ClusterFault::ApiServer => self.start_api_server(),
            ClusterFault::KeyLoss => {
                let _turn = self.helm.lock().unwrap_or_else(PoisonError::into_inner);
                chart::set(self.lab, [])
            }
            ClusterFault::Upgrade => {
                let _turn = self.helm.lock().unwrap_or_else(PoisonError::into_inner);
                let rollback = ["rollback", "ferrolb", "-n", chart::NAMESPACE, "--wait", "--timeout=120s"];
                self.lab.helm(rollback).map(drop)
            }
            ClusterFault::Rollout => {
                let status = ["rollout", "status", "daemonset", "-l", "app.kubernetes.io/component=speaker"];
                self.kubectl(&[&status[..], &["--timeout=120s"]].concat()).map(drop)
            }
            ClusterFault::Churn => site::delete_more(self.lab, MORE_SERVICES),
            ClusterFault::PoolEdit | ClusterFault::PoolGone => {
                self.lab.apply(&site::asked_pool(false).to_string()).map(drop)
            }
            ClusterFault::AdvertisementGone => {
                self.lab.apply(&site::advertisement(None).to_string()).map(drop)
            }
        }
    }

    /// Keeps what etcd has, for [`ClusterFault::Restore`].
    pub(crate) fn back_up(&self) -> Result<()> {
        self.without_etcd(BACK_UP)
    }

    fn restore(&self) -> Result<()> {
        self.without_etcd(RESTORE)?;
        for program in FOLLOWERS {
            self.lab.crash(Host::Cp, program)?;
            self.lab.restart(Host::Cp, program)?;
        }
        for node in self.lab.nodes() {
            for program in NODE_FOLLOWERS {
                self.lab.crash(Host::Node(node), program)?;
                self.lab.restart(Host::Node(node), program)?;
            }
        }
        Ok(())
    }

    fn without_etcd(&self, script: &str) -> Result<()> {
        for program in [Program::KubeApiserver, Program::Etcd] {
            self.lab.crash(Host::Cp, program)?;
        }
        self.lab.run(Host::Cp, ["sh", "-c", script])?;
        self.lab.restart(Host::Cp, Program::Etcd)?;
        self.start_api_server()
    }

    fn start_api_server(&self) -> Result<()> {
        self.lab.restart(Host::Cp, Program::KubeApiserver)?;
        wait_until("the API server is ready", API_SERVER_READY_WITHIN, || {
            self.lab.kubectl(["get", "--raw", "/readyz"])
        })
        .map(drop)
    }

    /// As the chart's README has it: all accept the new key; all use it, and accept the old one; the old one is worth nothing.
    fn rotate_key(&self) -> Result<()> {
        let old = self.kubectl(&["get", "secret", SECRET, "-o", "jsonpath={.data.secretkey}"])?;
        let new = self
            .lab
            .run(Host::Cp, ["sh", "-c", "head -c 32 /dev/urandom | base64 | tr -d '\\n' | base64 -w 0"])?;
        let steps = [
            format!(r#"{{"data": {{"previous": "{new}"}}}}"#),
            format!(r#"{{"data": {{"secretkey": "{new}", "previous": "{old}"}}}}"#),
            r#"{"data": {"previous": null}}"#.to_owned(),
        ];
        for patch in steps {
            let before = self.keys_read()?;
            self.kubectl(&["patch", "secret", SECRET, "-p", &patch])?;
            let now = format!("looked={:?}", Instant::now()).replace([' ', '{', '}', ':', ','], "");
            let ours = "app.kubernetes.io/name=ferrolb";
            self.kubectl(&["annotate", "pods", "-l", ours, "--overwrite", &now])?;
            wait_until("all speakers have the keys", 4 * SOON, || {
                let read = self.keys_read()?;
                let late = before.iter().find(|(pod, count)| read.get(*pod).is_some_and(|now| now <= *count));
                ensure!(late.is_none(), "{late:?}");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// How often each speaker says that it has read keys anew.
    fn keys_read(&self) -> Result<BTreeMap<String, usize>> {
        let pods = ["get", "pods", "-l", "app.kubernetes.io/component=speaker", "-o", "name"];
        let count = |pod: &str| {
            let log = self.kubectl(&["logs", pod]).context("reading a speaker's log")?;
            let read = log.lines().filter(|line| line.contains("gossip keys changed")).count();
            Ok((pod.to_owned(), read))
        };
        self.kubectl(&pods)?.lines().map(count).collect()
    }

    /// Asks for everything there could be on the LAN, as many hosts.
    pub(super) fn flood(&self, lasts: Duration) -> Result<()> {
        let card = Card::open(self.lab, ARP)?;
        let until = Instant::now() + lasts;
        let mut number = 0_u16;
        while Instant::now() < until {
            for _ in 0..FLOOD_AT_ONCE {
                let [a, b] = number.to_be_bytes();
                let from = Mac([2, 0, 0, 1, 0, b]);
                let sender = (from, Ipv4Addr::new(172, 16, 212, b));
                let target = Ipv4Addr::new(172, 16, if a.is_multiple_of(2) { 211 } else { a }, b);
                card.send(&Arp { source: from, sender, ..Arp::question(Host::Client, target) }.write())?;
                number = number.wrapping_add(1);
            }
            thread::sleep(FLOOD_EVERY);
        }
        Ok(())
    }

    /// Services come and go, while those who give them addresses end.
    pub(super) fn churn(&self, lasts: Duration) -> Result<()> {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            site::create_more(self.lab, MORE_SERVICES)?;
            self.signal_all(Role::Controller, "KILL")?;
            thread::sleep(lasts / 4);
            site::delete_more(self.lab, MORE_SERVICES / 2)?;
            thread::sleep(lasts / 4);
        }
        Ok(())
    }
}
