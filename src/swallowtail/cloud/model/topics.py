"""Topics of the bus."""


def link_topic(link: str) -> str:
    """Return the topic of what concerns the session of a Link: its code and configuration."""
    return f"link/{link}"
