//! The images that tutorials use, under the names they use, so that manifests run as they are.
//!
//! They behave like the well-known ones where manifests can tell: paths, arguments, users and signals.
//! Debian's packages give the programs, and one version stands in for every tag.

use std::fs;
use std::path::Path;

use crate::debian::Packages;
use crate::layout::digest;
use crate::programs::{self, run};
use crate::{Archive, Config, Error, ImageSpec, Owner, Reference, Tree, write_image};

const NGINX: &[&str] = &[
    "nginx",
    "nginx:stable",
    "nginx:mainline",
    "nginx:alpine",
    "nginx:stable-alpine",
    "nginx:1",
    "nginx:1-alpine",
    // The versions of the Kubernetes documentation.
    "nginx:1.14.2",
    "nginx:1.16.1",
    "nginx:1.25",
    "nginx:1.26",
    "nginx:1.27",
    "nginx:1.27-alpine",
    "nginx:1.28",
    "nginx:1.29",
];
const HTTP_ECHO: &[&str] = &[
    "hashicorp/http-echo",
    "hashicorp/http-echo:alpine",
    "hashicorp/http-echo:0.2.3",
    "hashicorp/http-echo:1.0",
    "hashicorp/http-echo:1.0.0",
];
const CURL: &[&str] = &["curlimages/curl", "curlimages/curl:8.10.1", "curlimages/curl:8.11.1"];
const BUSYBOX: &[&str] = &[
    "busybox",
    "busybox:stable",
    "busybox:1",
    // The version of the Kubernetes documentation.
    "busybox:1.28",
    "busybox:1.35",
    "busybox:1.36",
    "busybox:1.37",
    "busybox:musl",
    "busybox:glibc",
];
const PAUSE: &[&str] =
    &["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10.2"];

/// What the images are made by: when any of it changes, they are made anew.
const RECIPE: &[&str] = &[
    include_str!("tutorial.rs"),
    include_str!("debian.rs"),
    include_str!("layout.rs"),
    include_str!("tree.rs"),
    include_str!("bin/http-echo.rs"),
    include_str!("bin/pause.rs"),
    NGINX_CONF,
    DEFAULT_CONF,
    INDEX_HTML,
    ERROR_HTML,
    NGINX_ENTRYPOINT,
    CURL_ENTRYPOINT,
];
const NGINX_CONF: &str = include_str!("../assets/nginx.conf");
const DEFAULT_CONF: &str = include_str!("../assets/default.conf");
const INDEX_HTML: &str = include_str!("../assets/index.html");
const ERROR_HTML: &str = include_str!("../assets/50x.html");
const NGINX_ENTRYPOINT: &str = include_str!("../assets/nginx-entrypoint.sh");
const CURL_ENTRYPOINT: &str = include_str!("../assets/curl-entrypoint.sh");

const ENVIRONMENT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the archives of all tutorial images. They are built on the first call, which takes network
/// access to the machine's Debian package source and to the crates of `Cargo.lock`, and found in the
/// cache directory afterwards. `progress` is told, in a line each, what takes time.
pub fn tutorial_set(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Vec<Archive>, Error> {
    let done = cache.join(&digest(RECIPE.concat().as_bytes())["sha256:".len()..][..16]);
    if !done.exists() {
        fs::create_dir_all(cache).map_err(Error::io(cache))?;
        let building = tempfile::tempdir_in(cache).map_err(Error::io(cache))?;
        let archives = building.path().join("archives");
        fs::create_dir(&archives).map_err(Error::io(&archives))?;
        build(&building.path().join("debian"), &archives, progress)?;
        match fs::rename(&archives, &done) {
            // Somebody else was faster.
            Err(_) if done.exists() => {}
            renamed => renamed.map_err(Error::io(&done))?,
        }
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(&done).map_err(Error::io(&done))? {
        paths.push(entry.map_err(Error::io(&done))?.path());
    }
    paths.sort();
    paths.iter().map(|path| Archive::open(path)).collect()
}

fn build(scratch: &Path, archives: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
    progress("images: building http-echo and pause");
    let [pause, http_echo] = programs::build("images", ["pause", "http-echo"])?;
    progress("images: fetching Debian packages of nginx, curl, bash and busybox");
    let packages = Packages::fetch(&["nginx", "nginx-common", "curl", "bash", "busybox-static"], scratch)?;
    progress("images: writing nginx, curl, busybox, http-echo and pause");
    let mut pause = ImageSpec::from_binary(name(PAUSE[0]), pause, "/pause");
    pause.names = PAUSE.iter().copied().map(name).collect();
    let mut http_echo = ImageSpec::from_binary(name(HTTP_ECHO[0]), http_echo, "/http-echo");
    http_echo.names = HTTP_ECHO.iter().copied().map(name).collect();
    http_echo.config.exposed_ports.push("5678/tcp".into());
    for (file, image) in [
        ("pause.tar", pause),
        ("http-echo.tar", http_echo),
        ("nginx.tar", nginx(&packages)?),
        ("curl.tar", curl(&packages)?),
        ("busybox.tar", busybox(&packages)?),
    ] {
        write_image(&image, &archives.join(file))?;
    }
    Ok(())
}

fn nginx(packages: &Packages) -> Result<ImageSpec, Error> {
    let mut files = userland(packages, "nginx:x:101:101:nginx:/nonexistent:/bin/false", "nginx:x:101:")?;
    packages.add_program(&mut files, "/usr/bin/bash")?;
    packages.add_program(&mut files, "/usr/sbin/nginx")?;
    for name in ["mime.types", "fastcgi.conf", "fastcgi_params", "scgi_params", "uwsgi_params"] {
        packages.add(&mut files, &format!("/etc/nginx/{name}"), 0o644)?;
    }
    files
        .file("/etc/nginx/nginx.conf", 0o644, NGINX_CONF)
        .file("/etc/nginx/conf.d/default.conf", 0o644, DEFAULT_CONF)
        .file("/usr/share/nginx/html/index.html", 0o644, INDEX_HTML)
        .file("/usr/share/nginx/html/50x.html", 0o644, ERROR_HTML)
        .file("/docker-entrypoint.sh", 0o755, NGINX_ENTRYPOINT)
        .directory("/docker-entrypoint.d", 0o755)
        .symlink("/var/log/nginx/access.log", "/dev/stdout")
        .symlink("/var/log/nginx/error.log", "/dev/stderr")
        .directory("/var/cache/nginx", 0o755)
        // Debian's nginx keeps here what manifests for a read-only root mount a volume there for.
        .symlink("/var/lib/nginx", "../cache/nginx");
    let config = Config {
        exposed_ports: vec!["80/tcp".into()],
        env: vec![ENVIRONMENT.into()],
        entrypoint: vec!["/docker-entrypoint.sh".into()],
        cmd: ["nginx", "-g", "daemon off;"].map(Into::into).into(),
        stop_signal: "SIGQUIT".into(),
        ..Config::default()
    };
    Ok(ImageSpec { names: NGINX.iter().copied().map(name).collect(), files, config })
}

fn curl(packages: &Packages) -> Result<ImageSpec, Error> {
    let mut files =
        userland(packages, "curl_user:x:100:101:curl:/home/curl_user:/bin/sh", "curl_group:x:101:")?;
    packages.add_program(&mut files, "/usr/bin/curl")?;
    files
        .file("/entrypoint.sh", 0o755, CURL_ENTRYPOINT)
        .directory("/home/curl_user", 0o755)
        .give("/home/curl_user", Owner { uid: 100, gid: 101 });
    let config = Config {
        user: "100:101".into(),
        env: vec![ENVIRONMENT.into()],
        entrypoint: vec!["/entrypoint.sh".into()],
        cmd: vec!["curl".into()],
        working_dir: "/home/curl_user".into(),
        ..Config::default()
    };
    Ok(ImageSpec { names: CURL.iter().copied().map(name).collect(), files, config })
}

fn busybox(packages: &Packages) -> Result<ImageSpec, Error> {
    let config = Config { env: vec![ENVIRONMENT.into()], cmd: vec!["sh".into()], ..Config::default() };
    let names = BUSYBOX.iter().copied().map(name).collect();
    Ok(ImageSpec { names, files: userland(packages, "", "")?, config })
}

/// A small Unix: busybox as the shell and its tools, and the accounts that every image has.
fn userland(packages: &Packages, user: &str, group: &str) -> Result<Tree, Error> {
    let mut files = Tree::new();
    for name in ["bin", "sbin", "lib", "lib64"] {
        files.directory(&format!("/usr/{name}"), 0o755).symlink(name, &format!("usr/{name}"));
    }
    packages.add(&mut files, "/usr/bin/busybox", 0o755)?;
    let mut busybox = std::process::Command::new(packages.path("/usr/bin/busybox"));
    let applets = run(busybox.arg("--list"))?;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|applet| *applet != "busybox") {
        files.symlink(&format!("/usr/bin/{applet}"), "busybox");
    }
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n{user}\n"
    );
    files
        .file("/etc/passwd", 0o644, passwd.replace("\n\n", "\n"))
        .file("/etc/group", 0o644, format!("root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n{group}\n"))
        .file("/etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n")
        .directory("/root", 0o700)
        .directory("/run", 0o755)
        .symlink("/var/run", "../run")
        .directory("/tmp", 0o1777);
    Ok(files)
}

fn name(name: &str) -> Reference {
    name.parse().expect("the names above are tested")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_valid_and_given_once() {
        let lists = [NGINX, HTTP_ECHO, CURL, BUSYBOX, PAUSE];
        let names: Vec<_> = lists.into_iter().flatten().copied().map(name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
