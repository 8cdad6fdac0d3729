"""Short names of gates for tables and figures."""

#: parts of a module's name that many gates share
COMMON = ("backbone", "net", "stages", "head", "levels", "module", "at_branch")


def short_name(name: str) -> str:
    """A gate's name without its common parts: backbone.stage2.0.at_branch.spatial -> stage2.0 spatial."""
    parts = [part for part in name.split(".") if part not in COMMON]
    return " ".join([".".join(parts[:2]), *parts[2:]]) if parts else name
