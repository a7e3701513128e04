//! How often what is promised is kept: counted where it happens (`Decider::waited`), read off what nodes count for Prometheus, and
//! only when somebody asks.

use super::{
    Gate,
    front::Question,
    rest::{Answered, Caller},
};
use axum::{Json, extract::State};
use protocol::{Refused, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// What is counted for Prometheus.
const COUNTER: &str = "outrider_service_level_total{";

/// What was promised, and how often that was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct ServiceLevel {
    /// By which brand's rules.
    preset: String,
    /// Who waited: `rescue`.
    kind: String,
    /// For what: `driver`, the first of whom should have accepted so soon after it was asked for, once for each job; `eta`: that it
    /// is known when they come, so soon after that, once for each driver who accepts.
    #[serde(rename = "for")]
    what: String,
    /// How soon, in seconds, as the preset says now; absent if it promises nothing any more.
    within_s: Option<u32>,
    /// How often it was so…
    n_kept: u64,
    /// … and how often not: it was later, or the job ended, or the driver went, when it was too late already.
    n_missed: u64,
    /// The share that was kept, in percent; absent if there was nothing to keep.
    share_percent: Option<f64>,
    /// Since when that is counted: since the first of these nodes started that counts still. What a node had counted goes with it.
    since: Timestamp,
}

/// How often what is promised is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServiceLevels {
    /// Each promise, by preset, kind and what was waited for.
    levels: Vec<ServiceLevel>,
    /// Nodes that did not say in time what they counted: it is missing here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<String>,
}

/// How often what brands promise was kept, over all nodes, since each of them started. Staff only.
#[utoipa::path(
    get, path = "/v1/analytics/service-levels", tag = "analytics", security(("bearer" = [])),
    responses(
        (status = 200, body = ServiceLevels), (status = 401, body = Refused), (status = 403, body = Refused)
    )
)]
pub(super) async fn service_levels(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
) -> Result<Json<ServiceLevels>, Answered> {
    caller.staff()?;
    let (there, silent) = gate.elsewhere::<Vec<ServiceLevel>>(&Question::ServiceLevels).await;
    let levels = together(there.into_iter().flatten().chain(gate.service_levels()));
    Ok(Json(ServiceLevels { levels, silent }))
}

impl Gate {
    /// What this node has counted.
    pub(super) fn service_levels(&self) -> Vec<ServiceLevel> {
        let preset = &self.translator.preset;
        let policy = &preset.rescue.policy;
        let promised = [("driver", policy.driver_within_ms), ("eta", policy.eta_within_ms)];
        let promised = promised.into_iter().filter(|(_, ms)| *ms > 0);
        let promised: BTreeMap<_, _> = promised
            .map(|(what, ms)| (("rescue".to_owned(), what.to_owned()), ms / 1_000))
            .collect();
        let mut counted = counted(&self.metrics.render());
        for promise in promised.keys() {
            counted.entry(promise.clone()).or_default();
        }
        let levels = counted.into_iter().map(|(promise, (n_kept, n_missed))| {
            let within_s = promised.get(&promise).copied();
            let ((kind, what), preset) = (promise, preset.name.clone());
            let (share_percent, since) = (share_percent(n_kept, n_missed), self.opened_at);
            ServiceLevel { preset, kind, what, within_s, n_kept, n_missed, share_percent, since }
        });
        levels.collect()
    }
}

/// What is counted of each kind and of each thing that is waited for: how often in time, and how often not.
fn counted(text: &str) -> BTreeMap<(String, String), (u64, u64)> {
    let mut all = BTreeMap::<_, (u64, u64)>::new();
    let lines = text.lines().filter_map(|line| line.strip_prefix(COUNTER)?.split_once("} "));
    for (labels, n) in lines {
        let label = |name: &str| {
            let is_meant = |it: &&str| it.split_once('=').is_some_and(|(key, _)| key == name);
            let (_, value) = labels.split(',').find(is_meant)?.split_once('=')?;
            Some(value.trim_matches('"').to_owned())
        };
        let (Some(kind), Some(what), Ok(n)) = (label("kind"), label("for"), n.parse::<u64>())
        else {
            continue;
        };
        let (n_kept, n_missed) = all.entry((kind, what)).or_default();
        let counter = if label("kept").as_deref() == Some("yes") { n_kept } else { n_missed };
        *counter += n;
    }
    all
}

/// What several nodes say of the same is one.
fn together(all: impl Iterator<Item = ServiceLevel>) -> Vec<ServiceLevel> {
    let mut levels = BTreeMap::<_, ServiceLevel>::new();
    for it in all {
        let key = (it.preset.clone(), it.kind.clone(), it.what.clone());
        let Some(known) = levels.get_mut(&key) else {
            levels.insert(key, it);
            continue;
        };
        known.n_kept += it.n_kept;
        known.n_missed += it.n_missed;
        known.share_percent = share_percent(known.n_kept, known.n_missed);
        known.within_s = known.within_s.or(it.within_s);
        known.since = known.since.min(it.since);
    }
    levels.into_values().collect()
}

fn share_percent(n_kept: u64, n_missed: u64) -> Option<f64> {
    let n = n_kept + n_missed;
    (n > 0).then(|| 100.0 * n_kept as f64 / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE outrider_service_level_total counter\n\
        outrider_service_level_total{kind=\"rescue\",for=\"driver\",kept=\"yes\"} 9\n\
        outrider_service_level_total{kind=\"rescue\",for=\"driver\",kept=\"no\"} 3\n\
        outrider_service_level_total{kind=\"rescue\",for=\"eta\",kept=\"no\"} 1\n\
        outrider_sessions 4\n";

    fn level(what: &str, n_kept: u64, n_missed: u64, since: u64) -> ServiceLevel {
        ServiceLevel {
            preset: "supportcarr".to_owned(),
            kind: "rescue".to_owned(),
            what: what.to_owned(),
            within_s: Some(120),
            n_kept,
            n_missed,
            share_percent: share_percent(n_kept, n_missed),
            since: Timestamp(since),
        }
    }

    #[test]
    fn what_is_counted_is_read_off_what_prometheus_is_told() {
        let of = |what: &str| ("rescue".to_owned(), what.to_owned());
        let expected = BTreeMap::from([(of("driver"), (9, 3)), (of("eta"), (0, 1))]);
        assert_eq!(counted(TEXT), expected);
        assert_eq!(counted("outrider_service_level_total{kind=\"rescue\"} 1\n"), BTreeMap::new());
    }

    #[test]
    fn what_nodes_counted_is_added_up_and_nothing_has_no_share() {
        let all = [level("driver", 9, 1, 50), level("eta", 0, 0, 50), level("driver", 0, 10, 20)];
        let [driver, eta] = &together(all.into_iter())[..] else { panic!("two promises") };
        assert_eq!(*driver, level("driver", 9, 11, 20));
        assert_eq!(driver.share_percent, Some(45.0));
        assert_eq!(eta.share_percent, None);
    }
}
