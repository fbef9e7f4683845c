//! The document as a hub serves it, and answers held to it.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Map, Value, json};

use crate::harness::{Answer, Ask, Hub};

/// The body of a response: one of those that the document allows.
pub type Form = String;

/// A documented operation.
pub struct Operation {
    /// Its name.
    pub id: String,
    /// Its method.
    pub method: Method,
    /// Its path, with names in braces.
    pub path: String,
    responses: BTreeMap<u16, Value>,
}

/// The document.
pub struct Document {
    root: Value,
    /// The operations, in their order.
    pub operations: Vec<Operation>,
}

impl Document {
    /// What that hub says of itself.
    pub async fn of(hub: &Hub) -> Self {
        let root = hub.get("/openapi.json").await.expect(200).json();
        let mut operations = Vec::new();
        for (path, item) in root["paths"].as_object().unwrap() {
            let members = item.as_object().unwrap().iter();
            for (method, operation) in members.filter(|(key, _)| *key != "parameters") {
                let responses = operation["responses"].as_object().unwrap();
                let responses = responses.iter().map(|(status, response)| {
                    let response = resolved(&root, response).clone();
                    (status.parse().unwrap(), response)
                });
                operations.push(Operation {
                    id: operation["operationId"].as_str().unwrap().to_owned(),
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.clone(),
                    responses: responses.collect(),
                });
            }
        }
        let mut document = Self { root, operations };
        close(&mut document.root["components"]["schemas"]);
        document
    }

    /// The operation of that name.
    #[track_caller]
    pub fn operation(&self, id: &str) -> &Operation {
        let found = self.operations.iter().find(|operation| operation.id == id);
        found.unwrap_or_else(|| panic!("{id} is not in the document"))
    }

    /// What is wrong with an answer, or which of the documented bodies it has.
    pub fn check(&self, id: &str, answer: &Answer) -> Result<Form, String> {
        let operation = self.operation(id);
        let response = operation.responses.get(&answer.status);
        let response = response.ok_or_else(|| format!("{id} has no {}", answer.status))?;
        self.check_headers(response, answer)?;
        let kind = answer.header("content-type");
        if let Some(bodies) = response["x-bodies"].as_array() {
            let found = bodies.iter().find(|body| self.is_body(body, kind, answer));
            let found = found.ok_or_else(|| format!("none of {bodies:?}"))?;
            return Ok(form(found));
        }
        let Some(content) = response["content"].as_object() else {
            let is_empty = kind.is_none() && answer.body.is_empty();
            return if is_empty {
                Ok("no body".to_owned())
            } else {
                Err("a body".to_owned())
            };
        };
        let kind = kind.ok_or("a body without a type")?;
        // Which boundary there is differs each time, and the document names none.
        let is_parts = kind.starts_with("multipart/mixed;boundary=");
        let kind = if is_parts { "multipart/mixed" } else { kind };
        let found = content
            .get_key_value(kind)
            .or_else(|| content.get_key_value("*/*"));
        let (form, media) = found.ok_or_else(|| format!("the type {kind}"))?;
        if let Some(schema) = media.get("schema") {
            let body = if kind == "application/json" {
                serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?
            } else {
                Value::from(answer.text())
            };
            self.validate(schema, &body)?;
        }
        Ok(form.clone())
    }

    fn is_body(&self, body: &Value, kind: Option<&str>, answer: &Answer) -> bool {
        if body["empty"] == true {
            return kind.is_none() && answer.body.is_empty();
        }
        let parsed = serde_json::from_slice::<Value>(&answer.body).ok();
        let is_text = parsed.is_none() && !answer.body.is_empty();
        // A text may be a number of JSON, or one of its words.
        let is_text = is_text || parsed.as_ref().is_some_and(|value| !value.is_object());
        kind == body["type"].as_str()
            && match body.get("schema") {
                None => is_text,
                Some(schema) => parsed.is_some_and(|body| self.validate(schema, &body).is_ok()),
            }
    }

    fn check_headers(&self, response: &Value, answer: &Answer) -> Result<(), String> {
        let everywhere = self.root["components"]["headers"].as_object().unwrap();
        let everywhere = everywhere
            .iter()
            .filter(|(_, header)| header["x-every-response"] == true);
        let own = response["headers"].as_object();
        for (name, header) in everywhere.chain(own.into_iter().flatten()) {
            let header = resolved(&self.root, header);
            let values = answer.headers_of(name);
            if values.is_empty() && header["required"] == true {
                return Err(format!("no {name}"));
            }
            for value in values {
                let valid = self.validate(&header["schema"], &Value::from(value));
                valid.map_err(|error| format!("{name}: {error}"))?;
            }
        }
        // What stands for a documented answer may not be there without being documented.
        for name in ["location", "retry-after", "hub-durability", "allow", "link"] {
            let documented =
                own.is_some_and(|own| own.keys().any(|key| key.eq_ignore_ascii_case(name)));
            if !documented && answer.headers.contains_key(name) {
                return Err(format!("{name}, which is not documented"));
            }
        }
        Ok(())
    }

    fn validate(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut schema = schema.clone();
        close(&mut schema);
        // References are relative to the document's root.
        if let Some(fields) = schema.as_object_mut() {
            let schemas = self.root["components"]["schemas"].clone();
            fields.insert("components".to_owned(), json!({"schemas": schemas}));
        }
        let validator = jsonschema::draft202012::options().should_validate_formats(true);
        let validator = validator
            .build(&schema)
            .map_err(|error| error.to_string())?;
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }

    /// Everything that is documented: operations, their statuses, and the bodies of these.
    pub fn all(&self) -> BTreeSet<(String, u16, Form)> {
        let mut all = BTreeSet::new();
        for operation in &self.operations {
            for (status, response) in &operation.responses {
                let forms: Vec<Form> = match (&response["x-bodies"], &response["content"]) {
                    (Value::Array(bodies), _) => bodies.iter().map(form).collect(),
                    (_, Value::Object(content)) => content.keys().cloned().collect(),
                    _ => vec!["no body".to_owned()],
                };
                let named = forms.into_iter();
                all.extend(named.map(|form| (operation.id.clone(), *status, form)));
            }
        }
        all
    }
}

impl Operation {
    /// Its path with these segments in place of the names, in their order, and a query.
    #[track_caller]
    pub fn path(&self, target: &str) -> String {
        let (places, query) = target.split_once('?').unwrap_or((target, ""));
        let mut places = places.split('/').filter(|place| !place.is_empty());
        let mut path = String::new();
        for segment in self.path.split('/').skip(1) {
            path.push('/');
            if segment.starts_with('{') {
                let place = places.next();
                path += place.unwrap_or_else(|| panic!("{segment} of {}: {target}", self.path));
            } else {
                path += segment;
            }
        }
        assert_eq!(places.next(), None, "{}: {target}", self.path);
        if !query.is_empty() {
            path += "?";
            path += query;
        }
        path
    }

    /// A request for it, with these segments in its path.
    #[track_caller]
    pub fn ask(&self, hub: &Hub, target: &str) -> Ask {
        hub.ask(self.method.clone(), &self.path(target))
    }
}

/// What an entry of `x-bodies` is called.
fn form(body: &Value) -> Form {
    let kind = body["type"].as_str();
    match (kind, body.get("schema")) {
        (None, _) => "no body".to_owned(),
        (Some(kind), None) => format!("text as {kind}"),
        (Some(kind), Some(_)) => kind.to_owned(),
    }
}

/// What is meant, of something that may be a reference.
fn resolved<'v>(root: &'v Value, value: &'v Value) -> &'v Value {
    let Some(target) = value["$ref"].as_str() else {
        return value;
    };
    let found = root.pointer(target.trim_start_matches('#'));
    found.unwrap_or_else(|| panic!("{target} leads nowhere"))
}

/// Lets an object have the documented fields and no others, so that a field that is added to an
/// answer is added to the document.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            let is_schema =
                |fields: &Map<String, Value>| fields.get("type") == Some(&json!("object"));
            if is_schema(fields) && fields.contains_key("properties") {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}
