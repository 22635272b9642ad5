"""How RabbitMQ's exchanges choose queues, for the in-process broker."""

from collections.abc import Sequence


def split_key(routing_key: str) -> tuple[str, ...]:
    """The words of a routing key or pattern; the empty one has none."""
    return tuple(routing_key.split(".")) if routing_key else ()


def matches(kind: str, pattern: str, routing_key: str) -> bool:
    """Whether a binding with `pattern` of an exchange of `kind` takes a message with `routing_key`."""
    match kind:
        case "fanout":
            return True
        case "direct":
            return pattern == routing_key
        case _:
            return matches_topic(split_key(pattern), split_key(routing_key))


def matches_topic(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Topic matching on words: `*` is any one word, `#` any number of words, none included."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(matches_topic(pattern[1:], words[taken:]) for taken in range(len(words) + 1))
    return bool(words) and pattern[0] in {"*", words[0]} and matches_topic(pattern[1:], words[1:])
