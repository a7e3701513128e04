"""What the manifests name already and the program does not have yet. Whatever has come must leave this list."""

SETTINGS = {"OUTRIDER_CLUSTER__NATS", "OUTRIDER_CLUSTER__NODE", "OUTRIDER_CLUSTER__ZONE"}
COMMANDS: set[tuple[str, ...]] = set()
