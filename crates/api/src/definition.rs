//! What the derive cannot say about a definition, said afterwards.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
};
use serde_json::Value;

/// The schema of one version.
pub(crate) fn schema(version: &mut CustomResourceDefinitionVersion) -> &mut JSONSchemaProps {
    let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
    schema.expect("the derive writes a schema")
}

/// Takes the title away, which would name the type that only carries the schema.
pub(crate) fn untitled(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        schema(version).title = None;
    }
    crd
}

/// Lets objects come without a `spec`. The derive always asks for one, but people leave out a spec in which
/// every field is optional.
pub(crate) fn with_optional_spec(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = untitled(crd);
    for version in &mut crd.spec.versions {
        schema(version).required = None;
    }
    crd
}

/// Lets objects come with a `spec` that says nothing: those that MetalLB writes have one.
pub(crate) fn with_empty_spec(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let spec = JSONSchemaProps {
        description: Some("Nothing: the object only reports what is.".to_owned()),
        type_: Some("object".to_owned()),
        ..JSONSchemaProps::default()
    };
    for version in &mut crd.spec.versions {
        schema(version).properties.get_or_insert_default().insert("spec".to_owned(), spec.clone());
    }
    crd
}

/// Names the kind of lists, as upstream's definitions do. The API server would add it, which tools that
/// compare take for a difference.
pub(crate) fn with_list_kind(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    crd
}

/// Makes `kubectl get metallb` list the kind with the others.
pub(crate) fn with_category(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.names.categories = Some(vec!["metallb".to_owned()]);
    crd
}

/// Takes back that `null` may stand for an optional field. The derive says so, upstream does not, and to
/// rules in CEL a null is a value.
pub(crate) fn without_nulls(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a definition is JSON");
    remove_nullable(&mut crd);
    serde_json::from_value(crd).expect("it is still a definition")
}

fn remove_nullable(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("nullable");
            fields.values_mut().for_each(remove_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nullable),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
