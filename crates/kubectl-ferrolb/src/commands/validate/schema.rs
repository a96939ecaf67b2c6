//! The structure of an object beside the schema of its kind: types, fields that there are not, values that are not allowed.
//! Rules in CEL are the API server's; those for entries of pools are found by the crate `pools` too.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// What is wrong, one sentence for each fault, with the path of the field.
pub(super) fn check(schema: &JSONSchemaProps, object: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let Value::Object(fields) = object else { return vec!["it is not an object".to_owned()] };
    for (name, value) in fields {
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
            continue;
        }
        match schema.properties.as_ref().and_then(|all| all.get(name)) {
            Some(schema) => look(schema, value, name, &mut faults),
            None => faults.push(unknown(name, schema)),
        }
    }
    missing(schema, fields, "", &mut faults);
    faults
}

fn look(schema: &JSONSchemaProps, value: &Value, path: &str, faults: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        if !value.is_string() && !value.is_i64() && !value.is_u64() {
            faults.push(format!("{path} is neither a number nor a text"));
        }
        return;
    }
    let wanted = schema.type_.as_deref().unwrap_or_default();
    if !is_of_type(wanted, value) {
        faults.push(format!("{path} is {}, and {} is wanted", named(value), article(wanted)));
        return;
    }
    if let Some(allowed) = &schema.enum_
        && !allowed.iter().any(|it| it.0 == *value)
    {
        let allowed: Vec<String> = allowed.iter().map(|it| it.0.to_string()).collect();
        faults.push(format!("{path} {value} is not allowed: write one of {}", allowed.join(", ")));
    }
    let number = value.as_f64();
    if let (Some(number), Some(least)) = (number, schema.minimum)
        && number < least
    {
        faults.push(format!("{path} {value} is less than {least}"));
    }
    if let (Some(number), Some(most)) = (number, schema.maximum)
        && number > most
    {
        faults.push(format!("{path} {value} is more than {most}"));
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let known = schema.properties.as_ref().and_then(|all| all.get(name));
                match (known, &schema.additional_properties) {
                    (Some(schema), _) => look(schema, value, &path, faults),
                    (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => look(schema, value, &path, faults),
                    (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
                    (None, Some(JSONSchemaPropsOrBool::Bool(false)) | None) => {
                        if schema.x_kubernetes_preserve_unknown_fields != Some(true) {
                            faults.push(unknown(&path, schema));
                        }
                    }
                }
            }
            missing(schema, fields, path, faults);
        }
        Value::Array(items) => {
            let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
            if let Some(most) = schema.max_items.filter(|most| count > *most) {
                faults.push(format!("{path} has {count} entries, and {most} are allowed"));
            }
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    look(schema, item, &format!("{path}[{index}]"), faults);
                }
            }
        }
        Value::String(text) => {
            let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            if let Some(most) = schema.max_length.filter(|most| count > *most) {
                faults.push(format!("{path} has {count} characters, and {most} are allowed"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn missing(
    schema: &JSONSchemaProps,
    fields: &serde_json::Map<String, Value>,
    path: &str,
    faults: &mut Vec<String>,
) {
    for name in schema.required.iter().flatten().filter(|name| fields.get(*name).is_none_or(Value::is_null)) {
        let dot = if path.is_empty() { "" } else { "." };
        faults.push(format!("{path}{dot}{name} is missing"));
    }
}

/// A field that there is not, and those that there are.
fn unknown(path: &str, schema: &JSONSchemaProps) -> String {
    let known: Vec<&str> = schema.properties.iter().flatten().map(|(name, _)| name.as_str()).collect();
    format!("{path} is no field: there are {}", known.join(", "))
}

fn is_of_type(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn article(type_: &str) -> &'static str {
    match type_ {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text (in quotes, where it looks like a number)",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "something else",
    }
}
