//! `hub post` and `hub get`: one item in, one answer out.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method};
use reqwest::{Request, Response};
use serde_json::Value;

use super::address::resolve;
use super::args::{GetArgs, PostArgs};
use super::client::{Client, accepted, header_value, next_chunk, read_json};
use super::error::CliError;
use super::output::Output;
use super::{media, upload};

/// Runs `hub post`.
///
/// # Errors
/// As [`upload::send`] and [`Client::ask`]; [`CliError::File`] if the file cannot be opened.
pub async fn post(args: PostArgs, client: &Client, out: &mut Output<'_>) -> Result<(), CliError> {
    if args.file.as_os_str() == "-" {
        if out.is_standard() && io::stdin().is_terminal() {
            out.note("type the item; Ctrl-D on a line of its own ends it");
        }
        return post_from(io::stdin(), "standard input", None, &args, client, out).await;
    }
    let name = args.file.display().to_string();
    let failed = |source| CliError::File {
        action: "read",
        path: name.clone(),
        source,
    };
    let file = File::open(&args.file).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // A pipe or a device has a length of zero, whatever comes out of it.
    let length = about.is_file().then_some(about.len());
    post_from(file, &name, length, &args, client, out).await
}

/// Posts what `source` holds; `length` is how much that is, where it is known.
async fn post_from(
    source: impl Read + Send + 'static,
    name: &str,
    length: Option<u64>,
    args: &PostArgs,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let mut request = Request::new(Method::POST, client.url(&["channel", &args.channel]));
    let headers = request.headers_mut();
    if let Some(media) = content_type(args) {
        headers.insert(CONTENT_TYPE, header_value("content type", media)?);
    }
    if let Some(key) = &args.idempotency_key {
        headers.insert("Idempotency-Key", header_value("idempotency key", key)?);
    }
    let response = match length {
        // The hub is told beforehand, so that it can refuse before it has read all of it. A file
        // that grows meanwhile is cut there; one that shrinks fails the request.
        Some(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            upload::send(client, request, source.take(length), name).await?
        }
        None => upload::send(client, request, source, name).await?,
    };
    let response = accepted(Method::POST, response).await?;
    let location = response.headers().get(LOCATION).cloned();
    if args.json {
        let answer: Value = read_json(response).await?;
        return out.json(&answer);
    }
    match location.as_ref().map(|location| location.to_str()) {
        Some(Ok(location)) => out.line(location),
        _ => Err(CliError::NotAHub {
            url: response.url().to_string(),
            reason: "it took the item, but does not say where it is".to_owned(),
        }),
    }
}

/// What the item is said to be; `None` for standard input that nothing is known of.
fn content_type(args: &PostArgs) -> Option<&str> {
    let guessed = || (args.file != Path::new("-")).then(|| media::guess(&args.file));
    args.content_type.as_deref().or_else(guessed)
}

/// Runs `hub get`.
///
/// # Errors
/// As [`Client::follow`]; [`CliError::NotAnAddress`] for a target that is none;
/// [`CliError::File`] if the output file cannot be written.
pub async fn get(args: GetArgs, client: &Client, out: &mut Output<'_>) -> Result<(), CliError> {
    let url = resolve(client.base(), &args.target)?;
    let mut response = client
        .follow(url, |answer| {
            if args.include {
                write_head(answer, out)?;
            }
            Ok(())
        })
        .await?;
    let Some(path) = &args.output else {
        while let Some(chunk) = next_chunk(&mut response).await? {
            out.bytes(&chunk)?;
        }
        return Ok(());
    };
    let failed = |action| {
        move |source| CliError::File {
            action,
            path: path.display().to_string(),
            source,
        }
    };
    let mut file = File::create(path).map_err(failed("create"))?;
    while let Some(chunk) = next_chunk(&mut response).await? {
        file.write_all(&chunk).map_err(failed("write"))?;
    }
    Ok(())
}

/// Status and headers, as they look on the wire, and an empty line.
fn write_head(answer: &Response, out: &mut Output<'_>) -> Result<(), CliError> {
    out.line(format_args!("{:?} {}", answer.version(), answer.status()))?;
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        out.line(format_args!("{name}: {value}"))?;
    }
    out.line("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_is_what_was_said_or_what_the_name_says() {
        let said = |file: &str, given: Option<&str>| {
            let args = PostArgs {
                channel: "x".to_owned(),
                file: file.into(),
                content_type: given.map(str::to_owned),
                idempotency_key: None,
                json: false,
            };
            content_type(&args).map(str::to_owned)
        };
        assert_eq!(said("a.json", None).unwrap(), "application/json");
        assert_eq!(said("a.json", Some("text/x")).unwrap(), "text/x");
        assert_eq!(said("a", None).unwrap(), media::UNKNOWN);
        assert_eq!(said("-", None), None);
        assert_eq!(said("-", Some("text/x")).unwrap(), "text/x");
    }
}
