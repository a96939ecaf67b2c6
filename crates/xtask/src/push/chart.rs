//! The chart as it is published: with the image that was pushed, and with the address of the project's page.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use images::Reference;
use serde_json::{Value, json};

/// What the chart asks for unless it is told otherwise.
const REPOSITORY: &str = "docker.io/ferrolb/ferrolb";

const IMAGES: &str = "artifacthub.io/images";
const LINKS: &str = "artifacthub.io/links";

/// Changes a copy of the chart: it asks for this image, and names the project's page.
pub(super) fn publish(chart: &Path, image: &Reference, home: Option<&str>) -> Result<()> {
    change(&chart.join("values.yaml"), |values| {
        let line = format!("repository: {REPOSITORY}\n");
        ensure!(values.matches(&line).count() == 1, "it says once where the image is");
        Ok(values.replace(&line, &format!("repository: {}/{}\n", image.registry(), image.repository())))
    })?;
    change(&chart.join("Chart.yaml"), |text| {
        let chart = published(serde_saphyr::from_str(text)?, image, home)?;
        Ok(serde_saphyr::to_string(&chart)?)
    })
}

fn change(path: &Path, how: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let text = how(&text).with_context(|| format!("changing {}", path.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// `Chart.yaml`, published.
fn published(mut chart: Value, image: &Reference, home: Option<&str>) -> Result<Value> {
    let version = chart["version"].as_str().context("it has no version")?.to_owned();
    let annotations = chart["annotations"].as_object_mut().context("it has no annotations")?;
    // Artifact Hub takes texts that are YAML themselves.
    let mut edit = |name: &str, how: &dyn Fn(&mut Vec<Value>) -> Result<()>| {
        let text = annotations.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"))?;
        let mut items: Vec<Value> =
            serde_saphyr::from_str(text).with_context(|| format!("reading {name}"))?;
        how(&mut items)?;
        annotations.insert(name.to_owned(), json!(serde_saphyr::to_string(&items)?));
        Ok::<(), anyhow::Error>(())
    };
    edit(IMAGES, &|images| {
        let [ours] = images.as_mut_slice() else { anyhow::bail!("{IMAGES} names {} images", images.len()) };
        ours["image"] = json!(image.to_string());
        Ok(())
    })?;
    if let Some(home) = home.map(|home| home.trim_end_matches('/')) {
        edit(LINKS, &|links| {
            for (name, file) in [("Changelog", "CHANGELOG.md"), ("Security", "SECURITY.md")] {
                links.push(json!({"name": name, "url": format!("{home}/blob/v{version}/{file}")}));
            }
            Ok(())
        })?;
        chart["home"] = json!(home);
        chart["sources"] = json!([home]);
    }
    Ok(chart)
}

#[cfg(test)]
mod tests {
    use images::programs;

    use super::*;

    fn ours() -> Value {
        let chart = programs::workspace().join("charts/ferrolb/Chart.yaml");
        serde_saphyr::from_str(&fs::read_to_string(chart).unwrap()).unwrap()
    }

    fn annotation(chart: &Value, name: &str) -> Vec<Value> {
        serde_saphyr::from_str(chart["annotations"][name].as_str().unwrap()).unwrap()
    }

    #[test]
    fn it_names_the_image_that_was_pushed_and_the_projects_page() {
        let image: Reference = "registry.example.com/x/ferrolb:v9".parse().unwrap();
        let before = ours();
        let chart = published(before.clone(), &image, Some("https://example.com/lb/")).unwrap();
        let images = annotation(&chart, IMAGES);
        assert!(images.len() == 1 && images[0]["image"] == "registry.example.com/x/ferrolb:v9", "{images:?}");
        assert_eq!(images[0]["platforms"], annotation(&before, IMAGES)[0]["platforms"]);
        assert_eq!(
            (&chart["home"], &chart["sources"][0]),
            (&json!("https://example.com/lb"), &chart["home"])
        );
        let (before_links, links) = (annotation(&before, LINKS), annotation(&chart, LINKS));
        assert_eq!(links[..before_links.len()], before_links);
        let version = before["version"].as_str().unwrap();
        let changelog = format!("https://example.com/lb/blob/v{version}/CHANGELOG.md");
        assert_eq!(links[before_links.len()]["url"], changelog);
        assert_eq!(chart["version"], before["version"]);
    }

    #[test]
    fn without_a_page_none_is_named() {
        let image: Reference = "registry.example.com/x/ferrolb:v9".parse().unwrap();
        let chart = published(ours(), &image, None).unwrap();
        assert_eq!((&chart["home"], &chart["sources"]), (&Value::Null, &Value::Null));
        assert_eq!(annotation(&chart, LINKS), annotation(&ours(), LINKS));
    }

    #[test]
    fn a_chart_that_is_not_as_expected_is_refused() {
        let image: Reference = "registry.example.com/x/ferrolb:v9".parse().unwrap();
        for (name, value) in
            [(IMAGES, Value::Null), (IMAGES, json!("[]")), (IMAGES, json!("- {")), (LINKS, json!(1))]
        {
            let mut chart = ours();
            chart["annotations"][name] = value.clone();
            assert!(published(chart, &image, Some("https://example.com")).is_err(), "{name}: {value}");
        }
    }
}
