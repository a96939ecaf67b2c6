//! The memory of FerroLB's processes, as the kernel knows it.

use std::time::Duration;

use anyhow::Result;
use e2e::Role;
use lab::{Host, Lab, NodeId};

use super::{End, Recorder};
use crate::observation::{Process, Seen};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(15);

pub(super) fn look(lab: &Lab, recorder: &Recorder, ends: &End) {
    while !ends.is_here() {
        for node in lab.nodes() {
            for role in [Role::Controller, Role::Speaker] {
                // A node that is off has none.
                let seen = look_at(lab, node, role).unwrap_or_default();
                seen.into_iter().for_each(|(process, bytes)| recorder.now(Seen::Memory(process, bytes)));
            }
        }
        ends.wait(EVERY);
    }
}

fn look_at(lab: &Lab, node: NodeId, role: Role) -> Result<Vec<(Process, u64)>> {
    let host = Host::Node(node);
    let ids = lab.processes(host, &role.to_string())?;
    let look = |id: u32| {
        let files = [format!("/proc/{id}/stat"), format!("/proc/{id}/status")];
        // One may have ended meanwhile.
        let text = lab.run(host, ["cat", &files[0], &files[1]]).ok()?;
        let (started, bytes) = read(&text)?;
        Some((Process { role, node, id, started }, bytes))
    };
    Ok(ids.into_iter().filter_map(look).collect())
}

/// From `/proc/PID/stat` and `/proc/PID/status`: when it was started, and its resident memory in bytes.
fn read(text: &str) -> Option<(u64, u64)> {
    let (stat, status) = text.split_once('\n')?;
    // The name of the program, in parentheses, may hold anything. What follows is the third field.
    let (_, fields) = stat.rsplit_once(") ")?;
    let started = fields.split(' ').nth(22 - 3)?.parse().ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((started, kilobytes * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_and_memory_are_read_whatever_the_program_is_called() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        let text = format!("{stat}\nName:\ta\nVmHWM:\t  9 kB\nVmRSS:\t    8 kB\n");
        assert_eq!(read(&text), Some((4711, 8192)));
        assert_eq!(read(stat), None);
    }
}
