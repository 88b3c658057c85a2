//! The field reference of the custom resources, as Markdown, from the schema that the API server enforces.

use std::fmt::Write;

use serde_json::Value;

use super::API_VERSION;

/// The reference of one kind.
#[must_use]
pub fn reference_markdown(definition: &Value) -> String {
    let names = &definition["spec"]["names"];
    let kind = names["kind"].as_str().unwrap_or_default();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut page = String::new();
    line(&mut page, &format!("# {kind}\n\n{}\n", text(schema)));
    line(
        &mut page,
        &format!(
            "`apiVersion: {API_VERSION}`, namespaced, short name `{}`, category `{}`. \
             This page is made from the schema by `make generate`.\n",
            names["shortNames"][0].as_str().unwrap_or_default(),
            names["categories"][0].as_str().unwrap_or_default(),
        ),
    );
    rules(&mut page, schema);
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        line(&mut page, &format!("## {part}\n\n{}\n", text(schema)));
        line(&mut page, "| field | type | default | what it is |\n|---|---|---|---|");
        fields(&mut page, schema, "");
        line(&mut page, "");
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn rules(page: &mut String, schema: &Value) {
    let messages: Vec<&str> = messages(schema).collect();
    if !messages.is_empty() {
        line(page, "Rules for the object as a whole:\n");
        for message in messages {
            line(page, &format!("- {message}"));
        }
        line(page, "");
    }
}

/// One table row for each field, in the order of the path.
fn fields(page: &mut String, schema: &Value, parent: &str) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        // The types of Kubernetes are documented by Kubernetes.
        if field.get("description").is_none() {
            continue;
        }
        let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
        let required = schema["required"]
            .as_array()
            .is_some_and(|required| required.contains(&Value::from(name.as_str())));
        let default = match &field["default"] {
            Value::Null if required => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            default => format!("`{}`", default.to_string().trim_matches('"')),
        };
        let cells = format!("| `{path}` | {} | {default} | {} |", type_name(field), description(field));
        line(page, &cells);
        // What a condition is made of is documented by Kubernetes.
        if name == "conditions" {
            continue;
        }
        fields(page, field, &path);
        fields(page, &field["items"], &format!("{path}[]"));
    }
}

fn type_name(schema: &Value) -> String {
    match schema["type"].as_str().unwrap_or_default() {
        "array" => match type_name(&schema["items"]).as_str() {
            // It has no type of its own that a person could name.
            "" => "list".to_owned(),
            items => format!("list of {items}s"),
        },
        "object" if schema.get("additionalProperties").is_some() => {
            format!("map of {}s", type_name(&schema["additionalProperties"]))
        }
        kind => kind.to_owned(),
    }
}

/// The description, and the bounds that it need not repeat.
fn description(schema: &Value) -> String {
    let mut sentences = vec![text(schema).replace('\n', " ").replace('|', "\\|")];
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|value| format!("`{}`", value.as_str().unwrap_or_default())).collect();
        sentences.push(format!("One of {}.", values.join(", ")));
    }
    if let (Some(min), Some(max)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        sentences.push(format!("From {min} to {max}."));
    }
    if let Some(max) = schema["maxLength"].as_u64() {
        sentences.push(format!("At most {max} characters."));
    }
    if let Some(max) = schema["maxItems"].as_u64() {
        sentences.push(format!("At most {max} items."));
    }
    if let Some(key) = schema["x-kubernetes-list-map-keys"][0].as_str() {
        sentences.push(format!("Each item has another `{key}`."));
    }
    if let Some(max) = schema["maxProperties"].as_u64() {
        sentences.push(format!("At most {max} entries."));
    }
    sentences.extend(said(schema, "It"));
    sentences.extend(said(&schema["items"], "Each"));
    sentences.extend(said(&schema["additionalProperties"], "Each"));
    sentences.join(" ")
}

/// The rules as sentences: one about a field within names it in its first word.
fn said<'a>(schema: &'a Value, subject: &'a str) -> impl Iterator<Item = String> + 'a {
    rules_of(schema).filter_map(move |rule| {
        let message = rule["message"].as_str()?;
        Some(match (rule.get("fieldPath"), message.split_once(' ')) {
            (Some(_), Some((field, rest))) if !field.ends_with(':') => format!("`{field}` {rest}."),
            (Some(_), _) => format!("{message}."),
            _ => format!("{subject} {message}."),
        })
    })
}

fn messages(schema: &Value) -> impl Iterator<Item = &str> {
    rules_of(schema).filter_map(|rule| rule["message"].as_str())
}

fn rules_of(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten()
}

fn text(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("a String takes all text");
}
