use std::fs;
use std::os::unix::fs::FileExt;

use serde_json::{Value, json};

use super::*;

fn image() -> ImageSpec {
    let mut files = Tree::new();
    files.file("/hello", 0o755, "#!/bin/sh\n").symlink("/bin/sh", "/hello").directory("/tmp", 0o1777);
    let config = Config {
        user: "1:2".into(),
        exposed_ports: vec!["80/tcp".into()],
        env: vec!["PATH=/bin".into()],
        entrypoint: vec!["/hello".into()],
        cmd: vec!["world".into()],
        working_dir: "/tmp".into(),
        labels: [("a".into(), "b".into())].into(),
        stop_signal: "SIGQUIT".into(),
    };
    let names = ["hello", "ghcr.io/x/hello:1"].map(|name| name.parse().unwrap());
    ImageSpec { names: names.into(), files, config }
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a.tar", "b.tar"].map(|name| directory.path().join(name));
    for path in &paths {
        write_image(&image(), path).unwrap();
    }
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
}

#[test]
fn what_was_written_is_read_back_with_every_blob_under_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hello.tar");
    let written = write_image(&image(), &path).unwrap();
    let (read, blobs) = read_blobs(&path).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.images.len(), 2);

    let file = File::open(&path).unwrap();
    let content = |wanted: &str| {
        let blob = blobs[wanted];
        let mut bytes = vec![0; usize::try_from(blob.size).unwrap()];
        file.read_exact_at(&mut bytes, blob.offset).unwrap();
        assert_eq!(digest(&bytes), wanted);
        bytes
    };
    let parse =
        |wanted: &Value| -> Value { serde_json::from_slice(&content(wanted.as_str().unwrap())).unwrap() };
    let manifest = parse(&json!(read.images.values().next().unwrap()));
    assert_eq!(manifest["mediaType"], MANIFEST);
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    content(layer);
    assert_eq!(
        parse(&manifest["config"]["digest"]),
        json!({
            "architecture": "amd64", "os": "linux",
            "config": {
                "User": "1:2", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/bin"],
                "Entrypoint": ["/hello"], "Cmd": ["world"], "WorkingDir": "/tmp",
                "Labels": {"a": "b"}, "StopSignal": "SIGQUIT"
            },
            "rootfs": {"type": "layers", "diff_ids": [layer]}
        })
    );
    assert_eq!(blobs.len(), 3);
}

#[test]
fn a_file_that_is_no_image_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tar");
    for (content, reason) in [(vec![b'x'; 2000], ""), (vec![0; 1024], "it has no index.json")] {
        fs::write(&path, content).unwrap();
        let error = Archive::open(&path).unwrap_err().to_string();
        assert!(error.contains("not an OCI image archive") && error.contains(reason), "{error}");
    }
}

#[test]
fn an_index_has_an_image_for_each_platform_and_the_same_images_give_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let images = Platform::ALL.map(|platform| {
        let mut image = image();
        image.files.file("/platform", 0o444, platform.to_string());
        (platform, image)
    });
    let paths = ["a.tar", "b.tar"].map(|name| directory.path().join(name));
    let written = write_index(&images, &paths[0]).unwrap();
    write_index(&images, &paths[1]).unwrap();
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());

    let (read, blobs) = read_blobs(&paths[0]).unwrap();
    assert_eq!(read, written);
    let file = File::open(&paths[0]).unwrap();
    let parse = |wanted: &Value| -> Value {
        let blob = blobs[wanted.as_str().unwrap()];
        let mut bytes = vec![0; usize::try_from(blob.size).unwrap()];
        file.read_exact_at(&mut bytes, blob.offset).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let index = parse(&json!(read.images.values().next().unwrap()));
    assert_eq!(index["mediaType"], INDEX);
    let found: Vec<Value> =
        index["manifests"].as_array().unwrap().iter().map(|it| it["platform"].clone()).collect();
    assert_eq!(
        found,
        [
            json!({"architecture": "amd64", "os": "linux"}),
            json!({"architecture": "arm64", "os": "linux"}),
            json!({"architecture": "arm", "os": "linux", "variant": "v7"}),
        ]
    );
    for (manifest, platform) in index["manifests"].as_array().unwrap().iter().zip(&found) {
        let config = parse(&parse(&manifest["digest"])["config"]["digest"]);
        assert_eq!(config["architecture"], platform["architecture"]);
        assert_eq!(config.get("variant"), platform.get("variant"));
    }
    assert_eq!(blobs.len(), 1 + 3 * 3, "an index, and of each a manifest, a configuration and a layer");
}
