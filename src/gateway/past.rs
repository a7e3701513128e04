//! What an actor was: its state as of an earlier version, made anew from its events, as its successor would make it.

use super::{
    Gate,
    translate::{actor_view, not_found},
    unavailable,
};
use actors::{
    Decider, EntityKey, Kind, Version, driver::Driver, format, incident::Incident, order::Order,
    rescue::Rescue, revocation::Revocation, rider::Rider, rule::Rule, run::Run, template::Template,
    zone::Zone,
};
use protocol::{
    Code, DriverId, Identifier, IncidentId, OrderId, Refused, RescueId, RevocationId, RiderId,
    RuleId, RunId, TemplateId, ZoneId, frame::ActorView,
};

/// Most events that are folded for one answer: whoever has had more is looked at from its history.
const EVENTS_MAX: u64 = 20_000;
/// Events that are read at once.
const PAGE_EVENTS: u64 = 512;

impl Gate {
    /// What an actor was as of `version`. Refused if it has not come that far, or much further.
    pub(super) async fn as_of(
        &self,
        key: EntityKey,
        version: Version,
    ) -> Result<ActorView, Refused> {
        match key.kind {
            Kind::Order => self.folded::<Order>(OrderId(key.id), version).await,
            Kind::Rescue => self.folded::<Rescue>(RescueId(key.id), version).await,
            Kind::Driver => self.folded::<Driver>(DriverId(key.id), version).await,
            Kind::Rider => self.folded::<Rider>(RiderId(key.id), version).await,
            Kind::Revocation => self.folded::<Revocation>(RevocationId(key.id), version).await,
            Kind::Incident => self.folded::<Incident>(IncidentId(key.id), version).await,
            Kind::Zone => self.folded::<Zone>(ZoneId(key.id), version).await,
            Kind::Run => self.folded::<Run>(RunId(key.id), version).await,
            Kind::Rule => self.folded::<Rule>(RuleId(key.id), version).await,
            Kind::Template => self.folded::<Template>(TemplateId(key.id), version).await,
        }
    }

    async fn folded<D: Decider>(&self, id: D::Id, version: Version) -> Result<ActorView, Refused> {
        let Version(wanted) = version;
        if wanted > EVENTS_MAX {
            let message = format!("more than {EVENTS_MAX} events ago; read its history instead");
            return Err(Refused::new(Code::TooLarge, message));
        }
        let key = EntityKey { kind: D::KIND, id: id.uuid() };
        let mut state = D::default();
        let mut last = Vec::new();
        let mut at = 0;
        while at < wanted {
            let limit = usize::try_from((wanted - at).min(PAGE_EVENTS)).unwrap_or(usize::MAX);
            let page = self.system.journal().history(key, Version(at), limit).await;
            let page = page.map_err(|error| {
                tracing::warn!(%error, "a history could not be read");
                unavailable()
            })?;
            if page.is_empty() {
                break;
            }
            for recorded in page {
                let (event, _format) =
                    format::decode::<D::Event>(&recorded.event.bytes).map_err(|error| {
                        tracing::error!(%error, entity = %key, "a history that cannot be read");
                        Refused::new(Code::Internal, "a fault of ours")
                    })?;
                state.evolve(&event);
                at = recorded.version.0;
                last = vec![recorded.event.name];
            }
        }
        if at == 0 || at != wanted {
            return Err(not_found(&format!("{id} as of version {wanted}")));
        }
        Ok(actor_view(&state, id, version, last))
    }
}
