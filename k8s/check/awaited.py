"""What the manifests name already and the program does not have yet. Whatever has come must leave this list."""

SETTINGS: set[str] = set()
COMMANDS: set[tuple[str, ...]] = set()
