//! The OCI image layout in a tar archive: written from scratch, read without unpacking.
//!
//! Sources: the OCI image specification 1.1 (image-layout.md, manifest.md, config.md), and containerd's
//! annotation `io.containerd.image.name`, from which an import takes the name of an image.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::{Error, Platform, Reference, Tree};

/// An image to be written.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// What it is called. An archive may hold one image under several names.
    pub names: Vec<Reference>,
    /// Its files.
    pub files: Tree,
    /// How it is run.
    pub config: Config,
}

/// How an image is run: the `config` object of the OCI image configuration.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// User and group, by name or number: `65534:65534`. Empty is root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that the program listens on, for people to read: `80/tcp`.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_keys")]
    pub exposed_ports: Vec<String>,
    /// The environment, `NAME=value` each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and the arguments that it always gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments for when a Pod gives none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Where the program starts. Empty is `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// What is known of the image, under the keys of the OCI specification's annotations.md.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends the program gracefully, `SIGTERM` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

/// An image archive on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes it has.
    pub size: u64,
    /// The manifest's digest, `sha256:...`, of each name.
    pub images: BTreeMap<Reference, String>,
}

/// Where the bytes of a blob are within an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Bytes before it.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) size: u64,
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// More than any index or manifest has, and little enough to hold in memory.
pub(crate) const MAX_JSON: u64 = 4 << 20;

impl ImageSpec {
    /// An image of one static program and nothing else, run by a user without rights.
    pub fn from_binary(name: Reference, program: impl Into<PathBuf>, path: &str) -> Self {
        let mut files = Tree::new();
        files.copy(path, 0o755, program);
        let config =
            Config { user: "65534:65534".into(), entrypoint: vec![path.into()], ..Config::default() };
        Self { names: vec![name], files, config }
    }
}

/// Writes an image archive: an OCI image layout with one uncompressed layer, for the platform of this machine. The same
/// image gives the same bytes. The file appears whole or not at all.
pub fn write_image(image: &ImageSpec, out: &Path) -> Result<Archive, Error> {
    let mut blobs = BTreeMap::new();
    let manifest = add_image(&mut blobs, Platform::HOST, image)?;
    write_archive(&mut blobs, &image.names, &manifest, out)
}

/// Writes an archive of one image for several platforms, of which each container runtime takes its own: an index of the
/// manifests. Its names are those of the first. The same images in the same order give the same bytes.
///
/// # Panics
/// When there is no image.
pub fn write_index(images: &[(Platform, ImageSpec)], out: &Path) -> Result<Archive, Error> {
    let mut blobs = BTreeMap::new();
    let manifests = images.iter().map(|(platform, image)| {
        let manifest = add_image(&mut blobs, *platform, image)?;
        Ok(Descriptor { platform: Some((*platform).into()), ..manifest })
    });
    let manifests: Vec<Descriptor> = manifests.collect::<Result<_, Error>>()?;
    let index = Index { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests };
    let index = add_blob(&mut blobs, INDEX, to_json(&index));
    let (_, first) = images.first().expect("there is at least one platform");
    write_archive(&mut blobs, &first.names, &index, out)
}

/// Adds an image's layer, configuration and manifest.
fn add_image(
    blobs: &mut BTreeMap<String, Vec<u8>>,
    platform: Platform,
    image: &ImageSpec,
) -> Result<Descriptor, Error> {
    let layer = add_blob(blobs, LAYER, image.files.to_layer()?);
    let config = ConfigFile {
        platform: platform.into(),
        config: &image.config,
        rootfs: RootFs { kind: "layers", diff_ids: [&layer.digest] },
    };
    let config = add_blob(blobs, CONFIG, to_json(&config));
    let manifest = Manifest { schema_version: 2, media_type: MANIFEST, config, layers: [layer] };
    Ok(add_blob(blobs, MANIFEST, to_json(&manifest)))
}

/// Writes the blobs, of which `root` is the manifest or the index that has these names.
fn write_archive(
    blobs: &mut BTreeMap<String, Vec<u8>>,
    names: &[Reference],
    root: &Descriptor,
    out: &Path,
) -> Result<Archive, Error> {
    let descriptors = names.iter().map(|name| Descriptor {
        annotations: [CONTAINERD_NAME, REF_NAME].map(|key| (key.to_owned(), name.to_string())).into(),
        ..root.clone()
    });
    let index =
        Index { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests: descriptors.collect() };

    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(Error::io(parent))?;
    let mut tar = Builder::new(file.as_file_mut());
    let write = |tar: &mut Builder<&mut File>| {
        for (digest, content) in blobs.iter() {
            append(tar, &format!("blobs/sha256/{}", digest.trim_start_matches("sha256:")), content)?;
        }
        append(tar, "index.json", &to_json(&index))?;
        append(tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        tar.finish()
    };
    write(&mut tar).map_err(Error::io(out))?;
    drop(tar);
    let size = file.as_file().metadata().map_err(Error::io(out))?.len();
    file.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(Error::io(out))?;
    file.persist(out).map_err(|error| Error::io(out)(error.error))?;
    let images = names.iter().map(|name| (name.clone(), root.digest.clone())).collect();
    Ok(Archive { path: out.to_owned(), size, images })
}

impl Archive {
    /// Reads what an archive holds, be it written by [`write_image`] or by another program. Images
    /// without a full name are left out.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(read_blobs(path)?.0)
    }
}

/// Reads what an archive holds and where each of its blobs (by digest, `sha256:...`) is in the file.
pub(crate) fn read_blobs(path: &Path) -> Result<(Archive, BTreeMap<String, Blob>), Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    let not_an_image = |reason: String| Error::NotAnImage { path: path.to_owned(), reason };
    let mut tar = tar::Archive::new(BufReader::new(file));
    let (mut blobs, mut index) = (BTreeMap::new(), None);
    for entry in tar.entries_with_seek().map_err(|error| not_an_image(error.to_string()))? {
        let mut entry = entry.map_err(|error| not_an_image(error.to_string()))?;
        let name = entry.path().map_err(|error| not_an_image(error.to_string()))?.into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name);
        if let Ok(hex) = name.strip_prefix("blobs/sha256") {
            let blob = Blob { offset: entry.raw_file_position(), size: entry.size() };
            blobs.insert(format!("sha256:{}", hex.display()), blob);
        } else if name == Path::new("index.json") {
            let mut json = Vec::new();
            entry.by_ref().take(MAX_JSON).read_to_end(&mut json).map_err(Error::io(path))?;
            let parsed: Index = serde_json::from_slice(&json)
                .map_err(|error| not_an_image(format!("index.json: {error}")))?;
            index = Some(parsed);
        }
    }
    let index = index.ok_or_else(|| not_an_image("it has no index.json".into()))?;
    let images = index.manifests.into_iter().filter_map(|descriptor| {
        let name = descriptor.annotations.get(CONTAINERD_NAME).or(descriptor.annotations.get(REF_NAME))?;
        Some((name.parse().ok()?, descriptor.digest))
    });
    Ok((Archive { path: path.to_owned(), size, images: images.collect() }, blobs))
}

#[derive(Serialize, Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<Runs>,
}

/// On what an image runs.
#[derive(Serialize, Deserialize, Clone)]
struct Runs {
    architecture: String,
    os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl From<Platform> for Runs {
    fn from(platform: Platform) -> Self {
        Self {
            architecture: platform.architecture().to_owned(),
            os: "linux".to_owned(),
            variant: platform.variant().map(str::to_owned),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
}

#[derive(Serialize)]
struct ConfigFile<'a> {
    #[serde(flatten)]
    platform: Runs,
    config: &'a Config,
    rootfs: RootFs<'a>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [&'a str; 1],
}

fn add_blob(blobs: &mut BTreeMap<String, Vec<u8>>, media_type: &str, content: Vec<u8>) -> Descriptor {
    let digest = digest(&content);
    let size = content.len() as u64;
    blobs.insert(digest.clone(), content);
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        annotations: BTreeMap::new(),
        platform: None,
    }
}

/// The content's address: `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest(content: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(content) {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
    }
    text
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings, numbers and maps with string keys are always JSON")
}

fn append(tar: &mut Builder<&mut File>, path: &str, content: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}

/// A Go set: an object whose keys are the items.
fn as_keys<S: serde::Serializer>(items: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(items.iter().map(|item| (item, serde_json::Map::new())))
}

#[cfg(test)]
mod tests;
