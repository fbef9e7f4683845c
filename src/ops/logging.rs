//! The log: text for people, or one JSON object a line for machines.

use std::io::{self, IsTerminal as _, Write as _};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, time::FormatTime};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogConfig, LogFormat};
use crate::env::{ClockSource, SystemClock};

/// Starts the log on standard error. Later calls change nothing.
pub fn start(config: &LogConfig, node: &str) {
    let filter = EnvFilter::new(format!(
        "{level},hyper=warn,h2=warn,rustls=warn",
        level = config.level.name()
    ));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    // It fails only if a log was started before, as in tests.
    let _ = match config.format {
        LogFormat::Text => builder.with_timer(WallTime).try_init(),
        LogFormat::Json => {
            let node = node.to_owned();
            builder.event_format(JsonLines { node }).try_init()
        }
    };
}

/// Lines that a person can read across restarts: wall time, not the hub's clock.
struct WallTime;

impl FormatTime for WallTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", SystemClock.wall())
    }
}

/// One JSON object a line: `ts`, `level`, `target`, `msg`, `node`, and the event's own fields.
struct JsonLines {
    node: String,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = serde_json::Map::new();
        line.insert("ts".to_owned(), SystemClock.wall().iso().into());
        let level = metadata.level().as_str().to_ascii_lowercase();
        line.insert("level".to_owned(), level.into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("msg".to_owned(), fields.message.into());
        line.insert("node".to_owned(), self.node.clone().into());
        line.extend(fields.others);
        writeln!(writer, "{}", serde_json::Value::Object(line))
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: serde_json::Map<String, serde_json::Value>,
}

impl Fields {
    fn add(&mut self, field: &tracing::field::Field, value: impl Into<serde_json::Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.add(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &tracing::field::Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.add(field, value);
    }
}

/// Says something to whoever started the hub, log or no log.
pub fn say(text: &str) {
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
