//! What a hub counts: `/metrics`.

use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// The metrics of a hub at one time.
#[derive(Debug, Clone)]
pub struct Metrics(String);

impl Metrics {
    /// Asks a hub.
    ///
    /// # Errors
    /// [`Failure`] if it does not say.
    pub async fn of(client: &Client) -> Outcome<Self> {
        let (status, body) = client.send(reqwest::Method::GET, "/metrics").await?;
        if status != 200 {
            return Err(Failure(format!("/metrics: {status}")));
        }
        Ok(Self(String::from_utf8_lossy(&body).into_owned()))
    }

    /// Whether there is any sample of that name.
    pub fn has(&self, name: &str) -> bool {
        self.samples(name, &[]).next().is_some()
    }

    /// The sum of all samples of that name whose labels have these values; zero if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name, labels).sum()
    }

    fn samples(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (given, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let meets = labels
                .iter()
                .all(|label| given.split(',').any(|g| g == label));
            meets.then(|| value.trim().parse().ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_their_labels() {
        let text = "# HELP a_total things\na_total{kind=\"x\",peer=\"1\"} 2\na_total{kind=\"y\",peer=\"1\"} 3\n\
                    a_total_more 9\nb 1.5\n";
        let metrics = Metrics(text.to_owned());
        let near = |value: f64, wanted: f64| (value - wanted).abs() < 1e-9;
        assert!(near(metrics.sum("a_total", &[]), 5.0));
        assert!(near(metrics.sum("a_total", &[("kind", "y")]), 3.0));
        assert!(near(metrics.sum("b", &[]), 1.5));
        assert!(metrics.has("b") && !metrics.has("c"));
    }
}
